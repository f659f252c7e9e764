//! A typed view: one type under one name, read by the parts of its keys.
//!
//! A hit costs a lookup in a table of this thread. It builds no text, downcasts no value, takes no
//! lock, and writes nothing that another thread reads. A miss builds the text of the key.
//! Everything below L1 uses that text, as for any other call: L2, loads, and invalidations by text,
//! tag or purge.

// Reads, sets and invalidations by parts.
mod calls;

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use tidings_core::{CacheKey, Entity};

use crate::{
    answer::{
        form::{Decoded, Form, Own},
        parts::Parts,
    },
    api::cache::Cache,
    engine::{flight::ValueType, node::Engine, views::Selector},
    error::{BoxError, OptionError, ViewError},
    level1::view::{SelectorIndex, ViewIndex},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// The values of one name, all of one type: the cheapest way to read a cache. Make it once, with
/// [`Cache::of`] or [`Cache::view`], and clone it.
///
/// You pass a key by its parts: a `&str`, an integer, a `Uuid`, or a tuple of these; see [`Parts`].
/// The text of the key is that of [`CacheKey::new`] with the view's name. So you can invalidate,
/// probe, purge and set the values of a view through any handle of the cache, and the other way
/// round.
///
/// # Prices
///
/// A hit costs as much as a lookup in a thread-local map with a fast hasher, and never builds the
/// key's text. For that, each thread has a table for each view that it uses, beside the table that
/// [`Cache::get`] fills. It holds up to [`l1_entries`](crate::CacheBuilder::l1_entries) entries and
/// 4 MiB, an eighth of which is for absences, so that a flood of absences pushes out no value. A
/// key that you read both ways is held twice.
///
/// # Examples
///
/// ```
/// use tidings_cache::Cache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let owners = cache.view::<String>("api-keys")?;
/// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
///
/// let owner = owners.get("abcd", load).await?;
/// assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
///
/// owners.invalidate("abcd"); // or through the cache, by the key's text
/// assert_eq!(owners.key("abcd").as_str(), "api-keys:abcd");
/// # Ok(()) }
/// ```
///
/// A name has one type:
///
/// ```
/// # use tidings_cache::Cache;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cache = Cache::builder().build()?;
/// let owners = cache.view::<String>("api-keys")?;
/// let error = cache.view::<u64>("api-keys").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the values named \"api-keys\" are alloc::string::String, but were requested as u64: \
///      give each type a name of its own",
/// );
/// # Ok(()) }
/// ```
pub struct View<V, W = V> {
    engine: Engine,
    name: Arc<str>,
    index: ViewIndex,
    selector: Selector,
    selector_index: SelectorIndex,
    options: GetOptions,
    form: Arc<dyn Form<V, W>>,
}

impl<V, W> Clone for View<V, W> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            name: Arc::clone(&self.name),
            index: self.index,
            selector: self.selector.clone(),
            selector_index: self.selector_index,
            options: self.options.clone(),
            form: Arc::clone(&self.form),
        }
    }
}

impl Cache {
    /// Returns the view of an entity, under the entity's name. Its keys are the cache keys of the
    /// entity's rows.
    ///
    /// # Errors
    ///
    /// When the name has another type, or there are too many views.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tidings_cache::Cache;
    /// use tidings_core::Entity;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// #[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
    /// #[entity(name = "flags")]
    /// struct Flag {
    ///     #[entity(primary_key)]
    ///     name: String,
    ///     on: bool,
    /// }
    ///
    /// let flags = cache.of::<Flag>()?;
    /// let beta = Flag { name: "beta".into(), on: true };
    /// let load = || async { Ok::<_, std::io::Error>(Some(beta)) };
    /// let flag = flags.get("beta", load).await?;
    /// assert!(flag.is_some_and(|flag| flag.on));
    /// # Ok(()) }
    /// ```
    pub fn of<E: Entity>(&self) -> Result<View<E>, ViewError> {
        self.view(E::NAME)
    }

    /// Returns the view of a name, and binds the name to the type of its values.
    ///
    /// # Errors
    ///
    /// When the name has another type, or there are too many views: they last as long as the cache.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let quotas = cache.view::<u32>("quotas")?; // once; clone it
    /// let load = || async { Ok::<_, std::io::Error>(Some(100)) };
    /// let quota = quotas.get(("alice", 7_i64), load).await?;
    /// assert_eq!(quota.as_deref(), Some(&100));
    /// assert!(cache.view::<String>("quotas").is_err()); // a name has one type
    /// # Ok(()) }
    /// ```
    pub fn view<V: Cacheable>(&self, name: &str) -> Result<View<V>, ViewError> {
        View::new(self.0.clone(), name, Arc::new(Own))
    }
}

impl<V: Cacheable, W: Any + Send + Sync> View<V, W> {
    fn new(engine: Engine, name: &str, form: Arc<dyn Form<V, W>>) -> Result<Self, ViewError> {
        let views = &engine.named.views;
        let (name, index) = views.table(name, ValueType::of::<V>(), TypeId::of::<W>())?;
        Ok(Self {
            engine,
            name,
            index,
            selector: Selector::Parts,
            selector_index: SelectorIndex(0),
            options: GetOptions::default(),
            form,
        })
    }

