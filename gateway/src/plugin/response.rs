//! [`Response`], and refusals.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{ProxyBody, json};

/// An answer of the proxy side.
pub type Response = http::Response<ProxyBody>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Makes a refusal: a status and the body `{"message": message}`.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
///
/// let response = tidings_gateway::refuse(StatusCode::FORBIDDEN, "not today");
/// assert_eq!(response.status(), 403);
/// ```
#[must_use]
pub fn refuse(status: StatusCode, text: &str) -> Response {
    whole(status, message(text))
}

/// Writes `{"message": text}`.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(text.len() + 16);
    body.extend_from_slice(b"{\"message\":");
    json::string(&mut body, text);
    body.push(b'}');
    body
}

/// Makes an answer with a complete JSON body.
pub(crate) fn whole(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(ProxyBody::whole(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Makes a header of text that is known to be plain, such as an address or an id.
pub(crate) fn plain_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
