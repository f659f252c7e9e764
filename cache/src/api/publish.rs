//! The counts, through the `metrics` facade.

use metrics::{counter, gauge, histogram};

use crate::api::cache::Cache;

impl Cache {
    /// Hands the cache's counts to the recorder of the `metrics` crate: `tidings_cache_*`, with the cache's name as label.
    ///
    /// For a tick, or before the metrics are read: a hit itself tells the recorder nothing, since that would cost more
    /// than the hit.
    ///
    /// Counters: each of [`CacheStats::counters`](crate::CacheStats::counters) as `tidings_cache_NAME_total`. Gauges:
    /// `tidings_cache_entries`, `_absences`, `_bytes`, `_capacity_bytes` (these four are the node's) and
    /// `_loads_in_flight`. Histograms, in seconds: `tidings_cache_load_seconds`, recorded as each load ends, by the
    /// recorder that is installed where it runs; and `tidings_cache_age_at_hit_seconds`, the age of what a sample of hits
    /// gave. The latter is kept by powers of two of a microsecond and recorded here, at the upper end of each, and each hit
    /// once: so publish to one recorder.
    pub fn publish_metrics(&self) {
        let stats = self.stats();
        let labels = [("cache", self.0.named.name.to_string())];
        for (name, count) in stats.counters() {
            counter!(format!("tidings_cache_{name}_total"), &labels).absolute(count);
        }
        let gauges = [
            ("entries", stats.entries),
            ("absences", stats.absences),
            ("bytes", stats.bytes),
            ("capacity_bytes", stats.capacity),
            ("loads_in_flight", stats.in_flight),
        ];
        for (name, value) in gauges {
            gauge!(format!("tidings_cache_{name}"), &labels).set(value as f64);
        }
        let ages = histogram!("tidings_cache_age_at_hit_seconds", &labels);
        for (age, hits) in self.0.named.counters.unpublished_ages() {
            ages.record_many(age, hits);
        }
    }
}
