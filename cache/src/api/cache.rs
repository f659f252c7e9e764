//! The handle, and the way of a hit.

use std::{any::Any, fmt, future::Future, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::form::{Decoded, Form, Own},
    answer::loaded::Loaded,
    api::builder::{CacheBuilder, CacheSettings},
    api::get::{Get, Plain, WithOutcome},
    engine::node::{Named, Node},
    error::{BoxError, ConfigError, GetError},
    level1::table::{self, Found},
    level2::stored::{Cacheable, Stored, typed},
    level2::zone::{Held, NEVER},
    options::call::GetOptions,
};

/// A named cache: a cheap handle, to be cloned and shared.
///
/// All named caches of a node share one L2 and its byte budget; apart from that, caches of different names share nothing.
/// Values and memory go when the last handle and the last [`ThreadGuard`](crate::ThreadGuard) of the node have gone.
///
/// # Examples
///
/// ```
/// use tidings_cache::{Cache, CacheKey, GetOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let key = CacheKey::new("greeting", &["en"]);
/// let load = || async { Ok::<_, std::io::Error>(Some("hello".to_owned())) };
/// let greeting = cache.get::<String, _, _, _, _>(&key, GetOptions::default(), load).await?;
/// assert_eq!(greeting.as_deref().map(String::as_str), Some("hello"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache {
    pub(crate) node: Arc<Node>,
    pub(crate) named: Arc<Named>,
}

/// Of one hit in so many in L2, the age of the entry is recorded: it costs a look at the clock.
const AGE_EVERY: u64 = 16;

/// How a `get` was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// By this thread's L1.
    L1,
    /// By the node's L2.
    L2,
    /// By a load that this call started.
    Loaded,
    /// By a load that another call had started.
    Joined,
    /// The load failed or was late, and the expired value was served instead.
    Stale,
}

/// A value, or its absence, and how it was come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    /// The value; `None` if there is none.
    pub value: Option<Arc<V>>,
    /// How the call was answered.
    pub outcome: Outcome,
}

/// What a look at both levels gave.
pub(crate) enum Look<W> {
    Found {
        entry: Entry<W>,
        /// The entry asks to be loaded anew in the background.
        refresh: bool,
    },
    /// With the number that was noted before L2 was read.
    Missing { noted: u64 },
}

impl Cache {
    /// Starts a cache, and the node's share of it.
    pub fn builder() -> CacheBuilder {
        CacheBuilder::new()
    }

    pub(crate) fn new(node: Arc<Node>, named: Arc<Named>) -> Self {
        Self { node, named }
    }

    /// The cache of this name on the same node, with this cache's settings. Two handles of one name share all.
    ///
    /// A name lives as long as the node and costs some 130 KB, most of it its slots.
    ///
    /// # Errors
    ///
    /// When the name exists with other settings.
    pub fn named(&self, name: &str) -> Result<Self, ConfigError> {
        self.named_with(name, self.named.settings.clone())
    }

