//! The counts of a node, through the `metrics` facade.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tidings_cluster::{Protocol, WakeLinkState};
use tidings_core::log::GapReason;

use super::Node;

impl Node {
    /// Hands the counts of the node's parts to the recorder of the `metrics` crate. Call it before
    /// each scrape.
    ///
    /// The cache, the bus and the store publish their own series (`tidings_cache_*`,
    /// `tidings_events_*`, `tidings_store_*`). The node adds `tidings_info`,
    /// `tidings_uptime_seconds`, `tidings_workers`, `tidings_changes_total` (changes that were
    /// late, missed, unannounced, in doubt or untold), `tidings_audit_checked_total`,
    /// `_inconsistent_total`, `_skipped_total` (by reason), `_inconsistent_per_million` and
    /// `_oldest_seconds`, `tidings_change_feeds` and `tidings_change_feeds_missed_total`; by worker
    /// `tidings_worker_cache_hits_total` (by level), `tidings_worker_cache_misses_total` and
    /// `tidings_worker_cache_entries`; and if the store keeps a log `tidings_cluster_records_total`
    /// (by direction), `_gaps_total` and `_purges_total` (by reason), `_apply_seconds`, `_fresh`
    /// and `_woken`. Histograms hand over each observation once, so publish to one recorder.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// node.publish_metrics(); // then let the recorder render what it has
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
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
        self.publish_feeds();
        self.publish_workers();
        self.publish_audits();

        if let Some(cluster) = self.cluster() {
            publish_cluster(cluster);
        }
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

    /// Publishes how many feeds of changes are open, and what they have missed.
    fn publish_feeds(&self) {
        describe_gauge!("tidings_change_feeds", "Feeds of changes that are open");
        describe_counter!(
            "tidings_change_feeds_missed_total",
            "Changes that feeds were too slow to read; each such feed got a gap"
        );
        let ring = self.shared.feed.ring();
        gauge!("tidings_change_feeds").set(ring.watchers() as f64);
        counter!("tidings_change_feeds_missed_total").absolute(ring.missed());
    }

    /// Publishes the counts of each worker's own thread. A worker whose thread is not attached to
    /// the cache, because the node is stopping, is left out.
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

    /// Publishes what audits have found since the start of the node.
    fn publish_audits(&self) {
        describe_counter!(
            "tidings_audit_checked_total",
            "Cached values and absences that were compared with their rows"
        );
        describe_counter!(
            "tidings_audit_inconsistent_total",
            "Of these, those that differ although no write in between explains it"
        );
        describe_counter!(
            "tidings_audit_skipped_total",
            "Comparisons without a result, by reason; written: the row was written in between"
        );
        describe_gauge!(
            "tidings_audit_inconsistent_per_million",
            "How many of a million comparisons found a difference, since the start of the node"
        );
        describe_gauge!(
            "tidings_audit_oldest_seconds",
            "The age of the oldest entry that differed, since the start of the node; 0 if none did"
        );

        let tally = &self.shared().audits.tally;
        counter!("tidings_audit_checked_total").absolute(tally.checked());
        counter!("tidings_audit_inconsistent_total").absolute(tally.inconsistent());
        for (why, count) in tally.skipped() {
            counter!("tidings_audit_skipped_total", "reason" => why.as_str()).absolute(count);
        }
        gauge!("tidings_audit_inconsistent_per_million").set(tally.per_million());
        gauge!("tidings_audit_oldest_seconds").set(tally.oldest().as_secs_f64());
    }
}

/// Publishes what the node has read from the log and written to it, and what it lost.
fn publish_cluster(cluster: &Protocol) {
    describe_counter!(
        "tidings_cluster_records_total",
        "Records that the node has read, and those that its own writes and evictions made"
    );
    describe_counter!(
        "tidings_cluster_gaps_total",
        "Times that records were not received, by reason"
    );
    describe_counter!(
        "tidings_cluster_purges_total",
        "Times that everything was evicted, by reason; admin: a caller asked for it"
    );
    describe_histogram!(
        "tidings_cluster_apply_seconds",
        "How long own commits took until the node had applied them, its handlers included"
    );
    describe_gauge!(
        "tidings_cluster_fresh",
        "Whether the node has recently proven that it has applied everything; 0 or 1"
    );
    describe_gauge!(
        "tidings_cluster_woken",
        "Whether the wake-ups of other nodes arrive; without them their changes arrive with the next poll; 0 or 1"
    );

    let stats = cluster.stats();
    for (direction, count) in [("read", stats.records), ("written", stats.written)] {
        counter!("tidings_cluster_records_total", "direction" => direction).absolute(count);
    }

    for (index, reason) in GapReason::ALL.iter().enumerate() {
        let reason = reason.as_str();
        counter!("tidings_cluster_gaps_total", "reason" => reason).absolute(stats.gaps[index]);
        counter!("tidings_cluster_purges_total", "reason" => reason).absolute(stats.purges[index]);
    }

    counter!("tidings_cluster_purges_total", "reason" => "admin").absolute(stats.purges_by_hand);
    let times = histogram!("tidings_cluster_apply_seconds");
    cluster.apply_time().publish(&times);
    gauge!("tidings_cluster_fresh").set(f64::from(u8::from(cluster.is_fresh())));
    let is_woken = cluster.wake_link().state == WakeLinkState::Connected;
    gauge!("tidings_cluster_woken").set(f64::from(u8::from(is_woken)));
}
