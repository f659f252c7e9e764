//! [`Decoded`]: a cache whose values workers hold in another form, made by an L1 serializer.

use std::{any::Any, fmt, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::{entry::Entry, form, load::Load},
    api::cache::Cache,
    engine::lookup::Lookup,
    error::{BoxError, GetError},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

type Serializer<V, W> = dyn Fn(&V) -> Result<W, BoxError> + Send + Sync;

/// A cache read through an L1 serializer of its own: L2 holds `V`, each worker holds `W`. Made by
/// [`Cache::decoded`].
///
/// The serializer runs once per worker and fill, on the worker's thread. A hit in L1 does not run
/// it; on a thread without an L1 it runs at every call. As with other options, the serializer of a
/// call ([`get_by`](Self::get_by)) overrides this one, and this one overrides the default, the
/// value's own clone.
///
/// It is a cheap handle: make one where the cache is made, and clone it. What is invalidated, set
/// or purged through [`cache`](Self::cache), or through any other handle of that cache, changes
/// here too.
///
/// L1 keeps one form of a key, that of the last fill. Read a key through one view: reading it in
/// another form on the same thread works, but costs an L2 lookup each time the form changes.
///
/// # Examples
///
/// ```
/// use tidings_cache::{BoxError, Cache, CacheKey, Decoded, GetOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let _l1 = cache.attach_thread("worker 0");
/// // Rows hold a port as text; workers want a number.
/// let ports: Decoded<String, u16> = cache.decoded(|text: &String| Ok(text.parse()?));
///
/// let key = CacheKey::new("ports", &["http"]);
/// let load = || async { Ok::<_, BoxError>(Some("80".to_owned())) };
/// assert_eq!(ports.get(&key, GetOptions::default(), load).await?.as_deref(), Some(&80));
///
/// ports.cache().invalidate(&key);
/// assert!(ports.cached(&key)?.is_none());
/// # Ok(()) }
/// ```
pub struct Decoded<V, W> {
    cache: Cache,
    l1_serializer: Arc<Serializer<V, W>>,
}

impl<V, W> Clone for Decoded<V, W> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            l1_serializer: Arc::clone(&self.l1_serializer),
        }
    }
}

impl Cache {
    /// Returns this cache with an L1 serializer. It makes what workers hold of each value, for
    /// example a parsed key or a compiled pattern.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, Decoded, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let ports: Decoded<String, u16> = cache.decoded(|text: &String| Ok(text.parse()?));
    /// let (good, bad) = (CacheKey::new("ports", &["http"]), CacheKey::new("ports", &["?"]));
    /// cache.set(&good, Some("80".to_owned()), GetOptions::default())?;
    /// cache.set(&bad, Some("none".to_owned()), GetOptions::default())?;
    ///
    /// let port = ports.cached(&good)?.and_then(|entry| entry.value);
    /// assert_eq!(port.as_deref(), Some(&80));
    /// assert!(ports.cached(&bad).is_err()); // the serializer's error
    /// # Ok(()) }
    /// ```
    pub fn decoded<V: Cacheable, W: Any + Send + Sync>(
        &self,
        l1_serializer: impl Fn(&V) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> Decoded<V, W> {
        Decoded {
            cache: self.clone(),
            l1_serializer: Arc::new(l1_serializer),
        }
    }
}

impl<V: Cacheable, W: Any + Send + Sync> Decoded<V, W> {
    /// Returns the cache underneath, for everything that needs no form: `set`, `invalidate`,
    /// `probe` and so on.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the value of a key in the worker's form, loaded if neither level has it. See
    /// [`Cache::get`].
    ///
    /// # Errors
    ///
    /// See [`Cache::get`]. An error of the serializer is [`GetError::L1Serializer`], and leaves L1
    /// as it was.
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    pub async fn get<L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<W>>, GetError> {
        Ok(self.get_entry(key, options, load).await?.value)
    }

    /// Returns the value of a key, like [`get`](Self::get), with how the call was answered.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// See [`get`](Self::get).
    pub async fn get_entry<L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Entry<W>, GetError> {
        let own = |value: &V| (self.l1_serializer)(value);
        self.cache.get_decoded(key, options, own, load).await
    }

    /// Returns the value of a key, like [`get_entry`](Self::get_entry), with the call's own L1
    /// serializer in place of this one.
    ///
    /// A hit in L1 runs no serializer, so it returns the form that L1 holds, whichever serializer
    /// made it. Forms with different meanings need different types; then neither is taken for the
    /// other.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// See [`get`](Self::get).
    pub async fn get_by<X: Any + Send + Sync, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        l1_serializer: impl Fn(&V) -> Result<X, BoxError> + Send + Sync,
        load: L,
    ) -> Result<Entry<X>, GetError> {
        self.cache
            .get_decoded(key, options, l1_serializer, load)
            .await
    }

    /// Returns what is cached, in the worker's form and without a load. See [`Cache::cached`].
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type, or the serializer fails.
    pub fn cached(&self, key: &CacheKey) -> Result<Option<Entry<W>>, GetError> {
        let form = form::Decoded(|value: &V| (self.l1_serializer)(value));
        let engine = &self.cache.0;
        let lookup = engine.lookup::<V, W, _>(key, &form, &GetOptions::default())?;
        Ok(match lookup {
            Lookup::Hit { entry, .. } => Some(entry.at(engine.node.now())),
            Lookup::Miss { .. } => None,
        })
    }
}

impl<V, W> fmt::Debug for Decoded<V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
