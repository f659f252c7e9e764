//! `/status`: the state of the node, as JSON.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidings::{Node, cache::ThreadStats, store::Health};

use super::cluster;

/// How long the database may take to give a sign of life. After that it counts as away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the state of the node. Asks the database for a sign of life; everything else is read
/// from counters.
pub(crate) async fn of(node: &Node) -> Json {
    let health = database(node).await;
    let database = json!({
        "state": if health.is_some() { "connected" } else { "away" },
        "reachable": health.is_some(),
        "engine": health.as_ref().map(|health| health.engine),
        "writer_busy": health.as_ref().map(|health| health.writer_busy),
    });

    let stats = node.cache().stats();
    let workers: Vec<_> = workers(node)
        .map(|(id, stats)| worker(id, &stats))
        .collect();

    json!({
        "node_id": node.id(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": node.uptime().as_secs(),
        "workers": workers,
        "database": database,
        "cluster": cluster::short(node),

        "cache": {
            "l1_hits": stats.l1_hits,
            "l2_hits": stats.l2_hits,
            "absence_hits": stats.absence_hits,
            "misses": stats.misses,
            "loads": stats.loads,
            "load_errors": stats.load_errors,
            "in_flight": stats.in_flight,
            "invalidations": stats.invalidations,
            "purges": stats.purges,
            "entries": stats.entries,
            "absences": stats.absences,
            "bytes": stats.bytes,

            "capacity": stats.capacity,
        },
    })
}

/// Returns the health of the database; `None` if it gives no sign of life. The reason goes to the
/// log, since it may name paths.
pub(crate) async fn database(node: &Node) -> Option<Health> {
    match tokio::time::timeout(PATIENCE, node.store().health()).await {
        Ok(health) if health.reachable => Some(health),
        Ok(health) => {
            let error = health.error.unwrap_or_default();
            tracing::warn!(error, "the database gave no sign of life");
            None
        }
        Err(_) => {
            tracing::warn!(patience = ?PATIENCE, "the database gave no sign of life in time");
            None
        }
    }
}

/// Returns each worker with what its thread has done, in the order of their ids. One whose thread
/// is not attached to the cache, because the node is stopping, is left out.
pub(crate) fn workers(node: &Node) -> impl Iterator<Item = (usize, ThreadStats)> {
    let threads = node.cache().thread_stats();
    (0..node.workers()).filter_map(move |id| {
        let label = format!("worker-{id}");
        let stats = threads.iter().find(|stats| stats.label == label)?;
        Some((id, stats.clone()))
    })
}

fn worker(id: usize, stats: &ThreadStats) -> Json {
    json!({
        "id": id,
        "l1_hits": stats.l1_hits,
        "l2_hits": stats.l2_hits,
        "absence_hits": stats.absence_hits,
        "misses": stats.misses,
        "l1_entries": stats.l1_entries,
    })
}
