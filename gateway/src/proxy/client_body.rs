//! [`ClientBody`]: the body of a request, forwarded to the upstream or read and discarded.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use crate::{counts::WorkerCounts, plugin::Response, server::ConnectionState};

/// How much of a refused request's body is read after the refusal, so that the connection can be
/// reused. With a longer body the connection is closed.
const READ_WHEN_REFUSED: u64 = 256 << 10;
/// How long that may take.
const PATIENCE_WHEN_REFUSED: Duration = Duration::from_secs(5);

/// The body of a request.
#[derive(Debug)]
pub(super) struct ClientBody {
    incoming: Option<Incoming>,
    state: Arc<ConnectionState>,
    counts: Arc<WorkerCounts>,
    progress: Rc<Progress>,
}

/// Whether the client waits for `100 Continue` before it sends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwaitsContinue {
    Yes,
    No,
}

impl AwaitsContinue {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(header::EXPECT) {
            Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Self::Yes,
            _ => Self::No,
        }
    }
}

/// How far the body has come, as the task that waits for the upstream's answer sees it.
#[derive(Debug)]
pub(super) struct Progress {
    frames: Cell<u64>,
    sent: Cell<bool>,
    broken: Cell<bool>,
    state: Arc<ConnectionState>,
}

impl Progress {
    fn of(incoming: Option<&Incoming>, state: &Arc<ConnectionState>) -> Rc<Self> {
        Rc::new(Self {
            frames: Cell::new(0),
            sent: Cell::new(incoming.is_none()),
            broken: Cell::new(false),
            state: Arc::clone(state),
        })
    }

    /// Returns whether the whole body has been handed over.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// Returns whether it broke off on the client's side, or is not what it was announced to be.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Returns how many parts of it have arrived.
    pub(super) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Returns whether the client owes the next part.
    pub(super) fn waits_for_client(&self) -> bool {
        self.state.is_awaiting_body()
    }
}

impl ClientBody {
    pub(super) fn new(
        incoming: Incoming,
        state: Arc<ConnectionState>,
        counts: Arc<WorkerCounts>,
    ) -> Self {
        let incoming = Some(incoming).filter(|incoming| !incoming.is_end_stream());
        Self {
            progress: Progress::of(incoming.as_ref(), &state),
            incoming,
            state,
            counts,
        }
    }

    /// Makes an empty body for another attempt at the same request.
    pub(super) fn emptied(&self) -> Self {
        Self {
            incoming: None,
            state: Arc::clone(&self.state),
            counts: Arc::clone(&self.counts),
            progress: Progress::of(None, &self.state),
        }
    }

    /// Returns the connection that it arrives on.
    pub(super) fn connection(&self) -> &ConnectionState {
        &self.state
    }

    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Reads the body and discards it.
    ///
    /// # Errors
    ///
    /// It breaks off, or is longer than `most` bytes.
    pub(super) async fn discard(mut self, most: u64) -> Result<(), Unread> {
        let mut read = 0;
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|_| Unread)?;
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > most {
                return Err(Unread);
            }
        }
        Ok(())
    }

    /// Disposes of the body of a refused request without delaying the refusal: a short body is read
    /// in the background; otherwise the refusal announces that the connection closes.
    ///
    /// A client that waits for `100 Continue` never gets it.
    pub(super) fn refused(self, waits: AwaitsContinue, refusal: &mut Response) {
        if self.is_empty() {
            return;
        }
        if waits == AwaitsContinue::Yes || self.size_hint().lower() > READ_WHEN_REFUSED {
            let close = HeaderValue::from_static("close");
            refusal.headers_mut().insert(header::CONNECTION, close);
            self.state.linger();
            return;
        }

        // Ends with the body, with the connection, or in time.
        tokio::task::spawn_local(async move {
            let state = Arc::clone(&self.state);
            let read = timeout(PATIENCE_WHEN_REFUSED, self.discard(READ_WHEN_REFUSED));
            if !matches!(read.await, Ok(Ok(()))) {
                state.linger();
            }
        });
    }
}

/// A body was not read to its end: the rest is too long, or will never arrive.
#[derive(Debug)]
pub(super) struct Unread;

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };

        let polled = match Pin::new(incoming).poll_frame(cx) {
            // Trailers may name any header, and servers read them as such: none is passed on.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Poll::Ready(None),
            polled => polled,
        };

        self.state.set_awaiting_body(polled.is_pending());
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.counts
                    .body_came(frame.data_ref().map_or(0, Bytes::len));
                self.progress.frames.set(self.progress.frames.get() + 1);
                self.progress.sent.set(self.is_end_stream());
            }
            Poll::Ready(None) => self.progress.sent.set(true),
            Poll::Ready(Some(Err(_))) => self.progress.broken.set(true),
            Poll::Pending => {}
        }

        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if self.incoming.is_some() {
            self.state.set_awaiting_body(false);
        }
    }
}
