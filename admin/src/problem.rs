//! [`Problem`]: an answer that refuses a request.
//!
//! A problem has a public side, `{"code", "name", "message", "fields"?}`, and may have an internal
//! one. The internal side is for the log alone, where it is beside the id of the request; it never
//! reaches the client.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value as Json, json};
use tidings::core::{Rule, Violations};

/// The kind of a refusal. Codes below 20 are those of the API that this one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SchemaViolation,
    ForeignKeyViolation,
    UniqueViolation,
    NotFound,
    InvalidOffset,
    Unavailable,
    InvalidSize,
    InvalidOptions,
    /// A hook of the application refused the write.
    Refused,
    /// Other requests keep changing the row.
    Contended,
    /// The row is not as the request demands.
    PreconditionFailed,
    InvalidBody,
    InvalidPath,
    Unauthorized,
    /// A page of another site sent its visitor's browser here.
    CrossSite,
    /// The request came by a name that is not this machine's.
    ForeignHost,
    InvalidHost,
    /// The request could not be read at all.
    Malformed,
    TargetTooLong,
    HeadTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    PayloadTooLarge,
    UnsupportedMediaType,
    /// The node is behind what the request asked for.
    NotCaughtUp,
    /// The maximum number of requests of this kind is already running.
    Busy,
    /// A request of this kind is running, and only one may run at a time.
    Running,
    /// An internal error; the answer says nothing else.
    Internal,
}

impl Kind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 28] = [
        Self::SchemaViolation,
        Self::ForeignKeyViolation,
        Self::UniqueViolation,
        Self::NotFound,
        Self::InvalidOffset,
        Self::Unavailable,
        Self::InvalidSize,
        Self::InvalidOptions,
        Self::Refused,
        Self::Contended,
        Self::PreconditionFailed,
        Self::InvalidBody,
        Self::InvalidPath,
        Self::Unauthorized,
        Self::CrossSite,
        Self::ForeignHost,
        Self::InvalidHost,
        Self::Malformed,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::NotCaughtUp,
        Self::Busy,
        Self::Running,
        Self::Internal,
    ];

    /// Returns status, code and name.
    pub(crate) fn facts(self) -> (StatusCode, u16, &'static str) {
        match self {
            Self::SchemaViolation => (StatusCode::BAD_REQUEST, 2, "schema violation"),
            Self::ForeignKeyViolation => (StatusCode::BAD_REQUEST, 4, "foreign key violation"),
            Self::UniqueViolation => (StatusCode::CONFLICT, 5, "unique constraint violation"),
            Self::NotFound => (StatusCode::NOT_FOUND, 6, "not found"),
            Self::InvalidOffset => (StatusCode::BAD_REQUEST, 7, "invalid offset"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 8, "database unavailable"),
            Self::InvalidSize => (StatusCode::BAD_REQUEST, 9, "invalid size"),
            Self::InvalidOptions => (StatusCode::BAD_REQUEST, 11, "invalid options"),
            Self::Refused => (StatusCode::BAD_REQUEST, 27, "refused"),
            Self::Contended => (StatusCode::CONFLICT, 28, "contended"),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, 38, "precondition failed")
            }
            Self::InvalidBody => (StatusCode::BAD_REQUEST, 20, "invalid body"),
            Self::InvalidPath => (StatusCode::BAD_REQUEST, 21, "invalid path"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, 22, "unauthorized"),
            Self::CrossSite => (StatusCode::FORBIDDEN, 29, "cross-site request"),
            Self::ForeignHost => (StatusCode::FORBIDDEN, 31, "foreign host"),
            Self::InvalidHost => (StatusCode::BAD_REQUEST, 32, "invalid host"),
            Self::Malformed => (StatusCode::BAD_REQUEST, 33, "malformed request"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, 34, "target too long"),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                35,
                "head too large",
            ),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, 23, "method not allowed"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, 24, "request timeout"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 25, "payload too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                26,
                "unsupported media type",
            ),
            Self::NotCaughtUp => (StatusCode::SERVICE_UNAVAILABLE, 30, "not caught up"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, 36, "busy"),
            Self::Running => (StatusCode::CONFLICT, 39, "already running"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, 0, "internal error"),
        }
    }
}

/// A refusal, with its answer to the client and its cause for the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    kind: Kind,
    message: String,
    fields: Map<String, Json>,
    allow: Option<String>,
    internal: Option<String>,
}

