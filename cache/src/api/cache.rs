//! The handle, and the ways to read through it.

use std::{any::Any, fmt, future::Future, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::Entry,
        form::{Decoded, Own},
        load::Load,
    },
    api::get::{Get, ValueOnly, WithOutcome},
    engine::{
        lookup::Lookup,
        node::{Engine, Named},
    },
    error::{BoxError, ConfigError, GetError},
    level2::stored::Cacheable,
    options::{call::GetOptions, settings::CacheSettings},
};

/// A named cache. This is a cheap handle: clone it and share it.
///
/// All named caches of a node share one L2 and its byte budget. Otherwise caches of different names
/// share nothing. Values and memory are freed when the last handle and the last
/// [`ThreadGuard`](crate::ThreadGuard) of the node are dropped.
///
/// # Examples
///
/// ```
/// use tidings_cache::{Cache, CacheKey, GetOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let key = CacheKey::new("greeting", &["en"]);
/// let load = || async { Ok::<_, std::io::Error>(Some("hello".to_owned())) };
/// let greeting = cache.get::<String, _>(&key, GetOptions::default(), load).await?;
/// assert_eq!(greeting.as_deref().map(String::as_str), Some("hello"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache(pub(crate) Engine);

impl Cache {
    /// Returns the cache of this name on the same node, with this cache's settings. Handles with
    /// the same name share everything.
    ///
    /// A name lives as long as the node and costs some 130 KB, most of it its slots.
    ///
    /// # Errors
    ///
    /// The name exists with other settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let (sessions, flags) = (cache.named("sessions")?, cache.named("flags")?);
    /// let key = CacheKey::new("id", &["7"]);
    /// sessions.set(&key, Some("alice"), GetOptions::default())?;
    /// assert!(flags.cached::<&str>(&key)?.is_none()); // they share no entry
    /// assert!(cache.named("sessions")?.cached::<&str>(&key)?.is_some()); // one name, one cache
    /// # Ok(()) }
    /// ```
    pub fn named(&self, name: &str) -> Result<Self, ConfigError> {
        self.named_with(name, self.0.named.settings.clone())
    }

    /// Returns the cache of this name on the same node, with settings of its own.
    ///
    /// # Errors
    ///
    /// A setting is invalid, or the name exists with other settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::{Cache, CacheSettings};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let short = CacheSettings::default().ttl(Duration::from_secs(5));
    /// let tokens = cache.named_with("tokens", short.clone())?;
    /// assert_eq!(tokens.name(), "tokens");
    /// assert!(cache.named_with("tokens", short.no_ttl()).is_err()); // it has other settings
    /// # Ok(()) }
    /// ```
    pub fn named_with(&self, name: &str, settings: CacheSettings) -> Result<Self, ConfigError> {
        settings.check()?;
        let node = &self.0.node;

        let mut caches = node.caches.lock();
        let named = match caches.iter().find(|cache| &*cache.name == name) {
            Some(named) if named.settings == settings => Arc::clone(named),
            Some(_) => return Err(ConfigError::NameTaken { name: name.into() }),
            None => {
                // A node with four billion named caches has run out of memory long before.
                let index = caches.len() as u32;
                let named = Arc::new(Named::new(name, index, settings, node));
                caches.push(Arc::clone(&named));
                named
            }
        };
        drop(caches);

        let node = Arc::clone(node);
        Ok(Self(Engine { node, named }))
    }

