//! [`Refusal`]: why the proxy side itself refuses a request, with the answer to each cause.

use http::{HeaderValue, StatusCode, header};
use tidings::{cache::GetError, core::Chain};

use super::response::{Response, refuse};

/// Why the proxy side answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoKey,
    DuplicateKey,
    UnknownKey,
    NotInGroup,
    LoadFailed,
    NotProven,
    Panicked,
    NotCaughtUp,
    UnknownPosition,
    Connect,
    Hosts,
    Coding,
    WebSocket,
    BodyUnreadable,
    UpstreamUnreachable,
    UpstreamSilent,
    UpstreamBroken,
    UpstreamUnreadable,
    UpstreamHeadTooLarge,
    UpstreamCoding,
    UpstreamSwitched,
}

impl Refusal {
    /// All causes, for code that lists them.
    pub(crate) const ALL: [Self; 21] = [
        Self::NoKey,
        Self::DuplicateKey,
        Self::UnknownKey,
        Self::NotInGroup,
        Self::LoadFailed,
        Self::NotProven,
        Self::Panicked,
        Self::NotCaughtUp,
        Self::UnknownPosition,
        Self::Connect,
        Self::Hosts,
        Self::Coding,
        Self::WebSocket,
        Self::BodyUnreadable,
        Self::UpstreamUnreachable,
        Self::UpstreamSilent,
        Self::UpstreamBroken,
        Self::UpstreamUnreadable,
        Self::UpstreamHeadTooLarge,
        Self::UpstreamCoding,
        Self::UpstreamSwitched,
    ];

    /// Returns the cause as a metric's label and a log's field show it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownKey => "unknown_key",
            Self::NotInGroup => "not_in_group",
            Self::LoadFailed => "load_failed",
            Self::NotProven => "not_proven",
            Self::Panicked => "panicked",
            Self::NotCaughtUp => "not_caught_up",
            Self::UnknownPosition => "unknown_position",
            Self::Connect => "connect_method",
            Self::Hosts => "hosts",
            Self::Coding => "transfer_coding",
            Self::WebSocket => "websocket",
            Self::BodyUnreadable => "body_unreadable",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamSilent => "upstream_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamUnreadable => "upstream_unreadable",
            Self::UpstreamHeadTooLarge => "upstream_head_too_large",
            Self::UpstreamCoding => "upstream_transfer_coding",
            Self::UpstreamSwitched => "upstream_switched",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NoKey | Self::DuplicateKey | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::NotInGroup => StatusCode::FORBIDDEN,
            Self::LoadFailed | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotProven | Self::NotCaughtUp => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownPosition | Self::Hosts | Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::Connect | Self::Coding | Self::WebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::UpstreamUnreachable
            | Self::UpstreamBroken
            | Self::UpstreamUnreadable
            | Self::UpstreamHeadTooLarge
            | Self::UpstreamCoding
            | Self::UpstreamSwitched => StatusCode::BAD_GATEWAY,
            Self::UpstreamSilent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::NoKey => "No API key found in request",
            Self::DuplicateKey => "Duplicate API key found",
            Self::UnknownKey => "Invalid authentication credentials",
            Self::NotInGroup => "You cannot consume this service",
            Self::LoadFailed | Self::Panicked => "Unexpected error",
            Self::NotProven => "This node cannot prove that it is current",
            Self::NotCaughtUp => "This node is behind the position in X-Tidings-After",
            Self::UnknownPosition => {
                "X-Tidings-After is not one position that a write on this cluster has returned"
            }
            Self::Connect => "CONNECT is not supported",
            Self::Hosts => "A request has exactly one Host header, with a host and perhaps a port",
            Self::Coding => "The only transfer coding supported is chunked",
            Self::WebSocket => "WebSocket connections are not supported",
            Self::BodyUnreadable => "The request body cannot be read",
            Self::UpstreamUnreachable => "The upstream cannot be reached",
            Self::UpstreamSilent => "The upstream did not answer in time",
            Self::UpstreamBroken => "The upstream closed the connection without an answer",
            Self::UpstreamUnreadable => "The upstream's answer cannot be understood",
            Self::UpstreamHeadTooLarge => "The head of the upstream's answer is too large",
            Self::UpstreamCoding => {
                "The upstream's answer has a transfer coding that was not asked for"
            }
            Self::UpstreamSwitched => "The upstream switched to another protocol unasked",
        }
    }

    /// Returns the refusal for a failed lookup in the cache, and logs the error.
    pub(crate) fn of_lookup(error: &GetError, what: &'static str) -> Self {
        match error {
            GetError::Unproven(_) => {
                tracing::debug!(error = %Chain(error), what, "refused without a proof");
                Self::NotProven
            }
            _ => {
                tracing::error!(error = %Chain(error), "{what} could not be loaded");
                Self::LoadFailed
            }
        }
    }

    /// Returns the answer, which remembers its cause.
    pub(crate) fn answer(self) -> Response {
        let mut response = refuse(self.status(), self.message());
        if self.status() == StatusCode::UNAUTHORIZED {
            let key = HeaderValue::from_static("Key");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, key);
        }
        response.extensions_mut().insert(self);
        response
    }
}
