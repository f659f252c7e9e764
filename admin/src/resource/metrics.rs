//! `/metrics`: the node's counters as Prometheus text.
//!
//! The counters live in the node's parts; nothing is counted a second time for the sake of being exported, so a hit
//! costs what it did before. Each scrape writes a snapshot of them to a recorder of its own and renders that: a
//! process-wide recorder would mix the nodes of one process and keep the series of nodes that are gone, and
//! the exposition format (types, escaping) is left to the library that knows it.

use axum::response::Response;
use http::StatusCode;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use tidings::{Node, cache::CacheStats, events::BusStats};

use super::status;
use crate::answer;

/// The version of the text format that is rendered.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The counters of a node at this moment.
pub(crate) fn of(node: &Node) -> Response {
    let recorder = PrometheusBuilder::new()
        .add_global_label("node", node.id())
        .build_recorder();
    metrics::with_local_recorder(&recorder, || {
        record_node(node);
        record_cache(&node.cache().stats());
        record_workers(node);
        record_bus(&node.worker_events().stats());
    });
    answer::with_type(StatusCode::OK, FORMAT, recorder.handle().render())
}

fn record_node(node: &Node) {
    describe_gauge!("tidings_info", "The node's version; always 1");
    gauge!("tidings_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    describe_gauge!("tidings_uptime_seconds", "How long the node has been up");
    gauge!("tidings_uptime_seconds").set(node.uptime().as_secs_f64());
    describe_gauge!("tidings_workers", "How many workers the node has");
    gauge!("tidings_workers").set(precise(node.workers() as u64));
}

fn record_cache(stats: &CacheStats) {
    describe_counter!(
        "tidings_cache_hits_total",
        "Calls that were answered from the cache, absences included, by level"
    );
    counter!("tidings_cache_hits_total", "level" => "l1").absolute(stats.l1_hits);
    counter!("tidings_cache_hits_total", "level" => "l2").absolute(stats.l2_hits);
    for (name, count) in stats.counters() {
        if matches!(name, "l1_hits" | "l2_hits") {
            continue; // told by level above
        }
        // Every counter there is, also those that are added later; `CacheStats` explains each.
        let exported = format!("tidings_cache_{name}_total");
        let words = name.replace('_', " ");
        describe_counter!(
            exported.clone(),
            format!("What the cache counts as: {words} (CacheStats::{name})")
        );
        counter!(exported).absolute(count);
    }
    let levels = [
        ("entries", stats.entries, "Values in L2"),
        ("absences", stats.absences, "Absences in L2"),
        ("bytes", stats.bytes, "What L2 holds, in bytes"),
        (
            "capacity_bytes",
            stats.capacity,
            "What L2 may hold, in bytes",
        ),
        ("loads_in_flight", stats.in_flight, "Loads in progress"),
    ];
    for (name, level, description) in levels {
        let name = format!("tidings_cache_{name}");
        describe_gauge!(name.clone(), description);
        gauge!(name).set(precise(level));
    }
}

fn record_workers(node: &Node) {
    describe_counter!(
        "tidings_worker_cache_hits_total",
        "Calls on a worker that were answered from the cache, absences included, by level"
    );
    describe_counter!(
        "tidings_worker_cache_misses_total",
        "Calls on a worker that waited for a load"
    );
    for (id, stats) in status::workers(node) {
        let hits = |level: &'static str| counter!("tidings_worker_cache_hits_total", "worker" => id.to_string(), "level" => level);
        hits("l1").absolute(stats.l1_hits);
        hits("l2").absolute(stats.l2_hits);
        let misses = counter!("tidings_worker_cache_misses_total", "worker" => id.to_string());
        misses.absolute(stats.misses);
    }
}

fn record_bus(stats: &BusStats) {
    describe_counter!(
        "tidings_events_posted_total",
        "Events dispatched, by channel"
    );
    for channel in &stats.channels {
        counter!(
            "tidings_events_posted_total",
            "source" => channel.source.clone(), "event" => channel.event.clone()
        )
        .absolute(channel.posted);
    }
    describe_counter!("tidings_events_refused_total", "Posts that were refused");
    counter!("tidings_events_refused_total").absolute(stats.refused);
    describe_counter!(
        "tidings_events_dropped_total",
        "Changes that nobody heard of"
    );
    counter!("tidings_events_dropped_total").absolute(stats.dropped);
    record_handlers(stats);
    describe_gauge!(
        "tidings_mailbox_depth",
        "Events waiting in a worker's mailbox"
    );
    describe_counter!(
        "tidings_mailbox_missed_total",
        "Events that a worker's mailbox turned away because it was full"
    );
    for mailbox in &stats.mailboxes {
        let worker = mailbox.worker.to_string();
        gauge!("tidings_mailbox_depth", "worker" => worker.clone()).set(precise(mailbox.depth));
        counter!("tidings_mailbox_missed_total", "worker" => worker).absolute(mailbox.missed);
    }
}

/// Failures of handlers by name; several handlers may share one, as those of the workers do.
fn record_handlers(stats: &BusStats) {
    describe_counter!(
        "tidings_handler_failures_total",
        "Calls of a handler that failed or panicked, by its name"
    );
    for handler in &stats.handlers {
        let failures = |kind: &'static str| {
            counter!(
                "tidings_handler_failures_total",
                "handler" => handler.name.clone(), "kind" => kind
            )
        };
        failures("error").increment(handler.errors);
        failures("panic").increment(handler.panics);
    }
}

/// A count as a gauge takes it; exact up to 2^53.
fn precise(count: u64) -> f64 {
    count as f64
}