    /// The cache of this name on the same node, with settings of its own.
    ///
    /// # Errors
    ///
    /// When a setting is refused, or the name exists with other settings.
    pub fn named_with(&self, name: &str, settings: CacheSettings) -> Result<Self, ConfigError> {
        settings.check()?;
        let mut caches = self.node.caches.lock();
        let named = match caches.iter().find(|cache| &*cache.name == name) {
            Some(named) if named.settings == settings => Arc::clone(named),
            Some(_) => return Err(ConfigError::NameTaken { name: name.into() }),
            None => {
                // A node with four billion named caches has run out of memory long before.
                let index = caches.len() as u32;
                let named = Arc::new(Named::new(name, index, settings, &self.node));
                caches.push(Arc::clone(&named));
                named
            }
        };
        drop(caches);
        Ok(Self::new(Arc::clone(&self.node), named))
    }

    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// The value of a key, loaded if neither level has it.
    ///
    /// However many callers miss at once, one load runs, on the cache's runtime. It belongs to the node: if its first
    /// caller goes away it goes on. Its value or absence is cached; its error or panic reaches all who waited, and is
    /// not.
    ///
    /// A hit in this thread's L1 costs about as much as a look-up in a thread-local map. A hit in L2 costs a lock that
    /// is seldom contended and a clone of the value.
    ///
    /// # Errors
    ///
    /// See [`GetError`]. Options are checked first, also if the call is a hit.
    ///
    /// Cancel safe: a load that was started goes on, and later callers join it.
    #[inline]
    pub fn get<V, F, Fut, L, E>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: F,
    ) -> impl Future<Output = Result<Option<Arc<V>>, GetError>> + Send
    where
        V: Cacheable,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let form = Own;
        Get::new(
            self,
            key,
            options,
            form,
            load,
            Plain,
            |cache, key, options, form, load, noted| {
                cache.load_and_wait(key, options, form, load, noted, false)
            },
        )
    }

    /// Like [`get`](Self::get), and tells how the call was answered.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    #[inline]
    pub fn get_entry<V, F, Fut, L, E>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: F,
    ) -> impl Future<Output = Result<Entry<V>, GetError>> + Send
    where
        V: Cacheable,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let form = Own;
        Get::new(
            self,
            key,
            options,
            form,
            load,
            WithOutcome,
            |cache, key, options, form, load, noted| {
                cache.load_and_wait(key, options, form, load, noted, false)
            },
        )
    }

    /// Like [`get_entry`](Self::get_entry), for a value that workers hold in another form than L2.
    ///
    /// `l1_serializer` makes the L1 form, a parsed key say or a compiled pattern, once per worker and fill; a hit in L1 does
    /// not run it. On a thread without an L1 it runs at every call.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get). An error of `l1_serializer` is [`GetError::L1Serializer`], and leaves L1 as it was.
    #[inline]
    pub fn get_decoded<V, W, D, F, Fut, L, E>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        l1_serializer: D,
        load: F,
    ) -> impl Future<Output = Result<Entry<W>, GetError>> + Send
    where
        V: Cacheable,
        W: Any + Send + Sync,
        D: Fn(&V) -> Result<W, BoxError> + Send + Sync,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let form = Decoded(l1_serializer);
        Get::new(
            self,
            key,
            options,
            form,
            load,
            WithOutcome,
            |cache, key, options, form, load, noted| {
                cache.load_and_wait(key, options, form, load, noted, false)
            },
        )
    }

    /// What is cached, without a load: an entry, whose value is `None` for a cached absence, or `None` for a miss.
    ///
    /// Counts as a hit, and is promoted to this thread's L1 like one.
    ///
    /// # Errors
    ///
    /// When the key holds a value of another type.
    pub fn cached<V: Cacheable>(&self, key: &CacheKey) -> Result<Option<Entry<V>>, GetError> {
        Ok(match self.look(key, &Own)? {
            Look::Found { entry, .. } => Some(entry),
            Look::Missing { .. } => None,
        })
    }

    /// Looks into this thread's L1, then into L2.
    pub(crate) fn look<V, W, M>(&self, key: &CacheKey, form: &M) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let value = match self.level1(key) {
            Found::Hit(value) => value,
            Found::Touch(value) => {
                self.touch(key);
                value
            }
            Found::Miss => return self.look_level2(key, form),
        };
        let outcome = Outcome::L1;
        Ok(Look::Found {
            entry: Entry { value, outcome },
            refresh: false,
        })
    }

    #[inline(always)]
    pub(crate) fn level1<W: Any + Send + Sync>(&self, key: &CacheKey) -> Found<W> {
        table::get(&self.named, key, &self.node)
    }

    /// Tells L2 that a key is hot, which it cannot see while L1 answers.
    #[cold]
    pub(crate) fn touch(&self, key: &CacheKey) {
        let name = self.named.name_of(key);
        let born = match self.node.level2.present.get(&name) {
            Some(held) => Some(held.born),
            None => self.node.level2.absent.get(&name).map(|held| held.born),
        };
        if let Some(born) = born {
            self.record_age(born);
        }
    }

    #[inline(never)]
    pub(crate) fn look_level2<V, W, M>(&self, key: &CacheKey, form: &M) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        // Before L2 is read: an invalidation that this look does not see takes a higher number.
        #[cfg_attr(
            not(any(shuttle, tidings_faults)),
            expect(unused_mut, reason = "a model moves the note behind the look")
        )]
        let mut noted = self.node.sequence.current();
        let name = self.named.name_of(key);
        let present = self.node.level2.present.get(&name);
        let held = match present {
            Some(held) => Some(held.map(Some)),
            // Values first: a fill that turns one into the other inserts before it removes.
            None => (self.node.level2.absent.get(&name)).map(|held| held.map(|()| None)),
        };
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::NumberNotedFirst) {
            // One more step of the checker between the two, as there would be between two instructions.
            noted = self.node.sequence.current();
        }
        match held {
            Some(held) => self.found_level2(key, form, held, noted),
            None => Ok(Look::Missing { noted }),
        }
    }

    fn found_level2<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        held: Held<Option<Arc<dyn Stored>>>,
        noted: u64,
    ) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let refresh_at = held.refresh_at();
        let now = if held.expires == NEVER {
            0
        } else {
            self.node.now()
        };
        if held.expires <= now {
            return Ok(Look::Missing { noted });
        }
        let shared = (held.value.map(|value| typed::<V>(value, key))).transpose()?;
        let (attached, hits) = self.count_level2(shared.is_none());
        if hits.is_multiple_of(AGE_EVERY) {
            self.record_age(held.born);
        }
        let refresh = refresh_at <= now;
        let expires = if refresh {
            held.expires
        } else {
            held.expires.min(refresh_at)
        };
        let value = self.promote(key, form, shared, noted, expires, attached)?;
        let outcome = Outcome::L2;
        Ok(Look::Found {
            entry: Entry { value, outcome },
            refresh,
        })
    }

    /// Puts a value into this thread's L1 in the worker's form, if it has one, and gives what the caller gets.
    pub(crate) fn promote<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        shared: Option<Arc<V>>,
        noted: u64,
        expires: u64,
        attached: bool,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        if !attached {
            return shared.map(|shared| form.shared(shared)).transpose();
        }
        // Made before L1 is borrowed: a value's `Clone` may use the cache.
        let own = shared.map(|shared| form.own(&shared)).transpose()?;
        let value = own.clone().map(|own| own as Arc<dyn Any + Send + Sync>);
        let fitting = self.named.fitting(&self.node);
        drop(table::put(
            &fitting,
            key,
            noted,
            expires,
            value,
            &self.named.slots,
        ));
        Ok(own)
    }

    /// Counts a hit in L2. Tells whether this thread has an L1, and how many such hits there were.
    fn count_level2(&self, absent: bool) -> (bool, u64) {
        let counted = table::count(&self.named.fitting(&self.node), |counters| {
            counters.l2_hit(absent)
        });
        match counted {
            Some(hits) => (true, hits),
            None => {
                let unattached = &self.named.threads.unattached;
                unattached.absences.add(usize::from(absent));
                (false, unattached.l2_hits.add(1))
            }
        }
    }

    fn record_age(&self, born: u64) {
        let age = self.node.now().saturating_sub(born);
        let age = std::time::Duration::from_nanos(age);
        self.named.counters.age.record(age);
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.named.name)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
