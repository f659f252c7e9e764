//! What the named caches of a node share, and what each of them owns.

use std::{sync::Weak, time::Duration};

use tidings_core::{CacheKey, clock::Clock, entropy::Entropy};

use crate::{
    answer::{
        fills::{Fills, StalePolicy},
        receipt::Propagate,
        ttl::Ttl,
    },
    engine::{flights::Flights, permits::Permits, tags::Tags, views::Views},
    fence::{
        number::{Moment, Number},
        slots::{Sequence, Slots},
    },
    level1::table::{Attach, Shared},
    level2::{
        key::{KeyRef, StoredKey},
        zone::{Level2, Removed},
    },
    options::{call::GetOptions, settings::CacheSettings, terms::Terms},
    record::{RecordKind, Recorder},
    stats::Counters,
    sync::{Arc, AtomicU64, Executor, Mutex, Ordering},
};

/// What all named caches share: one sequence, one L2, one clock.
pub(crate) struct Node {
    /// Distinguishes this node's tables from those of other nodes in the process.
    pub(crate) id: u64,
    /// Dropped with the node; threads hold it weakly.
    pub(crate) alive: Arc<()>,
    pub(crate) sequence: Sequence,
    pub(crate) level2: Level2,
    pub(crate) capacity: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Executor,
    pub(crate) propagate: Option<Arc<dyn Propagate>>,
    /// Decides whether a value that was read may be kept. Without it, every one may.
    pub(crate) fills: Option<Arc<dyn Fills>>,
    /// The node's bound on staleness, which no cache and no call loosens.
    pub(crate) ceiling: Ttl,
    pub(crate) stale_policy: StalePolicy,
    /// Where jitter comes from.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The bound on loads that run at once.
    pub(crate) permits: Arc<Permits>,
    /// The recent history of keys.
    pub(crate) recorder: Recorder,
    /// When threads get an L1.
    pub(crate) attach: Attach,
    pub(crate) slots: usize,
    pub(crate) flight_shards: usize,
    /// By index; a name's cache lives as long as the node.
    pub(crate) caches: Mutex<Vec<Arc<Named>>>,
}

/// One named cache: its own slots, flights and tags, so that names share nothing.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) index: u32,
    pub(crate) settings: CacheSettings,
    /// The settings, resolved for a call that sets nothing.
    pub(crate) terms: Terms,
    /// What its L1 tables on all threads share, including the slots.
    pub(crate) level1: Shared,
    pub(crate) flights: Flights,
    pub(crate) tags: Tags,
    pub(crate) views: Views,
    pub(crate) counters: Counters,
    /// The latest announcement of a purge or of a tag's invalidation. A value that was read at an
    /// earlier position may be older than that.
    announced: AtomicU64,
}

impl Named {
    pub(crate) fn new(name: &str, index: u32, settings: CacheSettings, node: &Node) -> Self {
        let level1 = Shared {
            cache_id: next_id(),
            node: node.id,
            alive: Arc::downgrade(&node.alive),
            slots: Slots::new(node.slots),
            clock: Arc::clone(&node.clock),
            capacity: settings.l1_entries,
            bytes: settings.l1_bytes,
            attach: node.attach,
            threads: Arc::default(),
        };
        Self {
            name: name.into(),
            index,
            terms: Terms::resolve(&Default::default(), &settings.terms),
            level1,
            flights: Flights::new(node.flight_shards),
            tags: Tags::new(),
            views: Views::default(),
            counters: Counters::default(),
            announced: AtomicU64::new(0),
            settings,
        }
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.level1.slots
    }

    /// Announces a purge, or a tag's invalidation. Call it before anything is voided.
    pub(crate) fn announce(&self, number: Number) {
        self.announced.fetch_max(number.0, Ordering::SeqCst);
    }

    /// Returns the number below which no position is current.
    pub(crate) fn announced(&self) -> Number {
        Number(self.announced.load(Ordering::SeqCst))
    }

    pub(crate) fn key_ref<'a>(&self, key: &'a CacheKey) -> KeyRef<'a> {
        KeyRef::new(self.index, key)
    }

    pub(crate) fn stored(&self, key: &CacheKey) -> StoredKey {
        StoredKey::new(self.index, key)
    }
}

