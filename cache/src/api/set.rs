//! Explicit values: `set` and `renew`.

use std::sync::Arc;

use tidings_core::CacheKey;

use crate::{
    answer::{form::Own, load::Load, loaded::Loaded},
    api::{
        cache::Cache,
        get::{Get, Plain},
    },
    error::{GetError, SetError},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

impl Cache {
    /// Caches a value, or an absence, that the caller knows to be current.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees what was cached before, and no
    /// load that began before fills the cache. Of [`Loaded`] the ttl and the tags count; one that is
    /// [`uncached`](Loaded::uncached), or heavier than L2 takes, only removes what was cached.
    ///
    /// # Errors
    ///
    /// When an option is refused, or the key holds a value of another type; then nothing was changed.
    pub fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: impl Into<Loaded<V>>,
        options: GetOptions,
    ) -> Result<(), SetError> {
        self.0.set(key, value.into(), &options)
    }

    /// Loads a value, whatever is cached, and replaces it.
    ///
    /// A load of the key already in progress is joined: had its backing store changed since it began, an invalidation would
    /// have voided it. If the load fails, what is cached stays.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// Cancel safe: a load that was started goes on.
    pub async fn renew<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<V>>, GetError> {
        options.check(&self.0.named.settings.terms)?;
        self.0.count_miss();
        Get::new(&self.0, key, options, Own, load, Plain)
            .renewing()
            .await
    }
}
