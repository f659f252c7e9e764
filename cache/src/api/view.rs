//! A typed view: one type under one name, read by the parts of its keys.
//!
//! A hit costs a lookup in a table of this thread. It builds no text, downcasts no value, takes no
//! lock, and writes nothing that another thread reads. A miss builds the text of the key.
//! Everything below L1 uses that text, as for any other call: L2, loads, and invalidations by text,
//! tag or purge.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use tidings_core::{CacheKey, Entity};

use crate::{
    answer::{
        form::{Decoded, Form, Formed, KeptIn, Own},
        load::Load,
        loaded::Loaded,
        parts::{Loan, OwnedParts, Parts},
        receipt::Receipt,
    },
    api::{
        cache::Cache,
        get::{Get, ValueOnly},
    },
    engine::{flight::ValueType, node::Engine, views::Selector},
    error::{BoxError, GetError, OptionError, SetError, ViewError},
    faults::{Step, removed},
    level1::{
        thread,
        view::{KeyLayout, SelectorIndex, ViewIndex, ViewLookup},
        window::{Kind, NewEntry},
    },
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
    pub fn primary(&self) -> Result<Self, ViewError> {
        self.selecting(Selector::Primary)
    }

    /// Returns the view of the same values by other fields: `name@field:part`, see
    /// [`CacheKey::by_fields`].
    ///
    /// # Errors
    ///
    /// When the name has too many kinds of keys.
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

    /// Returns the key that the parts make.
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

    /// Returns the value of a key, and loads it if neither level has it; see [`Cache::get`]. The
    /// lookup happens at the first poll.
    ///
    /// # Errors
    ///
    /// See [`GetError`].
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    #[inline]
    pub async fn get<P, L>(&self, parts: P, load: L) -> Result<Option<Arc<W>>, GetError>
    where
        P: Parts + Send,
        L: Load<V>,
    {
        match self.lookup(&parts) {
            ViewLookup::Hit(value) => return Ok(value),
            ViewLookup::Touch(value) => {
                self.engine.touch(&self.key(&parts));
                return Ok(value);
            }
            ViewLookup::Miss => {}
        }

        // Boxed, so that the future of a hit is small.
        Box::pin(self.below(OwnedParts::of(&parts), self.key(&parts), load)).await
    }

    /// Returns the value of a key, like [`get`](Self::get), for parts that must be parsed before
    /// they form a key, for example a `Uuid` that arrives as text. `key` is called on a miss.
    ///
    /// Equal parts must always make the same key.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// See [`get`](Self::get).
    #[inline]
    pub async fn get_under<P, L>(
        &self,
        parts: P,
        key: impl FnOnce(&P) -> CacheKey + Send,
        load: L,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        P: Parts + Send,
        L: Load<V>,
    {
        match self.lookup(&parts) {
            ViewLookup::Hit(value) => return Ok(value),
            ViewLookup::Touch(value) => {
                self.engine.touch(&key(&parts));
                return Ok(value);
            }
            ViewLookup::Miss => {}
        }

        Box::pin(self.below(OwnedParts::of(&parts), key(&parts), load)).await
    }

    /// Returns the value that this thread's L1 holds, or `Some(None)` for a cached absence. Does
    /// not look in L2, and loads nothing.
    #[inline]
    #[must_use]
    pub fn peek<P: Parts>(&self, parts: P) -> Option<Option<Arc<W>>> {
        self.value_of(self.lookup(&parts), &parts)
    }

    /// Runs a closure on the value that this thread's L1 holds. This saves the reference count that
    /// [`peek`](Self::peek) takes, some two nanoseconds. The argument is `None` for a cached
    /// absence; without an entry the closure does not run.
    ///
    /// Keep the closure short, and do not use the cache in it: such calls skip L1.
    #[inline]
    pub fn with<P: Parts, R>(&self, parts: P, run: impl FnOnce(Option<&W>) -> R) -> Option<R> {
        if self.options.bounds_staleness() {
            return None;
        }

        let loan = parts.lend();
        let lent = loan.lent();
        let layout = KeyLayout::new(self.selector_index, lent);
        let level1 = &self.engine.named.level1;
        let lookup =
            thread::lookup_view_with::<W, R>(level1, self.index, layout, lent.bytes(), |value| {
                run(value.map(|value| &**value))
            });

        self.value_of(lookup, &parts)
    }

    /// Caches a value or an absence that the caller knows to be current; see [`Cache::set`].
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type; then nothing was changed.
    pub fn set<P: Parts>(&self, parts: P, value: impl Into<Loaded<V>>) -> Result<(), SetError> {
        let key = self.key(parts);
        self.engine.set(&key, value.into(), &self.options)
    }

    /// Declares that the value of a key has changed; see [`Cache::invalidate`].
    pub fn invalidate<P: Parts>(&self, parts: P) -> Receipt {
        self.cache().invalidate(&self.key(parts))
    }

    /// Looks the parts up in this thread's table.
    #[inline]
    fn lookup<P: Parts>(&self, parts: &P) -> ViewLookup<Option<Arc<W>>> {
        if self.options.bounds_staleness() {
            return ViewLookup::Miss;
        }
        let loan = parts.lend();
        let lent = loan.lent();
        let layout = KeyLayout::new(self.selector_index, lent);
        thread::lookup_view(&self.engine.named.level1, self.index, layout, lent.bytes())
    }

    #[inline]
    fn value_of<P: Parts, R>(&self, lookup: ViewLookup<R>, parts: &P) -> Option<R> {
        match lookup {
            ViewLookup::Hit(made) => Some(made),
            ViewLookup::Touch(made) => {
                self.engine.touch(&self.key(parts));
                Some(made)
            }
            ViewLookup::Miss => None,
        }
    }

    /// Looks the key up in L2, and waits for a load if L2 does not have it.
    async fn below<L: Load<V>>(
        &self,
        parts: OwnedParts,
        key: CacheKey,
        load: L,
    ) -> Result<Option<Arc<W>>, GetError> {
        let form = ViewForm { view: self, parts };
        let get = Get::new(
            &self.engine,
            &key,
            self.options.clone(),
            form,
            load,
            ValueOnly,
        );
        get.below().await
    }
}

/// The form of a view's values, which are kept in the view's own table.
struct ViewForm<'a, V, W> {
    view: &'a View<V, W>,
    parts: OwnedParts,
}

