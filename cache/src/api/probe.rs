//! Looking at what is cached without touching it.

use std::{sync::Arc, time::Duration};

use tidings_core::CacheKey;

use crate::{
    api::cache::Cache,
    error::GetError,
    level2::stored::{Cacheable, typed},
    level2::zone::NEVER,
};

/// What L2 holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe<V> {
    /// The value; `None` for a cached absence.
    pub value: Option<Arc<V>>,
    /// How long it will be served; `None` is for ever.
    pub remaining: Option<Duration>,
}

/// What L2 holds of a key, in JSON.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbeJson {
    /// The value; `None` for a cached absence. A value that does not serialize to JSON is `null` here.
    pub value: Option<serde_json::Value>,
    /// The value's type, as Rust names it; `None` for a cached absence.
    pub type_name: Option<&'static str>,
    /// How long it will be served; `None` is for ever.
    pub remaining: Option<Duration>,
    /// Where it was found.
    pub level: Level,
}

/// A level of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// A thread's own.
    L1,
    /// The node's.
    L2,
}

impl Cache {
    /// What L2 holds of a key and for how long; `None` if that is nothing. Never promotes, never loads, and does not count as
    /// a hit.
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type.
    pub fn probe<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Probe<V>>, GetError> {
        let name = self.named.name_of(key);
        if let Some(held) = self.node.level2.present.peek(&name) {
            let Some(remaining) = self.remaining(held.expires) else {
                return Ok(None);
            };
            let value = Some(typed(held.value, key)?);
            return Ok(Some(Probe { value, remaining }));
        }
        Ok(self.probe_absence(key).map(|remaining| Probe {
            value: None,
            remaining,
        }))
    }

    /// Like [`probe`](Self::probe), for whoever does not know the type.
    #[must_use]
    pub fn probe_json(&self, key: &CacheKey) -> Option<ProbeJson> {
        let name = self.named.name_of(key);
        if let Some(held) = self.node.level2.present.peek(&name) {
            let remaining = self.remaining(held.expires)?;
            return Some(ProbeJson {
                value: Some((*held.value).json().unwrap_or_default()),
                type_name: Some((*held.value).type_name()),
                remaining,
                level: Level::L2,
            });
        }
        self.probe_absence(key).map(|remaining| ProbeJson {
            value: None,
            type_name: None,
            remaining,
            level: Level::L2,
        })
    }

    fn probe_absence(&self, key: &CacheKey) -> Option<Option<Duration>> {
        let held = self.node.level2.absent.peek(&self.named.name_of(key))?;
        self.remaining(held.expires)
    }

    /// `None` if that time has passed, `Some(None)` if it never will.
    fn remaining(&self, expires: u64) -> Option<Option<Duration>> {
        if expires == NEVER {
            return Some(None);
        }
        let left = expires
            .checked_sub(self.node.now())
            .filter(|left| *left > 0)?;
        Some(Some(Duration::from_nanos(left)))
    }
}
