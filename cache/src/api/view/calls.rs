//! The calls of a view: reads, sets and invalidations by the parts of a key.

use std::{any::Any, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::{
        form::{Form, Formed, KeptIn},
        load::Load,
        loaded::Loaded,
        parts::{Loan, OwnedParts, Parts},
        receipt::Receipt,
    },
    api::{
        get::{Get, ValueOnly},
        view::View,
    },
    error::{BoxError, GetError, SetError},
    faults::{Step, removed},
    level1::{
        thread,
        view::{KeyLayout, ViewLookup},
        window::{Kind, NewEntry},
    },
    level2::stored::Cacheable,
};

impl<V: Cacheable, W: Any + Send + Sync> View<V, W> {
    /// Returns the value of a key, and loads it if neither level has it; see
    /// [`Cache::get`](crate::Cache::get). The lookup happens at the first poll.
    ///
    /// # Errors
    ///
    /// See [`GetError`].
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let owners = cache.view::<String>("api-keys")?;
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    /// let owner = owners.get("abcd", load).await?;
    /// assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
    ///
    /// // A key without a row is cached as an absence.
    /// let none = || async { Ok::<_, std::io::Error>(None) };
    /// assert!(owners.get("wxyz", none).await?.is_none());
    /// assert!(owners.peek("wxyz").is_some_and(|absent| absent.is_none()));
    /// # Ok(()) }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    /// use uuid::Uuid;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let users = cache.view::<String>("users")?.primary()?;
    /// let path = "00000000-0000-0000-0000-000000000007"; // of a request
    /// // Called on a miss only: a hit does not parse the text.
    /// let key = |path: &&str| users.key(path.parse().unwrap_or(Uuid::nil()));
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    ///
    /// let user = users.get_under(path, key, load).await?;
    /// assert_eq!(user.as_deref().map(String::as_str), Some("alice"));
    /// users.invalidate(Uuid::from_u128(7)); // ends the entry of the text too
    /// assert!(users.peek(path).is_none());
    /// # Ok(()) }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let owners = cache.view::<String>("api-keys")?;
    /// assert!(owners.peek("abcd").is_none()); // nothing is known
    ///
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    /// owners.get("abcd", load).await?;
    /// let owner = owners.peek("abcd").flatten();
    /// assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
    /// # Ok(()) }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let owners = cache.view::<String>("api-keys")?;
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    /// owners.get("abcd", load).await?;
    ///
    /// let length = owners.with("abcd", |owner| owner.map(String::len));
    /// assert_eq!(length, Some(Some(5)));
    /// assert_eq!(owners.with("wxyz", |_| ()), None); // no entry, no call
    /// # Ok(()) }
    /// ```
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

    /// Caches a value or an absence that the caller knows to be current; see
    /// [`Cache::set`](crate::Cache::set).
    ///
    /// # Errors
    ///
    /// See [`SetError`]. A value that is too large to keep, or whose size is unknown, still removes
    /// the previous value. After any other error nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let flags = cache.view::<bool>("flags")?;
    /// flags.set("beta", Some(true))?;
    /// flags.set("alpha", None)?; // an absence
    /// assert_eq!(cache.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn set<P: Parts>(&self, parts: P, value: impl Into<Loaded<V>>) -> Result<(), SetError> {
        let key = self.key(parts);
        self.engine.set(&key, value.into(), &self.options)
    }

    /// Declares that the value of a key has changed; see
    /// [`Cache::invalidate`](crate::Cache::invalidate).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let flags = cache.view::<bool>("flags")?;
    /// flags.set("beta", Some(true))?;
    ///
    /// let receipt = flags.invalidate("beta");
    /// assert!(cache.is_empty());
    /// receipt.confirmed(Duration::from_secs(1)).await?; // by the other nodes, if there are any
    /// # Ok(()) }
    /// ```
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
