//! Counters. Each attached thread counts its own hits, in memory that no other core reads on a hit.
//! Everything rarer is counted in one place.

use tidings_core::meter::{Distribution, Histogram};

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of one cache that are rarer than hits.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) load_time: Histogram,
            pub(crate) age: Histogram,
        }

        /// The counts of a cache since it was built. This is a snapshot; related counts may differ
        /// by a running call.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CacheStats {
            /// Hits in the L1 of attached threads, absences included.
            pub l1_hits: u64,
            /// Hits in L2, absences included.
            pub l2_hits: u64,
            /// Hits of a cached absence, in either level.
            pub absence_hits: u64,
            /// Calls that found no entry and waited for a load, their own or another's.
            pub misses: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// Loads in progress.
            pub in_flight: u64,
            /// Loads that wait for a permit, of all caches of the node.
            pub waiting: u64,
            /// Values in L2, of all caches of the node.
            pub entries: u64,
            /// Absences in L2, of all caches of the node.
            pub absences: u64,
            /// The size of L2 in bytes, for all caches of the node.
            pub bytes: u64,
            /// The capacity of L2 in bytes.
            pub capacity: u64,
            /// The size of this cache in the L1s of all threads, in bytes.
            pub l1_bytes: u64,
            /// How long loads took.
            pub load_time: Distribution,
            /// The ages of the values of hits, from a sample.
            pub age_at_hit: Distribution,
        }

        impl Counters {
            pub(crate) fn snapshot(&self, hits: Hits) -> CacheStats {
                CacheStats {
                    l1_hits: hits.l1,
                    l2_hits: hits.l2,
                    absence_hits: hits.absences,
                    misses: hits.misses,
                    l1_bytes: hits.l1_bytes,
                    $($name: self.$name.get(),)*
                    load_time: self.load_time.seen(),
                    age_at_hit: self.age.seen(),
                    ..CacheStats::default()
                }
            }
        }

    };
}

counters! {
    /// Loads that were started.
    loads,
    /// Loads that returned an error.
    load_errors,
    /// Loads that panicked.
    load_panics,
    /// Loads that were past the longest deadline of their callers.
    load_deadlines,
    /// Loads that were ended without a result: overdue before their turn came, too many overdue at
    /// once, or at the end of their time.
    abandoned,
    /// Calls that ended at their own deadline.
    late_calls,
    /// Loads that were started in the background, before their entry expired.
    refreshes,
    /// Calls that waited for a load that another had started.
    joined,
    /// Answers with an expired value, because a load failed or was late.
    stale_served,
    /// Fills refused because the key was invalidated, set or purged since the load began.
    refused_void,
    /// Fills refused because a tag of the value was invalidated since the load began.
    refused_tag,
    /// Fills refused because the load had read at a position older than the key's last
    /// invalidation.
    refused_position,
    /// Fills refused because the value is too large for L2, or does not serialize.
    refused_heavy,
    /// Fills refused because an overdue load found a newer value in its place.
    refused_superseded,
    /// Fills and sets refused because the node might have missed changes
    /// ([`Fills`](crate::Fills)).
    refused_unheard,
    /// Loads that did not begin because there was no proof within the node's bound
    /// ([`StalePolicy::Refuse`](crate::StalePolicy::Refuse)).
    refused_unproven,
    /// Values that their load asked not to keep.
    uncached,
    /// Entries that L2 evicted to make room.
    evicted_for_space,
    /// Entries that left L2 because they, or a tag of theirs, were invalidated.
    evicted_by_invalidation,
    /// Entries that left L2 in a purge.
    evicted_by_purge,
    /// Entries that left L2 because they had expired.
    evicted_by_expiry,
    /// Keys that were invalidated.
    invalidations,
    /// Tags that were invalidated.
    tag_invalidations,
    /// Purges of the whole cache.
    purges,
    /// Values that were set.
    sets,
    /// Sets that were refused because the key was invalidated or set since their value was read.
    refused_sets,
}

/// A count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to the count, and returns it.
    pub(crate) fn add(&self, by: usize) -> u64 {
        if by == 0 {
            return self.get(); // zero writes nothing
        }
        self.0
            .fetch_add(by as u64, Ordering::Relaxed)
            .wrapping_add(by as u64)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one, for a counter that only one thread writes: without a locked instruction.
    #[inline]
    fn tick(&self) -> u64 {
        let next = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(next, Ordering::Relaxed);
        next
    }
}

/// One thread's own counts, which only that thread writes. Aligned so that no two threads share a
/// cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ThreadCounters {
    label: Arc<str>,
    l1_hits: Counter,
    l2_hits: Counter,
    absences: Counter,
    misses: Counter,
    entries: Counter,
    bytes: Counter,
}

