//! [`Prints`]: the state of capture, by entity, as one check found it.

use std::collections::BTreeMap;

/// The state of capture, by entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prints {
    entities: BTreeMap<String, Print>,
}

/// The state of capture of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) in_place: bool,
    /// Changes if capture was switched off and on again.
    pub(crate) print: String,
}

impl Prints {
    /// Returns the entities that are not captured.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.entities.iter().filter(|(_, print)| !print.in_place);
        missing.map(|(entity, _)| entity.as_str())
    }

    /// Returns the entities whose state of capture has changed since an earlier check. A write
    /// between the two checks may have been missed.
    pub(crate) fn changed_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a str> {
        let changed = self
            .entities
            .iter()
            .filter(|(entity, print)| earlier.entities.get(*entity) != Some(print));
        changed.map(|(entity, _)| entity.as_str())
    }
}

impl FromIterator<(String, Print)> for Prints {
    fn from_iter<I: IntoIterator<Item = (String, Print)>>(entities: I) -> Self {
        Self {
            entities: entities.into_iter().collect(),
        }
    }
}
