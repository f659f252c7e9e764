//! `/livez` and `/readyz`, for what watches over the program: they ask for no token and tell no more than a word.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tidings::Node;

use super::status;
use crate::{Readiness, answer};

/// That the program answers at all.
pub(crate) fn live() -> Response {
    answer::json(StatusCode::OK, &json!({ "live": true }))
}

/// Whether requests should be sent here, or the reasons why not.
pub(crate) async fn ready(node: &Node, readiness: &Readiness) -> Response {
    let mut reasons = readiness.reasons();
    if status::database(node).await.is_none() {
        reasons.push("database");
    }
    if reasons.is_empty() {
        answer::json(StatusCode::OK, &json!({ "ready": true }))
    } else {
        let body = json!({ "ready": false, "reasons": reasons });
        answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}