impl Problem {
    /// Refuses with a message for the client.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            fields: Map::new(),
            allow: None,
            internal: None,
        }
    }

    /// Refuses a path or a row that does not exist.
    pub(crate) fn not_found() -> Self {
        Self::new(Kind::NotFound, "not found")
    }

    /// Refuses a page token that did not come from a page.
    pub(crate) fn invalid_offset() -> Self {
        let message = "offset must be a token from a previous page";
        Self::new(Kind::InvalidOffset, message)
    }

    /// Refuses a write because other requests changed the row each time it was looked up.
    pub(crate) fn contended() -> Self {
        Self::new(
            Kind::Contended,
            "other requests keep changing this row; try again",
        )
    }

    /// Refuses because the row is not as the headers of the request demand.
    pub(crate) fn precondition_failed() -> Self {
        Self::new(
            Kind::PreconditionFailed,
            "the row is not as the request demands: read it again",
        )
    }

    /// Refuses a body with one wrong field.
    pub(crate) fn field(field: &str, rule: Rule, message: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, rule, message);
        Self::violations(&violations)
    }

    /// Refuses a body with wrong fields. Several messages about one field are joined.
    pub(crate) fn violations(violations: &Violations) -> Self {
        let mut fields: Map<String, Json> = Map::new();
        for violation in &violations.0 {
            match fields.get_mut(&violation.field) {
                Some(Json::String(message)) => {
                    message.push_str("; ");
                    message.push_str(&violation.message);
                }
                _ => {
                    fields.insert(violation.field.clone(), violation.message.as_str().into());
                }
            }
        }
        let message = format!("schema violation ({violations})");
        Self::new(Kind::SchemaViolation, message).with_fields(fields)
    }

    /// Reports an internal error, whose cause is not the client's concern.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "An unexpected error occurred").because(cause)
    }

    /// Refuses a method that does not fit the path.
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let message = format!("this path allows {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(Kind::MethodNotAllowed, message)
        }
    }

    /// Names the fields that are concerned.
    pub(crate) fn with_fields(mut self, fields: Map<String, Json>) -> Self {
        self.fields = fields;
        self
    }

    /// Adds the cause for the log.
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.internal = Some(cause.to_string());
        self
    }

    /// Returns the cause for the log, if there is more than the client may know.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.internal.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the body that the client reads.
    pub(crate) fn to_json(&self) -> Json {
        let (_, code, name) = self.kind.facts();
        let mut body = json!({ "code": code, "name": name, "message": self.message });
        if !self.fields.is_empty() {
            body["fields"] = Json::Object(self.fields.clone());
        }
        body
    }
}

/// Returns the body with which the server itself refuses a request that it cannot read, in the
/// shape of this API's other refusals. `status` is 400, 414 or 431; any other is treated as 400.
#[must_use]
pub fn malformed(status: StatusCode, message: &str) -> Vec<u8> {
    let kind = match status {
        StatusCode::URI_TOO_LONG => Kind::TargetTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Kind::HeadTooLarge,
        _ => Kind::Malformed,
    };
    Problem::new(kind, message)
        .to_json()
        .to_string()
        .into_bytes()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.facts();
        let mut response = crate::answer::json(status, &self.to_json());

        let headers = response.headers_mut();
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, allow);
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }

        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_name_each_field_once() {
        let mut violations = Violations::default();
        violations.add("username", Rule::Kind, "expected a string");
        violations.add("consumer", Rule::Kind, "one");
        violations.add("consumer", Rule::Kind, "two");
        let body = Problem::violations(&violations).to_json();
        assert_eq!(body["code"], 2);
        assert_eq!(body["name"], "schema violation");
        assert_eq!(
            body["fields"],
            json!({ "username": "expected a string", "consumer": "one; two" })
        );
    }

    #[test]
    fn internal_causes_stay_inside() {
        let problem = Problem::internal("disk 7 of /srv is on fire");
        assert_eq!(
            problem.to_json(),
            json!({
                "code": 0, "name": "internal error", "message": "An unexpected error occurred"
            })
        );
        assert_eq!(problem.cause(), Some("disk 7 of /srv is on fire"));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn codes_and_names_are_told_apart() {
        let mut seen = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let (_, code, name) = kind.facts();
            assert!(seen.insert(code.to_string()), "{code}");
            assert!(seen.insert(name.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = Problem::method_not_allowed("GET, HEAD".to_owned()).into_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }
}
