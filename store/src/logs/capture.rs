//! [`CaptureStates`]: the state of capture, by entity, as one check found it.

use std::collections::BTreeMap;

/// The state of capture, by entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaptureStates {
    entities: BTreeMap<String, CaptureState>,
}

/// The state of capture of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureState {
    pub(crate) in_place: bool,
    /// Changes if capture was switched off and on again.
    pub(crate) fingerprint: String,
}

impl CaptureStates {
    /// Returns the entities that are not captured.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self
            .entities
            .iter()
            .filter(|(_, fingerprint)| !fingerprint.in_place);
        missing.map(|(entity, _)| entity.as_str())
    }

    /// Returns the entities whose state of capture has changed since an earlier check. A write
    /// between the two checks may have been missed.
    pub(crate) fn changed_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a str> {
        let changed = self
            .entities
            .iter()
            .filter(|(entity, fingerprint)| earlier.entities.get(*entity) != Some(fingerprint));
        changed.map(|(entity, _)| entity.as_str())
    }
}

impl FromIterator<(String, CaptureState)> for CaptureStates {
    fn from_iter<I: IntoIterator<Item = (String, CaptureState)>>(entities: I) -> Self {
        Self {
            entities: entities.into_iter().collect(),
        }
    }
}
