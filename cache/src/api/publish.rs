//! Publishes the cache's counts through the `metrics` facade.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{api::cache::Cache, engine::node::Engine, stats::CacheStats};

impl Cache {
    /// Passes the counts of all caches of the node to the recorder of the `metrics` crate. Call it
    /// before a scrape.
    ///
    /// A lookup itself does not call the recorder, since that would cost more than a hit. By cache:
    /// the counters `tidings_cache_hits_total` (by level), `_absence_hits_total`, `_misses_total`,
    /// `_loads_total`, `_load_failures_total` (by kind), `_late_calls_total`, `_refreshes_total`,
    /// `_joined_loads_total`, `_stale_served_total`, `_refused_fills_total` (by cause),
    /// `_uncached_loads_total`, `_evictions_total` (by cause), `_invalidations_total`,
    /// `_tag_invalidations_total`, `_purges_total`, `_sets_total` and `_refused_sets_total`; the
    /// gauges `tidings_cache_loads_in_flight` and `_l1_bytes`; the histograms
    /// `tidings_cache_load_seconds` and `_age_at_hit_seconds`, the ages of the values of a sample
    /// of hits. Of the node, without a label: the gauges `tidings_cache_entries`, `_absences`,
    /// `_bytes`, `_capacity_bytes` and `_loads_waiting`.
    ///
    /// The values of histograms are passed on once, so publish to one recorder only.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// cache.publish_metrics(); // then let the recorder render what it has
    /// # Ok(()) }
    /// ```
    pub fn publish_metrics(&self) {
        describe();
        let node = &self.0.node;
        let caches = node.caches.lock().clone();

        for named in caches {
            Self(Engine {
                node: node.clone(),
                named,
            })
            .publish_own();
        }
    }

    fn publish_own(&self) {
        let named = &self.0.named;
        let name = [("cache", named.name.to_string())];

        // Every count is published: a new one does not compile until it has a name here.
        let CacheStats {
            l1_hits,
            l2_hits,
            absence_hits,
            misses,
            loads,
            load_errors,
            load_panics,
            load_deadlines,
            abandoned,
            late_calls,
            refreshes,
            joined,
            stale_served,
            refused_void,
            refused_tag,
            refused_position,
            refused_heavy,
            refused_superseded,
            refused_unheard,
            refused_unproven,
            uncached,
            evicted_for_space,
            evicted_by_invalidation,
            evicted_by_purge,
            evicted_by_expiry,
            invalidations,
            tag_invalidations,
            purges,
            sets,
            refused_sets,
            in_flight,
            waiting,
            entries,
            absences,
            bytes,
            capacity,
            l1_bytes,
            load_time: _,
            age_at_hit: _,
        } = self.stats();

        let by = |counted: &'static str, label: &'static str, value: &'static str, count: u64| {
            let [name] = name.clone();
            counter!(counted, &[name, (label, value.to_owned())]).absolute(count);
        };
        let hits = |level, count| by("tidings_cache_hits_total", "level", level, count);
        hits("l1", l1_hits);
        hits("l2", l2_hits);

        let failures = |kind, count| by("tidings_cache_load_failures_total", "kind", kind, count);
        failures("error", load_errors);
        failures("panic", load_panics);
        failures("deadline", load_deadlines);
        failures("abandoned", abandoned);

        let refused = |cause, count| by("tidings_cache_refused_fills_total", "cause", cause, count);
        refused("invalidated", refused_void);
        refused("tag", refused_tag);
        refused("position", refused_position);
        refused("heavy", refused_heavy);
        refused("superseded", refused_superseded);
        refused("unheard", refused_unheard);

        let evictions = |cause, count| by("tidings_cache_evictions_total", "cause", cause, count);
        evictions("invalidated", evicted_by_invalidation);
        evictions("expired", evicted_by_expiry);
        evictions("space", evicted_for_space);
        evictions("purged", evicted_by_purge);

