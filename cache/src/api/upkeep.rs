//! Everything about a cache that is not an entry: the threads that have an L1, sweeps, and counts.

use std::time::Duration;

use crate::{
    api::cache::Cache,
    level1::thread::{self, ThreadGuard},
    stats::{CacheStats, ThreadStats},
};

impl Cache {
    /// Creates an L1 for the calling thread, for all named caches of the node, under this label.
    ///
    /// The L1 lives until the guard is dropped or the thread ends. If a thread is attached again,
    /// the first label stays, and the L1 lives until the last guard is dropped. Other threads get
    /// an L1 at their first use of the cache, and keep it until they end
    /// ([`CacheBuilder::attach`](crate::CacheBuilder::attach)).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let guard = cache.attach_thread("http-0");
    /// assert_eq!(cache.thread_stats()[0].label, "http-0");
    /// drop(guard); // or `.keep()`, until the thread ends
    /// # Ok(()) }
    /// ```
    pub fn attach_thread(&self, label: impl Into<String>) -> ThreadGuard {
        thread::attach(&self.0.named.level1, &label.into())
    }

    /// Drops invalid entries from the calling thread's L1, for all named caches of the node. A
    /// worker calls this periodically, so that revoked values do not stay in the memory of an idle
    /// worker. Reads every entry of the L1.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use tidings_cache::{Cache, CacheKey, GetOptions, ManualClock};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = ManualClock::new();
    /// let cache = Cache::builder().clock(Arc::new(clock.clone())).build()?;
    /// let guard = cache.attach_thread("worker-0");
    /// let key = CacheKey::new("tokens", &["a"]);
    /// let short = GetOptions::default().ttl(Duration::from_secs(1));
    /// cache.get(&key, short, || async { Ok::<_, std::io::Error>(Some(1)) }).await?;
    /// assert_eq!(cache.thread_stats()[0].l1_entries, 1);
    ///
    /// clock.advance(Duration::from_secs(2));
    /// cache.sweep();
    /// assert_eq!(cache.thread_stats()[0].l1_entries, 0);
    /// # drop(guard);
    /// # Ok(()) }
    /// ```
    pub fn sweep(&self) {
        let now = self.0.node.now();
        let caches = self.0.node.caches.lock().clone();
        for named in caches {
            drop(thread::sweep(&named.level1, now));
        }
    }

    /// Drops expired entries from L2, for all named caches of the node. Returns their number.
    ///
    /// You do not have to call this: the cache never serves an expired entry, and the size of L2 is
    /// bounded. Entries that expired less than `stale_for` ago stay, for calls with a
    /// [`resurrect_ttl`](crate::GetOptions::resurrect_ttl). Reads every entry of L2.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use tidings_cache::{Cache, CacheKey, GetOptions, ManualClock};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = ManualClock::new();
    /// let cache = Cache::builder().clock(Arc::new(clock.clone())).build()?;
    /// let short = GetOptions::default().ttl(Duration::from_secs(1));
    /// cache.set(&CacheKey::new("tokens", &["a"]), Some(1), short)?;
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!(cache.sweep_level2(Duration::ZERO), 1);
    /// # Ok(()) }
    /// ```
    pub fn sweep_level2(&self, stale_for: Duration) -> usize {
        self.0.node.sweep(stale_for)
    }

    /// Returns the counts of the cache. Takes a lock, and reads the counters of every attached
    /// thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("numbers", &["one"]);
    /// for _ in 0..3 {
    ///     let load = || async { Ok::<_, std::io::Error>(Some(1)) };
    ///     cache.get(&key, GetOptions::default(), load).await?;
    /// }
    /// let stats = cache.stats();
    /// assert_eq!((stats.misses, stats.loads, stats.l1_hits), (1, 1, 2));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let (node, named) = (&self.0.node, &self.0.named);
        let level2 = &node.level2;
        CacheStats {
            in_flight: named.flights.len() as u64,
            waiting: node.permits.waiting() as u64,
            entries: level2.present.len() as u64,
            absences: level2.absent.len() as u64,
            bytes: level2.present.weight() + level2.absent.weight(),
            capacity: node.capacity,
            ..named.counters.snapshot(named.level1.threads.total())
        }
    }

    /// Returns the counts of each attached thread for this cache.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let guard = cache.attach_thread("worker-0");
    /// let key = CacheKey::new("numbers", &["one"]);
    /// for _ in 0..3 {
    ///     let load = || async { Ok::<_, std::io::Error>(Some(1)) };
    ///     cache.get(&key, GetOptions::default(), load).await?;
    /// }
    /// let stats = cache.thread_stats();
    /// assert_eq!((&*stats[0].label, stats[0].misses, stats[0].l1_hits), ("worker-0", 1, 2));
    /// # drop(guard);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn thread_stats(&self) -> Vec<ThreadStats> {
        self.0.named.level1.threads.each()
    }
}
