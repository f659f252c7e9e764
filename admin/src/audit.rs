//! One line in the log for each write: what was done, to which row, from where. Never a value:
//! names of fields, and primary keys with their secret parts masked. The target is
//! `tidings::audit`, so that a filter can keep these lines and no others; of writes that were
//! refused, which anyone can send, it is `tidings::audit::refused`, so that a log may cut these
//! alone.

use std::net::SocketAddr;

use axum::response::Response;
use http::{Method, StatusCode};

/// The log's entry for a write; an extension of the answer until it is logged.
#[derive(Clone, Debug)]
pub(crate) struct AuditEntry {
    /// The target of the write: an entity, or the cache.
    pub(crate) what: String,
    /// The primary key of the row; `None` if there was none.
    pub(crate) row: Option<String>,
    /// The fields that the body named.
    pub(crate) fields: Vec<String>,
}

/// Marks an answer whose line is in the log.
#[derive(Clone, Copy, Debug)]
struct Logged;

/// Attaches the entry of a write to the answer to it.
pub(crate) fn note(mut response: Response, entry: AuditEntry) -> Response {
    response.extensions_mut().insert(entry);
    response
}

/// Logs what a request wrote, or that it was refused, unless that is logged already. `collection`
/// is the first segment of its path.
///
/// Call it as soon as the write has ended: a later wait, as for a confirmation, ends with a client
/// that goes away.
pub(crate) fn log(
    request: &str,
    method: &Method,
    collection: &str,
    from: Option<SocketAddr>,
    response: &mut Response,
) {
    if response.extensions_mut().insert(Logged).is_some() {
        return;
    }
    let from = from.map_or_else(|| "unknown".to_owned(), |from| from.to_string());
    let status = response.status().as_u16();

    match response.extensions_mut().remove::<AuditEntry>() {
        Some(AuditEntry { what, row, fields }) => tracing::info!(
            target: "tidings::audit",
            request, %method, what, row = row.as_deref().unwrap_or("none"), fields = fields.join(","), from, status,
            "an admin write"
        ),
        // A refused request has no row; the path is left out, since it may hold a key.
        None if response.status() != StatusCode::METHOD_NOT_ALLOWED => tracing::info!(
            target: "tidings::audit::refused",
            request, %method, what = collection, from, status,
            "an admin write was refused"
        ),
        None => {}
    }
}
