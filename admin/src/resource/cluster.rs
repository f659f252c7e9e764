//! `/cluster`: the cluster as this node sees it, and what reaches all of its nodes.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};
use tidings::{
    Node, ProbeError, Timestamp,
    cluster::{ClusterStats, MemberView, Protocol, View, WakeLink},
    core::{
        Chain,
        log::{EvictionTarget, GapReason},
    },
};

use crate::{
    answer,
    audit::{self, AuditEntry},
    problem::{Kind, Problem},
};

/// How long the members may take to report.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the log may take to accept an eviction.
const APPEND: Duration = Duration::from_secs(5);

/// Why a node is disconnected for good.
const SUPERSEDED: &str =
    "another process was started under this node's id: start this one again under an id of its own";

/// Returns the cluster as this node sees it. Asks every member for a report.
pub(crate) async fn of(node: &Node) -> Json {
    let Some(cluster) = node.cluster() else {
        return json!({
            "engine": "none",
            "cluster": node.cluster_name(),
            "node_id": node.id(),
            "state": "alone",
            "reason": null,
            "position": null,
            "lag": { "records": 0, "seconds": 0.0 },
            "fresh": true,
            "wake_ups": null,
            "members": [],

            "gaps": gaps(&ClusterStats::default()),
        });
    };

    let view = cluster.view(PATIENCE).await;
    let now = node.clock().wall();
    let members = view.members.iter().map(|it| member(it, now));
    json!({
        "engine": engine(node, cluster),
        "cluster": node.cluster_name(),
        "node_id": node.id(),
        "state": view.standing.as_str(),
        "reason": cluster.is_superseded().then_some(SUPERSEDED),
        "position": view.position.as_ref().map(ToString::to_string),
        "lag": { "records": view.behind, "seconds": lag(&view) },
        "fresh": view.fresh,
        "wake_ups": wake_ups(cluster.wake_link()),
        "members": members.collect::<Vec<_>>(),

        "gaps": gaps(&view.stats),
    })
}

/// Returns the cluster's part of `/status`, without asking any other node.
pub(crate) fn short(node: &Node) -> Json {
    match node.cluster() {
        None => json!({ "mode": "none", "state": "alone" }),
        Some(cluster) if cluster.has_members() => json!({
            "mode": engine(node, cluster),
            "name": node.cluster_name(),
            "state": cluster.standing().as_str(),
            "reason": cluster.is_superseded().then_some(SUPERSEDED),
            "fresh": cluster.is_fresh(),
            "wake_ups": wake_ups(cluster.wake_link()),
        }),
        Some(cluster) => json!({ "mode": "none", "state": cluster.standing().as_str() }),
    }
}

/// Removes a member that will not come back.
pub(crate) async fn remove(node: &Node, name: &str) -> Result<Response, Problem> {
    if let Some(cluster) = node.cluster() {
        let removed = cluster.remove_member(name).await;
        removed.map_err(|error| unavailable(Chain(&error)))?;
    }
    let entry = AuditEntry {
        what: format!("member {name} of the cluster"),
        row: None,
        fields: Vec::new(),
    };
    Ok(audit::note(answer::no_content(), entry))
}

/// Probes every node through the log.
pub(crate) async fn probe(node: &Node, timeout: Duration) -> Result<Response, Problem> {
    let probed = node.probe(timeout).await.map_err(|error| match error {
        ProbeError::Busy(_) => Problem::new(Kind::Busy, error.to_string()),
        error => {
            let message = "the cluster's log does not answer: no probe was made";
            Problem::new(Kind::Unavailable, message).because(Chain(&error))
        }
    })?;

    let nodes = probed.nodes.iter().map(|(name, took)| {
        // Whole microseconds: no one measures finer over a network.
        let millis = took.map(|took| took.as_micros() as f64 / 1_000.0);
        (name.to_string(), millis.into())
    });
    let nodes: Map<String, Json> = nodes.collect();
    let body = json!({ "position": probed.position.as_str(), "nodes": nodes });
    let entry = AuditEntry {
        what: "probe of the cluster".to_owned(),
        row: None,
        fields: Vec::new(),
    };
    Ok(audit::note(answer::json(StatusCode::OK, &body), entry))
}

/// Evicts on every node: on this one at once, and on the others by a record, which is in the log
/// when this returns.
pub(crate) async fn evict(node: &Node, target: EvictionTarget) -> Result<(), Problem> {
    let cache = node.cache();
    match node.cluster() {
        Some(cluster) if cluster.has_members() => {
            let appended = cluster.evict_everywhere(cache.name().into(), target);
            let appended = tokio::time::timeout(APPEND, appended).await;
            let appended = appended.map_err(|_| unavailable("the log did not answer in time"))?;
            appended
                .map(drop)
                .map_err(|error| unavailable(Chain(&error)))
        }
        Some(_) | None => {
            match target {
                EvictionTarget::Keys(keys) => cache.invalidate_local(&keys),
                EvictionTarget::Tag(tag) => cache.invalidate_tag_local(&*tag),
                EvictionTarget::All => cache.purge_local(),
            }
            Ok(())
        }
    }
}

fn unavailable(cause: impl std::fmt::Display) -> Problem {
    let message = "the cluster's log does not answer; this node has done its part";
    Problem::new(Kind::Unavailable, message).because(cause)
}

fn wake_ups(link: WakeLink) -> Json {
    json!({ "state": link.state.as_str(), "since": link.since.as_unix() })
}

fn engine(node: &Node, cluster: &Protocol) -> &'static str {
    if cluster.has_members() {
        node.store().engine()
    } else {
        "none"
    }
}

/// Returns how far behind the node may be, in seconds.
fn lag(view: &View) -> Option<f64> {
    if view.behind == 0 && view.fresh {
        return Some(0.0);
    }
    view.proven.map(|proven| proven.as_secs_f64())
}

fn member(member: &MemberView, now: Timestamp) -> Json {
    let facts = member.facts.as_ref();
    let reported = member.reported.map(|ago| {
        let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
        now.as_unix().saturating_sub(ago)
    });
    json!({
        "node_id": &*member.node,
        "state": member.state.as_str(),
        "position": member.position.as_ref().map(ToString::to_string),
        "lag_seconds": member.lag.map(|lag| lag.as_secs_f64()),
        "max_staleness": member.bound.map(|bound| bound.as_secs_f64()),
        "reported_at": reported,
        "version": facts.map(|facts| &*facts.version),
        "retention_seconds": facts.map(|facts| facts.retention.as_secs_f64()),
        "schemas": facts.map(|facts| &*facts.schemas),
        "clock_offset_seconds": member.clock.map(|clock| clock.millis as f64 / 1_000.0),

        "reason": member.state.reason(),
    })
}

fn gaps(stats: &ClusterStats) -> Json {
    let counted = GapReason::ALL.iter().zip(stats.gaps);
    let by_reason: Map<String, Json> = counted
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.as_str().to_owned(), count.into()))
        .collect();
    json!({ "total": stats.gaps.iter().sum::<u64>(), "by_reason": by_reason })
}
