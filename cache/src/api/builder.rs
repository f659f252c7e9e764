//! [`CacheBuilder`]: the settings of a cache and of its node, checked when it is built.

use std::time::Duration;

#[cfg(not(shuttle))]
use tidings_core::spawn::{Spawn, TokioSpawn};
use tidings_core::{
    clock::{Clock, SystemClock},
    entropy::{Entropy, SystemEntropy},
};

use crate::{
    answer::{
        fills::{Fills, StalePolicy},
        receipt::Propagate,
        ttl::Ttl,
    },
    api::cache::Cache,
    engine::{
        node::{Engine, Named, Node, next_id},
        permits::Permits,
    },
    error::ConfigError,
    fence::slots::Sequence,
    level1::table::Attach,
    level2::zone::Level2,
    options::{
        call::setters,
        policy::Policy,
        settings::CacheSettings,
        terms::{Overrides, check_range, check_ttl},
    },
    record::Recorder,
    sync::{Arc, Executor, Mutex},
};

/// The name of the cache that a builder makes; [`Cache::named`] makes others beside it.
pub(crate) const DEFAULT_NAME: &str = "default";

/// The smallest [`capacity`](CacheBuilder::capacity), in bytes.
pub const SMALLEST_CAPACITY: u64 = 64 << 10;
/// The largest [`capacity`](CacheBuilder::capacity), in bytes.
pub const LARGEST_CAPACITY: u64 = u64::MAX >> 8;

/// Builds a [`Cache`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_cache::{Cache, Policy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder()
///     .capacity(64 << 20)
///     .l1_entries(10_000)
///     .policy(Policy::revocable())
///     .build()?;
/// # let _ = cache; Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct CacheBuilder {
    capacity: u64,
    absence_capacity: Option<u64>,
    settings: CacheSettings,
    clock: Option<Arc<dyn Clock>>,
    executor: Executor,
    entropy: Option<Arc<dyn Entropy>>,
    attach: Attach,
    propagate: Option<Arc<dyn Propagate>>,
    fills: Option<Arc<dyn Fills>>,
    ceiling: Ttl,
    stale_policy: StalePolicy,
    max_loads: usize,
    slots: usize,
    flight_shards: usize,
}

impl Cache {
    /// Returns a builder for the first cache of a node.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().capacity(256 << 20).max_loads(200).build()?;
    /// # let _ = cache;
    ///
    /// // What cannot work is refused, and the error says what would be right.
    /// let refused = Cache::builder().capacity(1).build().unwrap_err();
    /// assert!(refused.to_string().contains("at least 64 KiB"));
    /// # Ok(()) }
    /// ```
    pub fn builder() -> CacheBuilder {
        CacheBuilder::new()
    }
}

impl CacheBuilder {
    fn new() -> Self {
        Self {
            capacity: 64 << 20,
            absence_capacity: None,
            settings: CacheSettings::default(),
            clock: None,
            executor: Default::default(),
            entropy: None,
            attach: Attach::AtFirstUse,
            propagate: None,
            fills: None,
            ceiling: Ttl::Never,
            stale_policy: StalePolicy::default(),
            max_loads: 1_024,
            slots: 16_384,
            flight_shards: 64,
        }
    }

    setters!();

    /// Sets the size of L2 in bytes: 64 MiB by default, 64 KiB at least. All named caches of the
    /// node share it. The history that [`Cache::explain`] reads is kept beside L2 and takes at most
    /// a fiftieth of this (at least 8 KiB, at most about 1.1 MB).
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Sets the part of the capacity that is reserved for absences: an eighth by default.
    pub fn absence_capacity(mut self, bytes: u64) -> Self {
        self.absence_capacity = Some(bytes);
        self
    }

    /// Sets how many entries each thread keeps in its L1: 4,096 by default. With zero it keeps
    /// none.
    pub fn l1_entries(mut self, entries: usize) -> Self {
        self.settings.l1_entries = entries;
        self
    }

    /// Sets how many loads may run at once: 1,024 by default. Other loads wait for their turn,
    /// within their deadline. The same number of loads again may be overdue. A load that is started
    /// by another load does not wait for a turn.
    pub fn max_loads(mut self, loads: usize) -> Self {
        self.max_loads = loads;
        self
    }

    /// Sets the clock: the machine's by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the runtime for loads. By default, each load runs on the tokio runtime that is current
    /// where it starts.
    ///
    /// On a node with several runtimes, name the one that lives longest, because a database socket
    /// lives only as long as the runtime that opened it. With the machine's clock the runtime's
    /// timer must be enabled, unless no load has a deadline.
    #[cfg(not(shuttle))]
    pub fn runtime(self, runtime: tokio::runtime::Handle) -> Self {
        self.spawn(Arc::new(TokioSpawn::new(runtime)))
    }

