//! The counts, through the `metrics` facade.

use std::sync::Arc;

use metrics::{counter, gauge};

use crate::cache::Cache;

impl Cache {
    /// Hands the cache's counts to the recorder of the `metrics` crate: `tidings_cache_*`, with the cache's name as label.
    ///
    /// For a tick, or before the metrics are read: a hit itself tells the recorder nothing, since that would cost more
    /// than the hit. How long loads took (`tidings_cache_load_seconds`) is recorded as they end.
    pub fn publish_metrics(&self) {
        let stats = self.stats();
        let labels = [("cache", self.named.name.to_string())];
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
    }

    pub(crate) fn record_load_time(&self, took: std::time::Duration) {
        self.named.counters.load_time.record(took);
        let name = Arc::clone(&self.named.name);
        metrics::histogram!("tidings_cache_load_seconds", "cache" => name).record(took);
    }
}