impl ThreadCounters {
    fn new(label: Arc<str>) -> Self {
        Self {
            label,
            l1_hits: Counter::default(),
            l2_hits: Counter::default(),
            absences: Counter::default(),
            misses: Counter::default(),
            entries: Counter::default(),
            bytes: Counter::default(),
        }
    }

    /// Counts a hit in L1; returns the number of hits so far.
    #[inline]
    pub(crate) fn l1_hit(&self) -> u64 {
        self.l1_hits.tick()
    }

    /// Counts a hit of an absence in L1; returns the number of hits so far.
    pub(crate) fn l1_absence_hit(&self) -> u64 {
        self.absences.tick();
        self.l1_hits.tick()
    }

    /// Counts a hit in L2; returns the number of hits so far.
    pub(crate) fn l2_hit(&self, absent: bool) -> u64 {
        if absent {
            self.absences.tick();
        }
        self.l2_hits.tick()
    }

    pub(crate) fn miss(&self) {
        self.misses.tick();
    }

    pub(crate) fn set_size(&self, entries: u64, bytes: u64) {
        self.entries.0.store(entries, Ordering::Relaxed);
        self.bytes.0.store(bytes, Ordering::Relaxed);
    }

    fn hits(&self) -> Hits {
        Hits {
            l1: self.l1_hits.get(),
            l2: self.l2_hits.get(),
            absences: self.absences.get(),
            misses: self.misses.get(),
            l1_bytes: self.bytes.get(),
        }
    }
}

/// The counts of one attached thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// The label of the thread.
    pub label: String,
    /// Hits in the thread's L1, absences included.
    pub l1_hits: u64,
    /// Hits in L2, absences included.
    pub l2_hits: u64,
    /// Hits of a cached absence, in either level.
    pub absence_hits: u64,
    /// Calls that found no entry and waited for a load.
    pub misses: u64,
    /// Entries in the thread's L1.
    pub l1_entries: u64,
    /// Their size, in bytes.
    pub l1_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hits {
    l1: u64,
    l2: u64,
    absences: u64,
    misses: u64,
    l1_bytes: u64,
}

impl Hits {
    fn add(&mut self, other: Self) {
        self.l1 += other.l1;
        self.l2 += other.l2;
        self.absences += other.absences;
        self.misses += other.misses;
        self.l1_bytes += other.l1_bytes;
    }
}

/// The counters of a cache's threads, and the sum of those that ended.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    state: Mutex<ThreadsState>,
    /// Hits of threads that are not attached; contended, like the L2 that they go to.
    pub(crate) unattached: Unattached,
}

#[derive(Debug, Default)]
struct ThreadsState {
    attached: Vec<Arc<ThreadCounters>>,
    ended: Hits,
}

#[derive(Debug, Default)]
pub(crate) struct Unattached {
    pub(crate) l2_hits: Counter,
    pub(crate) absences: Counter,
    pub(crate) misses: Counter,
}

impl Threads {
    pub(crate) fn join(&self, label: &Arc<str>) -> Arc<ThreadCounters> {
        let counters = Arc::new(ThreadCounters::new(Arc::clone(label)));
        self.state.lock().attached.push(Arc::clone(&counters));
        counters
    }

    pub(crate) fn leave(&self, counters: &Arc<ThreadCounters>) {
        let mut state = self.state.lock();
        state.attached.retain(|other| !Arc::ptr_eq(other, counters));
        state.ended.add(Hits {
            l1_bytes: 0, // they went with the thread
            ..counters.hits()
        });
    }

    pub(crate) fn total(&self) -> Hits {
        let state = self.state.lock();
        let mut total = state.ended;
        for counters in &state.attached {
            total.add(counters.hits());
        }

        total.add(Hits {
            l1: 0,
            l2: self.unattached.l2_hits.get(),
            absences: self.unattached.absences.get(),
            misses: self.unattached.misses.get(),
            l1_bytes: 0,
        });
        total
    }

    pub(crate) fn each(&self) -> Vec<ThreadStats> {
        let state = self.state.lock();
        let stats = |counters: &Arc<ThreadCounters>| {
            let hits = counters.hits();
            ThreadStats {
                label: counters.label.as_ref().into(),
                l1_hits: hits.l1,
                l2_hits: hits.l2,
                absence_hits: hits.absences,
                misses: hits.misses,
                l1_entries: counters.entries.get(),
                l1_bytes: counters.bytes.get(),
            }
        };
        state.attached.iter().map(stats).collect()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_an_ended_thread_counted_stays_in_the_total() {
        let threads = Threads::default();
        let counters = threads.join(&"a".into());
        counters.l1_absence_hit();
        counters.l2_hit(false);
        counters.miss();
        threads.unattached.misses.add(2);
        assert_eq!(threads.each()[0].l1_hits, 1);
        threads.leave(&counters);

        let total = threads.total();
        assert_eq!(
            (total.l1, total.l2, total.absences, total.misses),
            (1, 1, 1, 3)
        );
        assert!(threads.each().is_empty());
    }
}