    /// Sets an executor for loads that is not a tokio runtime; see [`runtime`](Self::runtime).
    #[cfg(not(shuttle))]
    pub fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.executor = Executor(Some(spawn));
        self
    }

    /// Sets the source of randomness for jitter: the operating system by default.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Sets when threads get an L1: at their first use of the cache, by default. Such an L1 lasts
    /// as long as its thread. If the cache goes first, it lasts until the thread next uses another
    /// cache.
    pub fn attach(mut self, attach: Attach) -> Self {
        self.attach = attach;
        self
    }

    /// Sets the size of each thread's L1, in bytes as L2 weighs them: 4 MiB by default. See
    /// [`CacheSettings::l1_bytes`](crate::CacheSettings::l1_bytes).
    pub fn l1_bytes(mut self, bytes: u64) -> Self {
        self.settings.l1_bytes = bytes;
        self
    }

    /// Sets the carrier of invalidations to other nodes: none by default.
    pub fn propagate(mut self, propagate: Arc<dyn Propagate>) -> Self {
        self.propagate = Some(propagate);
        self
    }

    /// Sets the judge of whether loads may fill the cache. By default there is none, and every load
    /// may.
    pub fn fills(mut self, fills: Arc<dyn Fills>) -> Self {
        self.fills = Some(fills);
        self
    }

    /// Sets the node's bound on staleness: none by default. If it is set several times, the
    /// shortest bound counts.
    ///
    /// [`max_staleness`](Self::max_staleness) is what a cache or a call asks for. The ceiling is
    /// what the node promises, and nothing loosens it. No cache of the node serves an entry, from
    /// either level or through a view, once the ceiling has passed since the start of the entry's
    /// load or since the last proof ([`Fills::proof`](crate::Fills::proof)) that the node has
    /// applied every change, whichever is later. Without proofs, the start of the load counts. No
    /// caller joins a load that began that long ago, but a caller takes the result of its own load,
    /// however long that took.
    ///
    /// A bound of a cache or a call applies in addition, and counts from the start of the load
    /// alone. Values whose changes the proofs do not cover need such a bound, or a ttl.
    ///
    /// The ceiling is for a cluster whose other nodes wait for this node no longer than the
    /// ceiling. If the node served an entry beyond it, the entry could be older than a change that
    /// was already confirmed everywhere.
    ///
    /// A ceiling costs a hit in L1 a read of the clock, as a ttl does. It also costs each thread
    /// one L2 lookup per key in each period of this length.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::{Cache, CacheKey, CacheSettings, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ceiling = Duration::from_secs(5);
    /// let cache = Cache::builder().staleness_ceiling(ceiling).build()?;
    /// let routes = cache.named_with("routes", CacheSettings::default().no_max_staleness())?;
    ///
    /// let key = CacheKey::new("routes", &["/"]);
    /// routes.set(&key, Some("home".to_owned()), GetOptions::default().no_ttl())?;
    /// let probe = routes.probe::<String>(&key)?.expect("it is cached");
    /// assert!(probe.remaining.is_some_and(|left| left <= ceiling));
    /// # Ok(()) }
    /// ```
    pub fn staleness_ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = self.ceiling.shorter(Ttl::After(ceiling));
        self
    }

    /// Sets what happens to a lookup that finds no entry it may serve, while there is no proof
    /// within the node's [bound](Self::staleness_ceiling): [`StalePolicy::Load`] by default.
    /// Without a bound this has no effect.
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        self.stale_policy = policy;
        self
    }

    /// Uses fewer slots and shards, so that keys of a model share them.
    #[cfg(all(test, shuttle))]
    pub(crate) fn small(mut self, slots: usize) -> Self {
        self.slots = slots;
        self.flight_shards = 1;
        self
    }

    fn overrides(&mut self) -> &mut Overrides {
        &mut self.settings.terms
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// An option is invalid.
    pub fn build(self) -> Result<Cache, ConfigError> {
        self.settings.check()?;
        check_ttl("staleness_ceiling", Some(self.ceiling))?;

        let absences = self.absence_capacity.unwrap_or(self.capacity / 8);
        check_range(
            "capacity",
            self.capacity,
            SMALLEST_CAPACITY,
            LARGEST_CAPACITY,
            "at least 64 KiB, at most 64 PiB",
        )?;
        check_range(
            "absence_capacity",
            absences,
            4 << 10,
            self.capacity / 2,
            "at least 4 KiB, at most half of the capacity",
        )?;

        let loads = self.max_loads as u64;
        check_range("max_loads", loads, 1, 1 << 32, "from 1 to 2^32")?;

        let node = Arc::new(Node {
            id: next_id(),
            alive: Arc::new(()),
            sequence: Sequence::default(),
            level2: Level2::new(self.capacity, absences),
            capacity: self.capacity,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            executor: self.executor,
            entropy: self.entropy.unwrap_or_else(|| Arc::new(SystemEntropy)),
            propagate: self.propagate,
            fills: self.fills,
            ceiling: self.ceiling,
            stale_policy: self.stale_policy,
            permits: Permits::new(self.max_loads),
            recorder: Recorder::new(self.capacity),
            attach: self.attach,
            slots: self.slots,
            flight_shards: self.flight_shards,
            caches: Mutex::new(Vec::new()),
        });
        let named = Arc::new(Named::new(DEFAULT_NAME, 0, self.settings, &node));
        node.caches.lock().push(Arc::clone(&named));

        Ok(Cache(Engine { node, named }))
    }
}
