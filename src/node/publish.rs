//! The counts of a node, through the `metrics` facade.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::Node;

impl Node {
    /// Hands what the node's parts have counted to the recorder of the `metrics` crate: call it
    /// before a scrape.
    ///
    /// The cache, the bus and the store publish their own (`tidings_cache_*`, `tidings_events_*`,
    /// `tidings_store_*`); the node adds `tidings_info`, `tidings_uptime_seconds`,
    /// `tidings_workers`, `tidings_changes_total` (changes that were late, missed, unannounced, in
    /// doubt or untold), and by worker `tidings_worker_cache_hits_total` (by level),
    /// `tidings_worker_cache_misses_total` and `tidings_worker_cache_entries`. What histograms have
    /// counted is handed over once: publish to one recorder.
    pub fn publish_metrics(&self) {
        self.cache().publish_metrics();
        self.worker_events().publish_metrics();
        self.store().publish_metrics();

        describe_gauge!("tidings_info", "The version of the node; always 1");
        gauge!("tidings_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        describe_gauge!("tidings_uptime_seconds", "How long the node has been up");
        gauge!("tidings_uptime_seconds").set(self.uptime().as_secs_f64());
        describe_gauge!("tidings_workers", "How many workers the node has");
        gauge!("tidings_workers").set(self.workers() as f64);
        self.publish_changes();
        self.publish_workers();
    }

    /// Publishes how many changes did not end as they should have.
    fn publish_changes(&self) {
        describe_counter!(
            "tidings_changes_total",
            "Changes that did not end as they should have, by what was wrong"
        );
        let stats = self.change_stats();
        for (what, count) in [
            ("late", stats.late),
            ("missed", stats.missed),
            ("unannounced", stats.unannounced),
            ("in_doubt", stats.in_doubt),
            ("untold", stats.untold),
        ] {
            counter!("tidings_changes_total", "what" => what).absolute(count);
        }
    }

    /// Publishes what each worker's own thread has done. One whose thread is not attached to the
    /// cache, because the node is stopping, is left out.
    fn publish_workers(&self) {
        describe_counter!(
            "tidings_worker_cache_hits_total",
            "Lookups of a worker that the cache answered, absences included, by level"
        );
        describe_counter!(
            "tidings_worker_cache_misses_total",
            "Lookups of a worker that waited for a load"
        );
        describe_gauge!(
            "tidings_worker_cache_entries",
            "Entries in a worker's own cache"
        );
        let threads = self.cache().thread_stats();
        for id in 0..self.workers() {
            let label = format!("worker-{id}");
            let Some(stats) = threads.iter().find(|stats| stats.label == label) else {
                continue;
            };
            let worker = || id.to_string();
            let hits = |level: &'static str| counter!("tidings_worker_cache_hits_total", "worker" => worker(), "level" => level);
            hits("l1").absolute(stats.l1_hits);
            hits("l2").absolute(stats.l2_hits);
            counter!("tidings_worker_cache_misses_total", "worker" => worker())
                .absolute(stats.misses);
            gauge!("tidings_worker_cache_entries", "worker" => worker())
                .set(stats.l1_entries as f64);
        }
    }
}
