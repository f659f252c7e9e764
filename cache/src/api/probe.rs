//! Probes: reports what is cached, without loading it or counting a hit.

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

/// The entry of a key in L2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe<V> {
    /// The value; `None` for a cached absence.
    pub value: Option<Arc<V>>,
    /// How long it will be served; `None` if it does not expire.
    pub remaining: Option<Duration>,
}

/// The entry of a key in L2, as JSON.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbeJson {
    /// The value; `None` for a cached absence. A value that has no JSON is `null` here.
    pub value: Option<serde_json::Value>,
    /// The value's type, as Rust names it; `None` for a cached absence.
    pub type_name: Option<&'static str>,
    /// How long it will be served; `None` if it does not expire.
    pub remaining: Option<Duration>,
    /// The level in which it was found.
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
    /// Returns the entry of a key in L2 with its remaining time; `None` if there is none. Never
    /// promotes, never loads, and does not count as a hit.
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().ttl(Duration::from_secs(60)).build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// assert!(cache.probe::<String>(&key)?.is_none());
    ///
    /// cache.set(&key, Some("alice".to_owned()), GetOptions::default())?;
    /// let probe = cache.probe::<String>(&key)?.expect("it is cached");
    /// assert_eq!(probe.value.as_deref().map(String::as_str), Some("alice"));
    /// assert!(probe.remaining.is_some_and(|left| left <= Duration::from_secs(60)));
    /// assert!(cache.probe::<u64>(&key).is_err()); // names both types
    /// # Ok(()) }
    /// ```
    pub fn probe<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Probe<V>>, GetError> {
        let Some((found, remaining)) = self.find(key) else {
            return Ok(None);
        };
        let value = found.value.map(|value| typed(value, key)).transpose()?;
        Ok(Some(Probe { value, remaining }))
    }

    /// Returns the same as [`probe`](Self::probe), as JSON, for callers that do not know the type.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("quotas", &["alice"]);
    /// cache.set(&key, Some(7_u32), GetOptions::default())?;
    /// let probe = cache.probe_json(&key).expect("it is cached");
    /// assert_eq!((probe.value, probe.type_name), (Some(json!(7)), Some("u32")));
    /// # Ok(()) }
    /// ```
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
    pub(super) fn find(&self, key: &CacheKey) -> Option<(Found, Option<Duration>)> {
        let horizon = self.0.node.horizon(); // before the value is read
        let found = self.0.node.level2.find(&self.0.named.key_ref(key))?;
        let until = found.expires.min(horizon.until(found.times().read));
        if until == Moment::NEVER {
            return Some((found, None));
        }
        let left = until.since(self.0.node.now());
        (!left.is_zero()).then_some((found, Some(left)))
    }
}
