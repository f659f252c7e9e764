//! [`ProxyBody`]: the body of an answer, whole or streamed from the upstream.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::Answering;

/// The body of an answer.
#[derive(Debug)]
pub struct ProxyBody {
    kind: Kind,
    /// Ends with the body: until then the request is being answered.
    answering: Option<Answering>,
}

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    /// Streamed, part by part.
    Streamed(Pin<Box<dyn Streamed>>),
}

/// A body that comes part by part.
pub(crate) trait Streamed: Body<Data = Bytes, Error = BodyError> + fmt::Debug {}

impl<B: Body<Data = Bytes, Error = BodyError> + fmt::Debug> Streamed for B {}

/// The upstream's answer broke off.
#[derive(Debug)]
pub struct BodyError(Box<dyn StdError + Send + Sync>);

impl BodyError {
    pub(crate) fn new(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer broke off")
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

impl ProxyBody {
    /// Makes a body from bytes that are complete.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Whole(bytes.into()),
            answering: None,
        }
    }

    pub(crate) fn streamed(body: impl Streamed + 'static) -> Self {
        Self {
            kind: Kind::Streamed(Box::pin(body)),
            answering: None,
        }
    }

    /// Returns the length of a complete body; `None` for one that streams.
    pub(crate) fn whole_length(&self) -> Option<usize> {
        match &self.kind {
            Kind::Whole(bytes) => Some(bytes.len()),
            Kind::Streamed(_) => None,
        }
    }

    /// Keeps the request open while this body streams. One that is whole is written with its head.
    pub(crate) fn hold(&mut self, answering: Answering) {
        if let Kind::Streamed(_) = self.kind {
            self.answering = Some(answering);
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}
