//! Probes: what is cached, without touching it.

use std::{sync::Arc, time::Duration};

use tidings_core::CacheKey;

use crate::{
    api::cache::Cache,
    error::GetError,
    fence::number::Moment,
    level2::{
        stored::{Cacheable, typed},
        zone::Found,
    },
};

/// What L2 holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe<V> {
    /// The value; `None` for a cached absence.
    pub value: Option<Arc<V>>,
    /// How long it will be served; `None` if it does not expire.
    pub remaining: Option<Duration>,
}

/// What L2 holds of a key, in JSON.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbeJson {
    /// The value; `None` for a cached absence. A value that has no JSON is `null` here.
    pub value: Option<serde_json::Value>,
    /// The value's type, as Rust names it; `None` for a cached absence.
    pub type_name: Option<&'static str>,
    /// How long it will be served; `None` if it does not expire.
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
    /// Returns what L2 holds of a key and for how long; `None` if that is nothing. Never promotes,
    /// never loads, and does not count as a hit.
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type.
    pub fn probe<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Probe<V>>, GetError> {
        let Some((found, remaining)) = self.find(key) else {
            return Ok(None);
        };
        let value = found.value.map(|value| typed(value, key)).transpose()?;
        Ok(Some(Probe { value, remaining }))
    }

    /// Like [`probe`](Self::probe), for callers that do not know the type.
    #[must_use]
    pub fn probe_json(&self, key: &CacheKey) -> Option<ProbeJson> {
        let (found, remaining) = self.find(key)?;
        let value = found.value.as_deref();
        Some(ProbeJson {
            value: value.map(|value| value.to_json().unwrap_or_default()),
            type_name: value.map(|value| value.type_name()),
            remaining,
            level: Level::L2,
        })
    }

    /// Returns what L2 holds of a key and will still serve, and for how long.
    fn find(&self, key: &CacheKey) -> Option<(Found, Option<Duration>)> {
        let found = self.0.node.level2.find(&self.0.named.name_of(key))?;
        if found.expires == Moment::NEVER {
            return Some((found, None));
        }
        let left = found.expires.since(self.0.node.now());
        (!left.is_zero()).then_some((found, Some(left)))
    }
}
