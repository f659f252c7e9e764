//! Building a cache.

use std::time::Duration;

use tidings_core::clock::{Clock, SystemClock};
use tokio::sync::Semaphore;

use crate::{
    answer::receipt::Propagate,
    api::cache::Cache,
    engine::node::{Engine, Named, Node, next_id},
    error::{ConfigError, OptionError},
    fence::slots::Sequence,
    level2::zone::Level2,
    options::{call::setters, policy::Policy, settings::CacheSettings, terms::Overrides},
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
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    executor: Option<Executor>,
    propagate: Option<Arc<dyn Propagate>>,
    max_loads: usize,
    slots: usize,
    flight_shards: usize,
}

impl Cache {
    /// Starts a cache, and the node's share of it.
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
            executor: None,
            propagate: None,
            max_loads: 1_024,
            slots: 16_384,
            flight_shards: 64,
        }
    }

    setters!();

    /// What L2 may hold, in bytes: 64 MiB by default, 64 KiB at least. All named caches of the node share it.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// How much of the capacity is for absences: an eighth by default.
    pub fn absence_capacity(mut self, bytes: u64) -> Self {
        self.absence_capacity = Some(bytes);
        self
    }

    /// How many entries each attached thread keeps; zero is none. The default is 4,096.
    pub fn l1_entries(mut self, entries: usize) -> Self {
        self.settings.l1_entries = entries;
        self
    }

    /// How many loads may run at once; others wait for their turn, within their deadline. 1,024 by default.
    pub fn max_loads(mut self, loads: usize) -> Self {
        self.max_loads = loads;
        self
    }

    /// Where time comes from: the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What loads run on: the runtime in which [`build`](Self::build) is called, by default.
    ///
    /// With the machine's clock the runtime's timer must be on, unless no load has a deadline.
    #[cfg(not(shuttle))]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.executor = Some(Executor(runtime));
        self
    }

    /// What carries invalidations to other nodes: nothing by default.
    pub fn propagate(mut self, propagate: Arc<dyn Propagate>) -> Self {
        self.propagate = Some(propagate);
        self
    }

    /// Fewer slots and shards, so that a model meets what they share.
    #[cfg(shuttle)]
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
    /// When an option is refused, or there is no runtime for the loads.
    pub fn build(self) -> Result<Cache, ConfigError> {
        self.settings.check()?;
        let absences = self.absence_capacity.unwrap_or(self.capacity / 8);
        check(
            "capacity",
            self.capacity,
            SMALLEST_CAPACITY,
            LARGEST_CAPACITY,
            "at least 64 KiB, at most 64 PiB",
        )?;
        check(
            "absence_capacity",
            absences,
            4 << 10,
            self.capacity / 2,
            "at least 4 KiB, at most half of the capacity",
        )?;
        let most = Semaphore::MAX_PERMITS as u64;
        check("max_loads", self.max_loads as u64, 1, most, "at least 1")?;
        check(
            "l1_entries",
            self.settings.l1_entries as u64,
            0,
            1 << 30,
            "at most 2^30",
        )?;
        let executor = self
            .executor
            .or_else(Executor::current)
            .ok_or(ConfigError::NoRuntime)?;

        let node = Arc::new(Node {
            id: next_id(),
            alive: Arc::new(()),
            sequence: Sequence::default(),
            level2: Level2::new(self.capacity, absences),
            capacity: self.capacity,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            executor,
            propagate: self.propagate,
            bulkhead: Semaphore::new(self.max_loads),
            slots: self.slots,
            flight_shards: self.flight_shards,
            caches: Mutex::new(Vec::new()),
        });
        let named = Arc::new(Named::new(DEFAULT_NAME, 0, self.settings, &node));
        node.caches.lock().push(Arc::clone(&named));
        Ok(Cache(Engine { node, named }))
    }
}

fn check(
    option: &'static str,
    value: u64,
    least: u64,
    most: u64,
    allowed: &'static str,
) -> Result<(), OptionError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(OptionError {
        option,
        value: value.to_string(),
        allowed,
    })
}
