//! [`Sampled`]: an entry as it was at one moment, for a caller that compares it with the backing
//! store and later checks whether it is still there.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::CacheKey;

use crate::{
    api::cache::Cache,
    error::GetError,
    fence::number::{Moment, Number},
    level2::stored::{Cacheable, typed},
};

/// The entry of a key in L2, as it was when the sample was taken. See [`Cache::sample`].
#[derive(Clone)]
pub struct Sampled<V> {
    value: Option<Arc<V>>,
    number: Number,
    read: Moment,
    age: Duration,
}

impl<V> Sampled<V> {
    /// Returns the value; `None` for a cached absence.
    #[must_use]
    pub fn value(&self) -> Option<&Arc<V>> {
        self.value.as_ref()
    }

    /// Returns how old the entry was at the time of the sample, counted from the start of its load,
    /// or from the `set`.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns whether both samples are of the same entry: it was neither evicted nor replaced in
    /// between. An entry whose times were changed is still the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let values = match (&self.value, &other.value) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        values && self.number == other.number && self.read == other.read
    }
}

impl<V> fmt::Debug for Sampled<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampled")
            .field("is_absence", &self.value.is_none())
            .field("number", &self.number.0)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Returns the entry of a key that L2 would serve; `None` if there is none. Never promotes,
    /// never loads, and does not count as a hit.
    ///
    /// A later sample shows whether the entry is still the [same](Sampled::is_same). If it is, no
    /// invalidation of the key was applied in between.
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// let set = || cache.set(&key, Some("alice".to_owned()), GetOptions::default());
    /// set()?;
    ///
    /// let sampled = cache.sample::<String>(&key)?.expect("it is cached");
    /// let again = cache.sample(&key)?.expect("it is cached");
    /// assert!(again.is_same(&sampled));
    ///
    /// cache.invalidate_local(&key);
    /// set()?;
    /// let other = cache.sample(&key)?.expect("it is cached");
    /// assert!(!other.is_same(&sampled)); // an equal value, and another entry
    /// # Ok(()) }
    /// ```
    pub fn sample<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Sampled<V>>, GetError> {
        let Some((found, _)) = self.find(key) else {
            return Ok(None);
        };

        let (number, read) = (found.number, found.read);
        let value = found.value.map(|value| typed(value, key)).transpose()?;
        Ok(Some(Sampled {
            value,
            number,
            read,
            age: self.0.node.now().since(read),
        }))
    }
}
