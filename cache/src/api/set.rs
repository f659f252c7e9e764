//! Explicit values: `set`, `renew` and `reload`.

use std::sync::Arc;

use tidings_core::CacheKey;

use crate::{
    answer::{form::Own, load::Load, loaded::Loaded},
    api::{
        cache::Cache,
        get::{Get, Plain},
    },
    engine::flight::Why,
    error::{GetError, SetError},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

impl Cache {
    /// Caches a value, or an absence, that the caller knows to be current.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees what was
    /// cached before, and no load that began before fills the cache. Of a [`Loaded`], the ttl and
    /// the tags count. If it is [`uncached`](Loaded::uncached), or its ttl is zero, this only
    /// removes what was cached.
    ///
    /// # Values that were read earlier
    ///
    /// A caller that reads first and sets later passes the number at which it read
    /// ([`Loaded::read_at`](Loaded::read_at), [`Cache::number`](Self::number)). The set is then
    /// refused if the key was invalidated or set since. Without a number the value counts as read
    /// now, so it survives an `invalidate` that a second handler of an earlier change makes
    /// afterwards, as a reloaded value does.
    ///
    /// # Examples
    ///
    /// A value that was read too early is refused:
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions, Loaded, SetError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("quotas", &["alice"]);
    ///
    /// let read_at = cache.number(); // before the backing store is read
    /// let quota = Loaded::new(7).read_at(read_at);
    /// cache.invalidate(&key); // it has changed in between
    /// let refused = cache.set(&key, quota, GetOptions::default());
    /// assert!(matches!(refused, Err(SetError::Changed { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SetError`]. A value that is too heavy to keep, or that cannot be weighed, still
    /// removes the older value that was cached. Any other error has changed nothing.
    pub fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: impl Into<Loaded<V>>,
        options: GetOptions,
    ) -> Result<(), SetError> {
        self.0.set(key, value.into(), &options)
    }

    /// Loads a value, whatever is cached, and replaces it. A load of the key already in progress is
    /// joined, although it may have read its backing store before this call;
    /// [`reload`](Self::reload) begins one of its own.
    ///
    /// So a `renew` and a `get` at the same time cause one load. If the row had changed since that
    /// load began, an invalidation would have voided it. If the load fails, what is cached stays.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a load that was started running.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("rates", &["eur"]);
    /// cache.set(&key, Some(1), GetOptions::default())?;
    /// let load = || async { Ok::<_, std::io::Error>(Some(2)) };
    /// let rate = cache.renew(&key, GetOptions::default(), load).await?;
    /// assert_eq!(rate.as_deref(), Some(&2));
    /// # Ok(()) }
    /// ```
    pub async fn renew<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<V>>, GetError> {
        self.load(key, options, load, Why::Renew).await
    }

    /// Loads a value, whatever is cached, and replaces it. The load begins after this call: one
    /// that is in progress is voided, and answers the callers that wait for it already. If the load
    /// fails, what is cached stays.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a load that was started running.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("rates", &["eur"]);
    /// cache.set(&key, Some(1), GetOptions::default())?;
    ///
    /// // A load that fails leaves what is cached.
    /// let down = || async { Err::<Option<i32>, _>(std::io::Error::other("down")) };
    /// assert!(cache.reload(&key, GetOptions::default(), down).await.is_err());
    /// let kept = cache.cached::<i32>(&key)?.and_then(|entry| entry.value);
    /// assert_eq!(kept.as_deref(), Some(&1));
    /// # Ok(()) }
    /// ```
    pub async fn reload<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<V>>, GetError> {
        self.load(key, options, load, Why::Reload).await
    }

    async fn load<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
        why: Why,
    ) -> Result<Option<Arc<V>>, GetError> {
        let checked = options.check(&self.0.named.settings.terms);
        checked.map_err(|error| GetError::options(key, error))?;
        Get::new(&self.0, key, options, Own, load, Plain)
            .loading(why)
            .await
    }
}