        counter!("tidings_cache_absence_hits_total", &name).absolute(absence_hits);
        counter!("tidings_cache_misses_total", &name).absolute(misses);
        counter!("tidings_cache_loads_total", &name).absolute(loads);
        counter!("tidings_cache_refused_loads_total", &name).absolute(refused_unproven);
        counter!("tidings_cache_late_calls_total", &name).absolute(late_calls);
        counter!("tidings_cache_refreshes_total", &name).absolute(refreshes);
        counter!("tidings_cache_joined_loads_total", &name).absolute(joined);
        counter!("tidings_cache_stale_served_total", &name).absolute(stale_served);
        counter!("tidings_cache_uncached_loads_total", &name).absolute(uncached);
        counter!("tidings_cache_invalidations_total", &name).absolute(invalidations);
        counter!("tidings_cache_tag_invalidations_total", &name).absolute(tag_invalidations);
        counter!("tidings_cache_purges_total", &name).absolute(purges);
        counter!("tidings_cache_sets_total", &name).absolute(sets);
        counter!("tidings_cache_refused_sets_total", &name).absolute(refused_sets);
        gauge!("tidings_cache_loads_in_flight", &name).set(in_flight as f64);
        gauge!("tidings_cache_l1_bytes", &name).set(l1_bytes as f64);

        let counters = &named.counters;
        counters
            .load_time
            .publish(&histogram!("tidings_cache_load_seconds", &name));
        counters
            .age
            .publish(&histogram!("tidings_cache_age_at_hit_seconds", &name));

        gauge!("tidings_cache_entries").set(entries as f64);
        gauge!("tidings_cache_absences").set(absences as f64);
        gauge!("tidings_cache_bytes").set(bytes as f64);
        gauge!("tidings_cache_capacity_bytes").set(capacity as f64);
        let (records, bytes) = self.0.node.recorder.size();
        gauge!("tidings_cache_recorder_records").set(records as f64);
        gauge!("tidings_cache_recorder_bytes").set(bytes as f64);
        gauge!("tidings_cache_loads_waiting").set(waiting as f64);
    }
}

fn describe() {
    let counters = [
        (
            "hits",
            "Lookups that the cache answered, absences included, by level",
        ),
        (
            "absence_hits",
            "Of these, lookups that a cached absence answered",
        ),
        (
            "misses",
            "Lookups that waited for a load, their own or another's",
        ),
        ("loads", "Loads that were started"),
        ("load_failures", "Loads that gave no result, by kind"),
        (
            "refused_loads",
            "Loads that were not begun, because nothing was proven within the node's bound",
        ),
        ("late_calls", "Lookups that ended at their own deadline"),
        (
            "refreshes",
            "Loads that were started before their entry expired",
        ),
        (
            "joined_loads",
            "Lookups that waited for a load that another had started",
        ),
        (
            "stale_served",
            "Answers with an expired value, because a load failed or was late",
        ),
        (
            "refused_fills",
            "Results of loads that were not kept, by cause",
        ),
        (
            "uncached_loads",
            "Results that their load asked not to keep",
        ),
        (
            "evictions",
            "Entries that left the node's level of the cache, by cause",
        ),
        ("invalidations", "Keys that were invalidated"),
        ("tag_invalidations", "Tags that were invalidated"),
        ("purges", "Purges of a whole cache"),
        ("sets", "Values that were set"),
        (
            "refused_sets",
            "Values that were not set, because the key had changed since they were read",
        ),
    ];
    for (name, help) in counters {
        describe_counter!(format!("tidings_cache_{name}_total"), help);
    }

    let gauges = [
        ("loads_in_flight", "Loads in progress"),
        ("l1_bytes", "What the threads' own levels of the cache hold"),
        ("entries", "Values in the node's level of the cache"),
        ("absences", "Absences in the node's level of the cache"),
        ("bytes", "What the node's level of the cache holds"),
        (
            "capacity_bytes",
            "What the node's level of the cache may hold",
        ),
        ("loads_waiting", "Loads that wait for their turn"),
        (
            "recorder_records",
            "What is remembered of what became of keys",
        ),
        ("recorder_bytes", "What that takes, beside the capacity"),
    ];
    for (name, help) in gauges {
        describe_gauge!(format!("tidings_cache_{name}"), help);
    }

    describe_histogram!("tidings_cache_load_seconds", "How long loads took");
    describe_histogram!(
        "tidings_cache_age_at_hit_seconds",
        "How old the values were that a sample of hits gave"
    );
}
