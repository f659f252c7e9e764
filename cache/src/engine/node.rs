//! What the named caches of a node share, and what each has for itself.

use tidings_core::{CacheKey, clock::Clock};
use tokio::sync::Semaphore;

use crate::{
    answer::receipt::Propagate,
    api::builder::{CacheSettings, next_id},
    engine::flight::Flights,
    engine::tags::Tags,
    fence::{Sequence, Slots},
    level1::table::{Fitting, Place},
    level2::zone::{Level2, NEVER, Name, Removed, StoredKey},
    options::call::Terms,
    stats::{Counters, Threads},
    sync::{Arc, Executor, Mutex},
};

/// The node's share: one sequence, one L2, one clock.
pub(crate) struct Node {
    /// Tells this node's tables from those of another in the same process.
    pub(crate) id: u64,
    pub(crate) sequence: Sequence,
    pub(crate) level2: Level2,
    pub(crate) capacity: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Executor,
    pub(crate) propagate: Option<Arc<dyn Propagate>>,
    /// The bound on loads that run at once.
    pub(crate) bulkhead: Semaphore,
    pub(crate) slots: usize,
    pub(crate) flight_shards: usize,
    /// By index; a name's cache lives as long as the node.
    pub(crate) caches: Mutex<Vec<Arc<Named>>>,
}

impl Node {
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// Whether a time has yet to come. The clock is read only if it could have.
    #[inline]
    pub(crate) fn is_ahead(&self, time: u64) -> bool {
        time == NEVER || time > self.now()
    }
}

/// One named cache's share: its own slots, flights and tags, so that names share nothing.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) index: u32,
    /// Names its tables in the L1 of threads.
    pub(crate) place: Place,
    pub(crate) settings: CacheSettings,
    /// The settings, resolved for a call that sets nothing.
    pub(crate) terms: Terms,
    pub(crate) slots: Slots,
    pub(crate) flights: Flights,
    pub(crate) tags: Tags,
    pub(crate) counters: Counters,
    pub(crate) threads: Arc<Threads>,
}

impl Named {
    pub(crate) fn new(name: &str, index: u32, settings: CacheSettings, node: &Node) -> Self {
        Self {
            name: name.into(),
            index,
            place: next_id(),
            terms: Terms::resolve(&Default::default(), &settings.terms),
            slots: Slots::new(node.slots),
            flights: Flights::new(node.flight_shards),
            tags: Tags::new(),
            counters: Counters::default(),
            threads: Arc::default(),
            settings,
        }
    }

    pub(crate) fn name_of<'a>(&self, key: &'a CacheKey) -> Name<'a> {
        Name::new(self.index, key)
    }

    pub(crate) fn stored(&self, key: &CacheKey) -> StoredKey {
        StoredKey::new(self.index, key)
    }

    pub(crate) fn fitting(&self, node: &Node) -> Fitting<'_> {
        Fitting {
            place: self.place,
            node: node.id,
            capacity: self.settings.l1_entries,
            threads: &self.threads,
        }
    }
}

impl Node {
    /// Settles what left L2 to make room for an entry of `cache`: takes it out of the tag indexes of its caches and
    /// counts it. Not to be called with a shard or an index locked.
    pub(crate) fn settle(&self, inserted: Option<(&Named, &CacheKey)>, removed: Removed) {
        if removed.len() == 0 {
            return;
        }
        let name = inserted.map(|(cache, key)| cache.name_of(key));
        let keys = removed.present.iter().map(|(key, _)| key);
        let keys = keys.chain(removed.absent.iter().map(|(key, _)| key));
        let caches = self.caches.lock();
        for key in keys {
            if name != Some(key.name())
                && let Some(cache) = caches.get(key.cache() as usize)
            {
                cache.counters.evicted_for_space.add(1);
            }
        }
        drop(caches);
        self.forget_tags(&removed);
        // The values are dropped here, with no lock held.
    }

    /// Takes what left L2 out of the tag indexes of its caches.
    pub(crate) fn forget_tags(&self, removed: &Removed) {
        let mut tagged = removed.tagged().peekable();
        if tagged.peek().is_none() {
            return;
        }
        let caches = self.caches.lock();
        for (key, tags) in tagged {
            if let Some(cache) = caches.get(key.cache() as usize) {
                cache
                    .tags
                    .forget(std::iter::once((key, tags)), &self.level2);
            }
        }
    }

    /// Takes out of L2 what has expired for longer than it may be served stale. A scan; for a slow tick.
    pub(crate) fn sweep(&self, stale_for: u64) -> usize {
        let now = self.now();
        let removed = self
            .level2
            .sift(|_, _, expires| expires != NEVER && expires.saturating_add(stale_for) <= now);
        let caches = self.caches.lock();
        let keys = removed.present.iter().map(|(key, _)| key);
        for key in keys.chain(removed.absent.iter().map(|(key, _)| key)) {
            if let Some(cache) = caches.get(key.cache() as usize) {
                cache.counters.evicted_by_expiry.add(1);
            }
        }
        drop(caches);
        self.forget_tags(&removed);
        removed.len()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("level2", &self.level2)
            .finish_non_exhaustive()
    }
}
