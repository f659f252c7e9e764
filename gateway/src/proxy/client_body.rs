//! [`ClientBody`]: the body of a request, on its way to the upstream or to nowhere.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::{plugin::Response, server::ConnectionState};

/// How much of a refused request's body is read, so that the client, which may still be sending, gets to see
/// the refusal instead of a reset. Beyond it the connection is closed.
const READ_WHEN_REFUSED: u64 = 256 << 10;

/// The body of a request.
#[derive(Debug)]
pub(super) struct ClientBody {
    incoming: Option<Incoming>,
    state: Arc<ConnectionState>,
    progress: Rc<Progress>,
}

/// How far the body has come, as the one who waits for the upstream's answer sees it.
#[derive(Debug)]
pub(super) struct Progress {
    frames: Cell<u64>,
    sent: Cell<bool>,
    broken: Cell<bool>,
    state: Arc<ConnectionState>,
}

impl Progress {
    fn new(sent: bool, state: &Arc<ConnectionState>) -> Rc<Self> {
        let (frames, sent) = (Cell::new(0), Cell::new(sent));
        Rc::new(Self {
            frames,
            sent,
            broken: Cell::new(false),
            state: Arc::clone(state),
        })
    }

    /// Whether the whole body has been handed over.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// Whether it broke off on the client's side, or is not what it was announced to be.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// How many parts of it have been.
    pub(super) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Whether the client owes the next part.
    pub(super) fn waits_for_client(&self) -> bool {
        self.state.is_awaiting_body()
    }
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, state: Arc<ConnectionState>) -> Self {
        let sent = incoming.is_end_stream();
        Self {
            incoming: Some(incoming).filter(|_| !sent),
            progress: Progress::new(sent, &state),
            state,
        }
    }

    /// An empty body for another attempt at the same request.
    pub(super) fn emptied(&self) -> Self {
        Self {
            incoming: None,
            state: Arc::clone(&self.state),
            progress: Progress::new(true, &self.state),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Reads the body and forgets it; an error if it breaks off or is longer than `most`.
    pub(super) async fn discard(mut self, most: u64) -> Result<(), TooLong> {
        let mut read = 0;
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|_| TooLong)?;
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > most {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// Gives the refusal once the client is likely to read it.
    pub(super) async fn refused(self, mut refusal: Response) -> Response {
        if self.is_empty() {
            return refusal;
        }
        let announced = self.size_hint().lower();
        let close = announced > READ_WHEN_REFUSED || self.discard(READ_WHEN_REFUSED).await.is_err();
        if close {
            refusal
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        refusal
    }
}

/// There is more than is worth reading, or the rest will never come.
#[derive(Debug)]
pub(super) struct TooLong;

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
        let polled = Pin::new(incoming).poll_frame(cx);
        self.state.awaiting_body(polled.is_pending());
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
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
            self.state.awaiting_body(false);
        }
    }
}
