//! Positions and receipts on answers: `X-Tidings-After`, `X-Tidings-Position`, `?confirm`. Knows no
//! resource.
//!
//! The answer to a write that succeeded has its position, however the confirmation ends. If the
//! request asks for a confirmation and there is none in time, the answer is a 202 that names the
//! nodes; the write is committed all the same.

use std::time::Duration;

use axum::{body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use tidings::core::Chain;
use tidings::{Node, NotConfirmed, NotReached, Token, WriteReceipt, cluster::Unconfirmed};

use crate::{
    Waits, answer,
    problem::{Kind, Problem},
};

/// The write that the node must have applied before it answers.
const AFTER: HeaderName = HeaderName::from_static("x-tidings-after");
/// The position of a write.
const POSITION: HeaderName = HeaderName::from_static("x-tidings-position");
/// Which members have confirmed a write: `all`, or how many of how many.
const CONFIRMED: HeaderName = HeaderName::from_static("x-tidings-confirmed");
/// The status that a write would have had, had it been confirmed.
const STATUS: HeaderName = HeaderName::from_static("x-tidings-status");

/// Waits until the node serves nothing older than the headers of a request ask for.
pub(crate) async fn catch_up(
    node: &Node,
    headers: &HeaderMap,
    timeout: Duration,
    waits: Option<&Waits>,
) -> Result<(), Problem> {
    let mut values = headers.get_all(AFTER).iter();
    let (Some(value), second) = (values.next(), values.next()) else {
        return Ok(());
    };
    if second.is_some() {
        let message = "X-Tidings-After is given twice";
        return Err(Problem::new(Kind::InvalidOptions, message));
    }

    let token = value.to_str().ok().and_then(|text| text.parse().ok());
    let token = token.ok_or_else(|| {
        let message = "X-Tidings-After: expected a position that a write has returned";
        Problem::new(Kind::InvalidOptions, message)
    })?;
    if let Some(waits) = waits {
        waits.tell(timeout);
    }

    match node.at_least(&token, timeout).await {
        Ok(()) => Ok(()),
        Err(NotReached::Invalid(error)) => {
            let message = format!("X-Tidings-After: {error}");
            Err(Problem::new(Kind::InvalidOptions, message))
        }
        Err(error) => Err(Problem::new(Kind::NotCaughtUp, error.to_string())),
    }
}

/// Adds the position and the confirmation of a write to its answer.
pub(crate) async fn tell(
    mut response: Response,
    receipt: &WriteReceipt,
    confirm: Option<Duration>,
) -> Response {
    match receipt.position().await {
        Ok(token) => {
            if let Ok(value) = HeaderValue::from_str(token.as_str()) {
                response.headers_mut().insert(POSITION, value);
            }
        }
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "a write was answered without its position")
        }
    }

    let Some(timeout) = confirm else {
        return response;
    };

    match receipt.confirmed(timeout).await {
        Ok(()) => {
            let all = HeaderValue::from_static("all");
            response.headers_mut().insert(CONFIRMED, all);
            response
        }
        Err(unconfirmed) => accepted(response, &unconfirmed).await,
    }
}

/// Returns whether a position is confirmed.
pub(crate) async fn confirm(
    node: &Node,
    token: &Token,
    timeout: Duration,
) -> Result<Response, Problem> {
    match node.confirmed(token, timeout).await {
        Ok(()) => {
            let body = json!({ "confirmed": true });
            let mut response = answer::json(StatusCode::OK, &body);
            let all = HeaderValue::from_static("all");
            response.headers_mut().insert(CONFIRMED, all);
            Ok(response)
        }
        Err(NotConfirmed::Unconfirmed(unconfirmed)) => {
            let body = json!({ "confirmed": false, "unconfirmed": names(&unconfirmed) });
            let mut response = answer::json(StatusCode::ACCEPTED, &body);
            count(response.headers_mut(), &unconfirmed);
            Ok(response)
        }
        Err(error) => {
            let message = format!("position: {error}");
            Err(Problem::new(Kind::InvalidOptions, message))
        }
    }
}

/// Turns the answer to a write into that of a write that was not confirmed in time.
async fn accepted(response: Response, unconfirmed: &Unconfirmed) -> Response {
    let (mut parts, body) = response.into_parts();

    // It was made of one text a moment ago.
    let entity = body::to_bytes(body, usize::MAX).await.ok();
    let entity = entity.and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok());
    let body = json!({
        "confirmed": false,
        "unconfirmed": names(unconfirmed),
        "entity": entity,
    });

    let mut made = answer::json(StatusCode::ACCEPTED, &body);
    if let Some(kind) = made.headers_mut().remove(header::CONTENT_TYPE) {
        parts.headers.insert(header::CONTENT_TYPE, kind);
    }

    let status = HeaderValue::from(parts.status.as_u16());
    parts.headers.insert(STATUS, status);
    count(&mut parts.headers, unconfirmed);
    parts.status = StatusCode::ACCEPTED;
    Response::from_parts(parts, made.into_body())
}

/// Adds how many of the members have confirmed.
fn count(headers: &mut HeaderMap, unconfirmed: &Unconfirmed) {
    let asked = unconfirmed.asked;
    let confirmed = asked.saturating_sub(unconfirmed.silent.len());
    let counts = HeaderValue::from_str(&format!("{confirmed}/{asked}"));
    if let Ok(counts) = counts {
        headers.insert(CONFIRMED, counts);
    }
}

fn names(unconfirmed: &Unconfirmed) -> Vec<&str> {
    unconfirmed.silent.iter().map(|it| &*it.node).collect()
}
