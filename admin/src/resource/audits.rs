//! `/audit`: compares cached entries with the rows of the store, for a given time.
//!
//! The answer comes when the time is over. If the program drains or the node stops, it comes at
//! once with the findings so far, so that no drain waits for it.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tidings::{AuditError, Node};

use crate::{
    Readiness, Unready, answer,
    audit::{self, AuditEntry},
    problem::{Kind, Problem},
};

/// Audits the node's cache, and answers with the findings.
pub(crate) async fn run(
    node: &Node,
    time: Duration,
    readiness: &Readiness,
) -> Result<Response, Problem> {
    let drains = readiness.begun(Unready::Draining);
    let found = node.audit_until(time, drains).await;
    let found = found.map_err(|error| {
        let kind = match error {
            AuditError::Running => Kind::Running,
            _ => Kind::InvalidOptions,
        };
        Problem::new(kind, error.to_string())
    })?;

    let seconds = |time: Duration| time.as_secs_f64();
    let body = json!({
        "checked": found.checked,
        "inconsistent": found.inconsistent,
        "per_million": found.per_million(),
        "oldest_seconds": found.oldest.map(seconds),
        "bound_seconds": found.bound.map(seconds),
        "skipped": found.skipped,
    });
    let entry = AuditEntry {
        what: "audit of the cache".to_owned(),
        row: None,
        fields: Vec::new(),
    };
    Ok(audit::note(answer::json(StatusCode::OK, &body), entry))
}
