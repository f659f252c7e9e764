//! Explicit values: `set`, `renew` and `reload`.

use std::sync::Arc;

use tidings_core::CacheKey;

use crate::{
    answer::{form::Own, load::Load, loaded::Loaded},
    api::{
        cache::Cache,
        get::{Get, ValueOnly},
    },
    engine::flight::Why,
    error::{GetError, SetError},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

impl Cache {
    /// Caches a value, or an absence, that the caller knows to be current.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees the
    /// previous value, and no load that began before fills the cache. If you pass a [`Loaded`], its
    /// ttl and its tags count. If it is [`uncached`](Loaded::uncached), or its ttl is zero, the
    /// call only removes the previous value.
    ///
    /// # Values that you read earlier
    ///
    /// If you read first and set later, pass the number at which you read
    /// ([`Loaded::read_at`](Loaded::read_at), [`Cache::number`](Self::number)). The cache then
    /// refuses the value if the key was invalidated or set since. Without a number the value counts
    /// as read now. Like a reloaded value, it then survives the `invalidate` of a late second
    /// handler of an earlier change.
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
    /// See [`SetError`]. A value that is too large to keep, or whose size is unknown, still removes
    /// the previous value. After any other error nothing has changed.
    pub fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: impl Into<Loaded<V>>,
        options: GetOptions,
    ) -> Result<(), SetError> {
        self.0.set(key, value.into(), &options)
    }

    /// Loads a value, whatever is cached, and replaces the cached one. If a load of the key is in
    /// progress, the call joins it, although that load may have read its backing store before this
    /// call. [`reload`](Self::reload) begins a load of its own.
    ///
    /// So a `renew` and a `get` at the same time cause one load. If the row had changed since that
    /// load began, an invalidation would have voided it. If the load fails, the cached value stays.
    ///
    /// Later callers see what the renewal returned, or something that was read after it; never
    /// something older. This ends where the key is invalidated or set while the renewal runs: what
    /// was read last is then not known.
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

    /// Loads a value, whatever is cached, and replaces the cached one. The load begins after this
    /// call. A load in progress is voided; it still answers its waiting callers. If the load fails,
    /// the cached value stays.
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
        Get::new(&self.0, key, options, Own, load, ValueOnly)
            .loading(why)
            .await
    }
}
