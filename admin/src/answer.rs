//! Builds answers.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value as Json;

/// An extension that marks an answer which goes on until its client leaves or the program drains. A
/// server that limits how long one request may take should let it go on, and its body should count
/// as unfinished until it ends.
#[derive(Clone, Copy, Debug)]
pub struct Unending;

/// Returns an answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: &Json) -> Response {
    with_type(status, "application/json; charset=utf-8", body.to_string())
}

/// Returns an answer without a body.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Returns the answer to a client that has the row already.
pub(crate) fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// Adds the entity tag of the row that an answer is about.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Returns an answer with a body of a type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
