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

/// Makes a [`Cache`].
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
    /// Starts a cache, and the node's share of it.
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

    /// Sets what L2 may hold, in bytes: 64 MiB by default, 64 KiB at least. All named caches of the
    /// node share it. What [`Cache::explain`] reads is kept beside it, in at most a fiftieth of
    /// this (8 KiB at least, about 1.1 MB at most).
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Sets how much of the capacity is for absences: an eighth by default.
    pub fn absence_capacity(mut self, bytes: u64) -> Self {
        self.absence_capacity = Some(bytes);
        self
    }

    /// Sets how many entries each thread keeps in its L1; zero is none. The default is 4,096.
    pub fn l1_entries(mut self, entries: usize) -> Self {
        self.settings.l1_entries = entries;
        self
    }

    /// Sets how many loads may run at once; others wait for their turn, within their deadline. As
    /// many again may be overdue. Loads that are made by the future of another load run at once.
    /// 1,024 by default.
    pub fn max_loads(mut self, loads: usize) -> Self {
        self.max_loads = loads;
        self
    }

    /// Sets where time comes from: the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets what loads run on: by default, each runs on the tokio runtime that is current where it
    /// starts.
    ///
    /// On a node with several runtimes, name the one that lives longest: a database socket lives
    /// with the runtime that opened it. With the machine's clock the runtime's timer must be on,
    /// unless no load has a deadline.
    #[cfg(not(shuttle))]
    pub fn runtime(self, runtime: tokio::runtime::Handle) -> Self {
        self.spawn(Arc::new(TokioSpawn::new(runtime)))
    }

    /// Sets what loads run on, if that is no tokio runtime: see [`runtime`](Self::runtime).
    #[cfg(not(shuttle))]
    pub fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.executor = Executor(Some(spawn));
        self
    }

    /// Sets where jitter comes from: the operating system by default.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Sets when threads get an L1: at their first use of the cache, by default. Such an L1 lasts
    /// as long as its thread, or until the thread first uses another cache after this one has gone.
    pub fn attach(mut self, attach: Attach) -> Self {
        self.attach = attach;
        self
    }

    /// Sets what each thread keeps in its L1, in bytes as L2 weighs them: 4 MiB by default. See
    /// [`CacheSettings::l1_bytes`](crate::CacheSettings::l1_bytes).
    pub fn l1_bytes(mut self, bytes: u64) -> Self {
        self.settings.l1_bytes = bytes;
        self
    }

    /// Sets what carries invalidations to other nodes: nothing by default.
    pub fn propagate(mut self, propagate: Arc<dyn Propagate>) -> Self {
        self.propagate = Some(propagate);
        self
    }

    /// Sets what decides whether loads may fill the cache. By default nothing does, and they may.
    pub fn fills(mut self, fills: Arc<dyn Fills>) -> Self {
        self.fills = Some(fills);
        self
    }

    /// Sets the node's bound on staleness: none by default. Of several that are set, the shortest
    /// counts.
    ///
    /// Where [`max_staleness`](Self::max_staleness) is what a cache or a call asks for, this is
    /// what the node promises, and nothing loosens it: no entry of any cache of the node, in either
    /// level and through a view too, is served once this long has passed since the later of the
    /// start of its load and the last proof ([`Fills::proof`](crate::Fills::proof)) that the node
    /// has applied every change; without proofs, since the start of its load. No caller joins a
    /// load that began that long ago; it takes the result of a load that it began itself however
    /// long that took. A bound of a cache or a call holds besides, and counts from the start of the
    /// load alone: what the proofs do not speak of needs one, or a ttl.
    ///
    /// For a node that others wait for no longer than this: what it served beyond it could be
    /// older than what they have been told is seen everywhere.
    ///
    /// Costs a hit in L1 a read of the clock, as a ttl does, and each thread a lookup in L2 for
    /// each of its keys once in this time.
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

    /// Says what becomes of a lookup that finds nothing it may serve while nothing is proven within
    /// the node's [bound](Self::staleness_ceiling): [`StalePolicy::Load`] by default. Without a
    /// bound it changes nothing.
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        self.stale_policy = policy;
        self
    }

    /// Takes fewer slots and shards, so that a model meets what they share.
    #[cfg(all(test, shuttle))]
    pub(crate) fn small(mut self, slots: usize) -> Self {
        self.slots = slots;
        self.flight_shards = 1;
        self
    }

    fn overrides(&mut self) -> &mut Overrides {
        &mut self.settings.terms
    }

    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// When an option is refused.
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