impl<V: Cacheable, W: Any + Send + Sync> Form<V, W> for ViewForm<'_, V, W> {
    fn own(&self, shared: &V) -> Result<Arc<W>, BoxError> {
        self.view.form.own(shared)
    }

    fn keep(&self, key: &CacheKey, formed: Formed<'_, W>) -> KeptIn {
        let view = self.view;
        let level1 = &view.engine.named.level1;
        let slot = level1.slots.index(key.hash_value());
        let slot = if removed(Step::ViewKeepsSlotOfText) {
            slot + 1
        } else {
            slot
        };

        let new_entry = NewEntry {
            value: formed.value.cloned(),
            number: formed.number,
            expires: formed.expires,
            slot,
            weight: formed.weight,
        };
        let lent = self.parts.lent();
        let layout = KeyLayout::new(view.selector_index, lent);
        let kind = Kind::of(formed.value);
        let gone = thread::change_view::<W>(level1, view.index, kind, |table| {
            table.put(layout, lent.bytes(), new_entry, &level1.slots)
        });
        drop(gone); // with the thread no longer borrowed

        KeptIn::Form
    }

    fn shared(&self, shared: Arc<V>) -> Result<Arc<W>, BoxError> {
        self.view.form.shared(shared)
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

/// Compiles only if every form of future may cross threads.
#[cfg(all(test, not(shuttle)))]
#[expect(dead_code, reason = "only that it compiles matters")]
fn futures_are_send(view: &View<String>, text: &String, id: uuid::Uuid) {
    fn is_send<T: Send>(_: &T) {}

    let load = || async { Ok::<_, std::io::Error>(None::<String>) };
    is_send(&view.get(text, load));
    is_send(&view.get("text", load));
    is_send(&view.get((id, Some(7_i64), "text"), load));
    is_send(&view.get_under(text.as_str(), |text| CacheKey::from_text(text), load));
    is_send(&async {
        let held = view.get(id, load).await;
        std::future::ready(()).await;
        held.map(|held| held.is_some())
    });
}