    /// Returns this view with options for all of its calls. Their ttl and tags also apply to the
    /// values that it sets.
    ///
    /// # Errors
    ///
    /// When an option is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::{Cache, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let short = GetOptions::default().ttl(Duration::from_secs(5));
    /// let tokens = cache.view::<String>("tokens")?.with_options(short)?;
    /// tokens.set("abcd", Some("alice".to_owned()))?;
    ///
    /// let probe = cache.probe::<String>(&tokens.key("abcd"))?.expect("it is cached");
    /// assert!(probe.remaining.is_some_and(|left| left <= Duration::from_secs(5)));
    /// # Ok(()) }
    /// ```
    pub fn with_options(self, options: GetOptions) -> Result<Self, OptionError> {
        options.check(&self.engine.named.settings.terms)?;
        Ok(Self { options, ..self })
    }

    /// Returns the view of the same values by primary key: `name@part`, or `name@:part:part` for a
    /// tuple.
    ///
    /// # Errors
    ///
    /// When the name has too many kinds of keys.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let stocks = cache.view::<u32>("stocks")?.primary()?;
    /// assert_eq!(stocks.key(7_i64).as_str(), "stocks@7");
    /// assert_eq!(stocks.key(("north", 7_i64)).as_str(), "stocks@:north:7");
    /// # Ok(()) }
    /// ```
    pub fn primary(&self) -> Result<Self, ViewError> {
        self.selecting(Selector::Primary)
    }

    /// Returns the view of the same values by other fields: `name@field:part`, see
    /// [`CacheKey::by_fields`].
    ///
    /// # Errors
    ///
    /// When the name has too many kinds of keys.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let users = cache.view::<String>("users")?;
    /// let by_email = users.by(&["email"])?;
    /// by_email.set("a@b.c", Some("alice".to_owned()))?;
    /// assert_eq!(by_email.key("a@b.c").as_str(), "users@email:a%40b.c");
    /// // Another kind of key is another entry.
    /// assert!(cache.probe::<String>(&users.key("a@b.c"))?.is_none());
    /// # Ok(()) }
    /// ```
    pub fn by(&self, fields: &[&str]) -> Result<Self, ViewError> {
        let fields = fields.iter().map(|&field| field.into()).collect();
        self.selecting(Selector::Fields(fields))
    }

    fn selecting(&self, selector: Selector) -> Result<Self, ViewError> {
        let views = &self.engine.named.views;
        Ok(Self {
            selector_index: views.selector(&self.name, &selector)?,
            selector,
            ..self.clone()
        })
    }

    /// Returns the view of the same values in another form, for example a parsed key. Each thread
    /// makes the form when it fills its table; a hit does not.
    ///
    /// Two forms with different meanings need different types, because the views of a name in one
    /// form share their tables.
    ///
    /// # Errors
    ///
    /// When there are too many views.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let rows = cache.view::<String>("ports")?; // rows hold a port as text
    /// let ports = rows.decoded(|text: &String| Ok(text.parse::<u16>()?))?;
    /// let load = || async { Ok::<_, std::io::Error>(Some("80".to_owned())) };
    /// assert_eq!(ports.get("http", load).await?.as_deref(), Some(&80));
    /// # Ok(()) }
    /// ```
    pub fn decoded<X: Any + Send + Sync>(
        &self,
        l1_serializer: impl Fn(&V) -> Result<X, BoxError> + Send + Sync + 'static,
    ) -> Result<View<V, X>, ViewError> {
        let form = Arc::new(Decoded(l1_serializer));
        let decoded = View::new(self.engine.clone(), &self.name, form)?;
        Ok(View {
            selector: self.selector.clone(),
            selector_index: self.selector_index,
            options: self.options.clone(),
            ..decoded
        })
    }

    /// Returns the name that its keys begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the cache that it views.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache(self.engine.clone())
    }

    /// Returns the key that the parts make, for calls of the cache that take a key.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let quotas = cache.view::<u32>("quotas")?;
    /// quotas.set(("alice", 7_i64), Some(100))?;
    ///
    /// let key = quotas.key(("alice", 7_i64));
    /// assert_eq!(key.as_str(), "quotas:alice:7");
    /// assert!(cache.probe::<u32>(&key)?.is_some());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn key<P: Parts>(&self, parts: P) -> CacheKey {
        let mut key = match &self.selector {
            Selector::Primary => return parts.primary(&self.name),
            Selector::Parts => CacheKey::builder(&self.name),
            Selector::Fields(fields) => CacheKey::by_fields(&self.name, fields),
        };
        parts.push(&mut key);
        key.finish()
    }
}

impl<V, W> fmt::Debug for View<V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("name", &self.name)
            .field("selector", &self.selector)
            .field("type", &std::any::type_name::<V>())
            .finish_non_exhaustive()
    }
}
