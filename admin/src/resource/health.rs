//! `/livez`, `/readyz` and `/metrics`, for orchestrators and monitoring. The first two need no
//! token and reveal nothing but a few words.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tidings::{Hearing, Node, cluster::Protocol};

use super::status;
use crate::{Metrics, Readiness, Unready, answer};

/// The version of the text format that metrics are rendered in.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns that the program is alive, which its answer proves.
pub(crate) fn live() -> Response {
    answer::json(StatusCode::OK, &json!({ "live": true }))
}

/// Returns all counts as they are now.
pub(crate) fn metrics(node: &Node, metrics: &Metrics) -> Response {
    answer::with_type(StatusCode::OK, FORMAT, metrics.render(node))
}

/// Returns whether requests should be sent here, or the reasons why not. A program without a node
/// is starting.
pub(crate) async fn ready(node: Option<&Node>, readiness: &Readiness) -> Response {
    let mut reasons = readiness.reasons();
    match node {
        Some(node) if status::database(node).await.is_none() => reasons.push("database"),
        None if reasons.is_empty() => reasons.push(Unready::Starting.as_str()),
        Some(_) | None => {}
    }

    match node.map(Node::hearing) {
        Some(Hearing::NotRecorded) => reasons.push("capture"),
        Some(Hearing::OutOfReach) => reasons.push("cluster"),
        Some(_) | None => {}
    }

    let cluster = node.and_then(Node::cluster);
    if cluster.is_some_and(Protocol::is_past_bound) {
        reasons.push("staleness");
    }

    if reasons.is_empty() {
        answer::json(StatusCode::OK, &json!({ "ready": true }))
    } else {
        let body = json!({ "ready": false, "reasons": reasons });
        answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}
