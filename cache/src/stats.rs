//! Counters. Hits are counted by each attached thread for itself, without a write that another core could see
//! before it asks; everything rarer is counted in one place.

use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of one cache that are rarer than hits.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) load_time: Histogram,
            pub(crate) age: Histogram,
            /// How much of `age` the `metrics` facade has been told.
            age_published: Mutex<[u64; Distribution::BUCKETS]>,
        }

        /// What a cache has done since it was built. A snapshot: counts that belong together may be a call apart.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CacheStats {
            /// Hits in the L1 of attached threads, absences included.
            pub l1_hits: u64,
            /// Hits in L2, absences included.
            pub l2_hits: u64,
            /// Of all hits, those of a cached absence.
            pub absence_hits: u64,
            /// Calls that found nothing and waited for a load, their own or another's.
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
            /// What L2 holds, in bytes, of all caches of the node.
            pub bytes: u64,
            /// What L2 may hold.
            pub capacity: u64,
            /// What the L1s of all threads hold of this cache, in bytes.
            pub l1_bytes: u64,
            /// How long loads took.
            pub load_time: Distribution,
            /// How old the values were that hits gave, in a sample of them.
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
                    load_time: self.load_time.snapshot(),
                    age_at_hit: self.age.snapshot(),
                    ..CacheStats::default()
                }
            }
        }

        impl CacheStats {
            /// Each count that only grows, with its name.
            #[must_use]
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                vec![
                    ("l1_hits", self.l1_hits),
                    ("l2_hits", self.l2_hits),
                    ("absence_hits", self.absence_hits),
                    ("misses", self.misses),
                    $((stringify!($name), self.$name),)*
                ]
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
    /// Loads that were ended without a result: overdue before their turn came, too many overdue at once, or at the end of
    /// their time.
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
    /// Fills refused because the load had read at a position older than the key's last invalidation.
    refused_position,
    /// Fills refused because the value is heavier than L2 takes, or does not serialize.
    refused_heavy,
    /// Fills refused because an overdue load found a newer value in its place.
    refused_superseded,
    /// Values that their load asked not to keep.
    uncached,
    /// Entries that L2 gave up for want of room.
    evicted_for_space,
    /// Entries that left L2 because they were invalidated.
    evicted_by_invalidation,
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
    /// Returns the count with these.
    pub(crate) fn add(&self, by: usize) -> u64 {
        if by == 0 {
            return self.get(); // so that a count of nothing writes nothing
        }
        self.0
            .fetch_add(by as u64, Ordering::Relaxed)
            .wrapping_add(by as u64)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one, where only one thread ever writes: no locked instruction.
    #[inline]
    fn tick(&self) -> u64 {
        let next = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(next, Ordering::Relaxed);
        next
    }
}

/// One thread's own counts; written by that thread alone. Aligned so that no two threads share a line.
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

    /// Counts a hit in L1; returns how many there were.
    #[inline]
    pub(crate) fn l1_hit(&self) -> u64 {
        self.l1_hits.tick()
    }

    /// Counts a hit of an absence in L1; returns how many hits there were.
    pub(crate) fn l1_absence_hit(&self) -> u64 {
        self.absences.tick();
        self.l1_hits.tick()
    }

    /// Counts a hit in L2; returns how many there were.
    pub(crate) fn l2_hit(&self, absent: bool) -> u64 {
        if absent {
            self.absences.tick();
        }
        self.l2_hits.tick()
    }

    pub(crate) fn miss(&self) {
        self.misses.tick();
    }

    pub(crate) fn holds(&self, entries: u64, bytes: u64) {
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

/// What one attached thread has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// The label that the thread was attached with.
    pub label: String,
    /// Hits in the thread's L1, absences included.
    pub l1_hits: u64,
    /// Hits in L2, absences included.
    pub l2_hits: u64,
    /// Of both, those of a cached absence.
    pub absence_hits: u64,
    /// Calls that found nothing and waited for a load.
    pub misses: u64,
    /// Entries in the thread's L1.
    pub l1_entries: u64,
    /// What they weigh, in bytes.
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

/// The counters of a cache's threads, and what those that ended have left.
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

/// Durations by powers of two of a microsecond.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; Distribution::BUCKETS],
    nanoseconds: Counter,
}

impl Counters {
    /// The ages at hits since the last call, each bucket's by its upper end, and how many hits those were.
    pub(crate) fn unpublished_ages(&self) -> Vec<(Duration, usize)> {
        let mut published = self.age_published.lock();
        let seen = self.age.snapshot().buckets;
        let before = std::mem::replace(&mut *published, seen);
        let ages = seen.iter().zip(before).enumerate();
        let new = ages.map(|(bucket, (seen, before))| {
            let hits = usize::try_from(seen - before).unwrap_or(usize::MAX);
            (Distribution::upper_end(bucket), hits)
        });
        new.filter(|(_, hits)| *hits > 0).collect()
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(Distribution::BUCKETS - 1)].add(1);
        self.nanoseconds
            .add(usize::try_from(duration.as_nanos()).unwrap_or(usize::MAX));
    }

    fn snapshot(&self) -> Distribution {
        Distribution {
            buckets: std::array::from_fn(|index| self.buckets[index].get()),
            sum: Duration::from_nanos(self.nanoseconds.get()),
        }
    }
}

/// How often durations of each size were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The first counts what took less than one microsecond, the next less than two, then four, and so on; the last
    /// counts everything longer.
    pub buckets: [u64; Distribution::BUCKETS],
    /// All of them together.
    pub sum: Duration,
}

impl Distribution {
    /// How many buckets there are: the last but one ends at some nine minutes.
    pub const BUCKETS: usize = 31;

    fn upper_end(bucket: usize) -> Duration {
        Duration::from_micros(1 << bucket)
    }

    /// How many durations were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A duration that the given share of all seen did not exceed, up to a factor of two; `None` if none was seen.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share.clamp(0.0, 1.0))
            .ceil()
            .max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Self::upper_end(bucket));
            }
        }
        None
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_tells_its_quantiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        for micros in [0, 1, 3, 3, 1000] {
            histogram.record(Duration::from_micros(micros));
        }
        histogram.record(Duration::MAX);
        let seen = histogram.snapshot();
        assert_eq!(seen.count(), 6);
        assert_eq!(seen.buckets[..3], [1, 1, 2]);
        assert_eq!(seen.buckets[30], 1);
        assert_eq!(seen.quantile(0.0), Some(Duration::from_micros(1)));
        assert_eq!(seen.quantile(0.5), Some(Duration::from_micros(4)));
        assert_eq!(seen.quantile(0.8), Some(Duration::from_micros(1024)));
    }

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