impl Node {
    pub(crate) fn now(&self) -> Moment {
        self.clock.now().into()
    }

    /// Returns whether a moment is in the future. Reads the clock only if the moment can be
    /// reached.
    #[inline]
    pub(crate) fn is_ahead(&self, moment: Moment) -> bool {
        moment == Moment::NEVER || moment > self.now()
    }

    /// Counts the entries that left L2 to make room for an entry of a cache, and removes them from
    /// the tag indexes. No shard and no index may be locked: the values are dropped here.
    pub(crate) fn release(&self, inserted: Option<(&Named, &CacheKey)>, removed: Removed) {
        if removed.len() == 0 {
            return;
        }

        // Entries that left under the inserted key were replaced or not admitted. They did not make
        // room for another.
        let key_ref = inserted.map(|(cache, key)| cache.key_ref(key));
        let caches = self.caches.lock();
        for key in removed.keys() {
            if key_ref != Some(key.key_ref())
                && let Some(cache) = caches.get(key.cache() as usize)
            {
                cache.counters.evicted_for_space.add(1);
            }
        }
        drop(caches);

        let keys = removed.keys().map(StoredKey::key_ref);
        self.note_each(keys.filter(|key| key_ref != Some(*key)), &RecordKind::Space);

        self.forget_tags(&removed);
    }

    /// Records what has happened to each of some keys.
    fn note_each<'a>(&self, keys: impl Iterator<Item = KeyRef<'a>>, kind: &RecordKind) {
        let mut keys = keys.peekable();
        if keys.peek().is_none() {
            return;
        }

        let (now, number) = (self.now(), self.sequence.current());
        for key in keys {
            let hash = key.hash_value();
            self.recorder.record(hash, now, number, None, kind.clone());
        }
    }

    /// Removes the entries that left L2 from the tag indexes of their caches.
    pub(crate) fn forget_tags(&self, removed: &Removed) {
        let mut tagged = removed.tagged().peekable();
        if tagged.peek().is_none() {
            return;
        }

        let caches = self.caches.lock();
        for (key, tags) in tagged {
            if let Some(cache) = caches.get(key.cache() as usize) {
                cache.tags.forget(key, tags, &self.level2);
            }
        }
    }

    /// Removes entries from L2 that expired longer ago than they may be served stale. Returns how
    /// many. Scans all entries, so call it rarely.
    pub(crate) fn sweep(&self, stale_for: Duration) -> usize {
        let now = self.now();
        let removed = self
            .level2
            .sift(|_, _, expires| expires != Moment::NEVER && expires.plus(stale_for) <= now);

        let caches = self.caches.lock();
        for key in removed.keys() {
            if let Some(cache) = caches.get(key.cache() as usize) {
                cache.counters.evicted_by_expiry.add(1);
            }
        }
        drop(caches);

        self.note_each(removed.keys().map(StoredKey::key_ref), &RecordKind::Expired);

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

/// One named cache of one node. Cheap to clone, since it is two pointers.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) node: Arc<Node>,
    pub(crate) named: Arc<Named>,
}

impl Engine {
    /// Counts how long a load took.
    pub(crate) fn record_load(&self, took: Duration) {
        self.named.counters.load_time.record(took);
    }

    /// Returns the terms of a call: its own options over the cache's over the default.
    pub(crate) fn terms(&self, options: &GetOptions) -> Terms {
        match options.terms() {
            Some(terms) => Terms::resolve(terms, &self.named.settings.terms),
            None => self.named.terms,
        }
    }
}

/// An engine that keeps nothing alive. The task of a load holds one.
pub(crate) struct WeakEngine {
    node: Weak<Node>,
    named: Weak<Named>,
}

impl Engine {
    pub(crate) fn downgrade(&self) -> WeakEngine {
        WeakEngine {
            node: Arc::downgrade(&self.node),
            named: Arc::downgrade(&self.named),
        }
    }
}

impl WeakEngine {
    /// Returns the engine; `None` once its last handle has been dropped.
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        let (node, named) = (self.node.upgrade()?, self.named.upgrade()?);
        Some(Engine { node, named })
    }
}

/// Returns a number that no other node or cache of this process has.
pub(crate) fn next_id() -> u64 {
    // The standard library's atomic, in models too: only uniqueness matters.
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
