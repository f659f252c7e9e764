//! [`Upload`]: a request's body as it arrives, and the disposal of a rest that no handler read.
//!
//! A connection carries its next request only after the whole body of this one. So a small rest is
//! read before the answer. Otherwise the answer announces that the connection closes, and the rest
//! is read and discarded for a while, since closing a socket with unread bytes resets it and loses
//! the answer (RFC 9112, 9.6).

use std::{error::Error as StdError, time::Duration};

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{
    AdminOptions,
    problem::{Kind, Problem},
};

/// The most bytes that are read and discarded before an answer.
const SMALL: u64 = 64 * 1024;
/// How long an answer waits for them.
const GRACE: Duration = Duration::from_millis(100);
/// How long a connection that is about to close reads on, for its client to see the answer.
const LINGER: Duration = Duration::from_secs(5);

/// A body that arrives with a request.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    /// The client sends its body only once it is asked to (`Expect: 100-continue`), and it has not
    /// been asked.
    is_withheld: bool,
}

impl Upload {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self {
            body,
            is_withheld: headers.contains_key(header::EXPECT),
        }
    }

    /// Reads the whole body, which may neither be too long nor take too long.
    pub(crate) async fn read(
        &mut self,
        headers: &HeaderMap,
        options: &AdminOptions,
    ) -> Result<Bytes, Problem> {
        let limit = options.body_limit;
        let too_large = || {
            let message = format!("a body may hold at most {limit} bytes");
            Problem::new(Kind::PayloadTooLarge, message)
        };
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }

        self.is_withheld = false;
        let whole = Limited::new(&mut self.body, limit).collect();
        match tokio::time::timeout(options.body_patience, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if is_limit(error.as_ref()) => Err(too_large()),
            Ok(Err(error)) => {
                Err(Problem::new(Kind::InvalidBody, "the body ended early").because(error))
            }
            Err(_) => Err(Problem::new(
                Kind::RequestTimeout,
                "the body took too long to arrive",
            )),
        }
    }

    /// Disposes of the rest of the body. If the connection has to close, the headers of the answer
    /// say so.
    pub(crate) async fn end(mut self, answer: &mut HeaderMap) {
        if self.body.is_end_stream() {
            return;
        }

        let is_small = self.body.size_hint().lower() <= SMALL;
        if !self.is_withheld && is_small {
            let rest = Limited::new(&mut self.body, usize::try_from(SMALL).unwrap_or(usize::MAX));
            if let Ok(true) = tokio::time::timeout(GRACE, dropped(rest)).await {
                return;
            }
        }

        answer.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if !self.is_withheld {
            // In a task of its own, which ends by its timeout: the answer must not wait for the
            // rest.
            tokio::spawn(tokio::time::timeout(LINGER, dropped(self.body)));
        }
    }
}

/// Reads and discards a body. Returns whether it came to its end.
async fn dropped(mut body: impl axum::body::HttpBody + Unpin) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

/// Returns whether the limit lies somewhere under an error: axum wraps what its bodies report.
fn is_limit(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_limit)
}