    /// Returns the cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.named.name
    }

    /// Returns the value of a key, and loads it if neither level has it.
    ///
    /// However many callers miss at once, one load runs, on the cache's runtime. The load belongs
    /// to the node: it goes on if its first caller goes away. Its result reaches all waiting
    /// callers. The cache keeps a value or an absence, but not an error or a panic.
    ///
    /// A hit in this thread's L1 costs about as much as a lookup in a thread-local map. A hit in L2
    /// costs a lock that is seldom contended and a clone of the value.
    ///
    /// # Errors
    ///
    /// See [`GetError`]. Options are checked first, even if the call is a hit.
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    /// let owner = cache.get(&key, GetOptions::default(), load).await?;
    /// assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
    ///
    /// // A load that fails: its error reaches the caller as it was, and is not cached.
    /// let other = CacheKey::new("api-keys", &["wxyz"]);
    /// let down = || async { Err::<Option<String>, _>(std::io::Error::other("down")) };
    /// let error = cache.get(&other, GetOptions::default(), down).await.unwrap_err();
    /// assert_eq!(error.load_error::<std::io::Error>().unwrap().to_string(), "down");
    /// assert!(cache.cached::<String>(&other)?.is_none());
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn get<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> impl Future<Output = Result<Option<Arc<V>>, GetError>> + Send {
        Get::new(&self.0, key, options, Own, load, ValueOnly)
    }

    /// Returns the value of a key, like [`get`](Self::get), with the age of the value and how the
    /// call was answered.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// See [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions, Outcome};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// let ask = || {
    ///     let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    ///     cache.get_entry(&key, GetOptions::default(), load)
    /// };
    /// assert_eq!(ask().await?.outcome, Outcome::Loaded);
    /// assert_eq!(ask().await?.outcome, Outcome::L1);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn get_entry<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> impl Future<Output = Result<Entry<V>, GetError>> + Send {
        Get::new(&self.0, key, options, Own, load, WithOutcome)
    }

    /// Returns the value of a key, like [`get_entry`](Self::get_entry), in another form that each
    /// worker keeps in its L1.
    ///
    /// `l1_serializer` makes the L1 form, for example a parsed key or a compiled pattern, once per
    /// worker and fill; a hit in L1 does not run it. On a thread without an L1 it runs at every
    /// call.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get). An error of `l1_serializer` is [`GetError::L1Serializer`], and
    /// leaves L1 as it was.
    ///
    /// # Cancel safety
    ///
    /// See [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{BoxError, Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("ports", &["http"]);
    /// let load = || async { Ok::<_, BoxError>(Some("80".to_owned())) };
    /// let parse = |text: &String| Ok::<u16, BoxError>(text.parse()?);
    /// let port = cache.get_decoded(&key, GetOptions::default(), parse, load).await?;
    /// assert_eq!(port.value.as_deref(), Some(&80));
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn get_decoded<V, W, L>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        l1_serializer: impl Fn(&V) -> Result<W, BoxError> + Send + Sync,
        load: L,
    ) -> impl Future<Output = Result<Entry<W>, GetError>> + Send
    where
        V: Cacheable,
        W: Any + Send + Sync,
        L: Load<V>,
    {
        let form = Decoded(l1_serializer);
        Get::new(&self.0, key, options, form, load, WithOutcome)
    }

    /// Returns the cached entry, without a load: `None` for a miss, or an entry, whose value is
    /// `None` for a cached absence.
    ///
    /// The call counts as a hit and, like one, promotes the entry to this thread's L1.
    ///
    /// # Errors
    ///
    /// The key holds a value of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// assert!(cache.cached::<String>(&key)?.is_none()); // a miss
    ///
    /// cache.set(&key, None::<String>, GetOptions::default())?;
    /// let absence = cache.cached::<String>(&key)?;
    /// assert!(absence.is_some_and(|entry| entry.value.is_none())); // a cached absence
    /// # Ok(()) }
    /// ```
    pub fn cached<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Entry<V>>, GetError> {
        let lookup = self
            .0
            .lookup::<V, V, Own>(key, &Own, &GetOptions::default())?;
        Ok(match lookup {
            Lookup::Hit { entry, .. } => Some(entry.at(self.0.node.now())),
            Lookup::Miss { .. } => None,
        })
    }

    /// Returns the number of entries that this cache has in L2: values and absences, including
    /// expired ones. Costs a read of each entry of the node.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// cache.set(&CacheKey::new("numbers", &["one"]), Some(1), GetOptions::default())?;
    /// cache.set(&CacheKey::new("numbers", &["none"]), None::<i32>, GetOptions::default())?;
    /// assert_eq!(cache.len(), 2);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.node.level2.count(self.0.named.index)
    }

    /// Returns whether this cache has no entry in L2. Costs what [`len`](Self::len) costs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.0.named.name)
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}
