//! [`UpstreamBody`]: the body of the upstream's answer; read to its end, it gives the connection
//! back to the pool.

#![expect(
    clippy::disallowed_methods,
    reason = "these are time limits of sockets, which no clock of ours can hurry; tests set them short"
)]

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::pool::{Connection, Pool};
use crate::{counts::WorkerCounts, plugin::BodyError};

/// The body of the upstream's answer. Read to its end, it gives the connection back to the pool.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    pub(super) incoming: Incoming,
    pub(super) lease: Option<(Pool, Connection)>,
    pub(super) ended: bool,
    pub(super) counts: Arc<WorkerCounts>,
    pub(super) patience: Duration,
    /// Runs while a part of the answer is awaited.
    pub(super) late: Option<Pin<Box<Sleep>>>,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                self.late = None;
                if let Ok(frame) = &frame {
                    self.counts
                        .body_goes(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(Some(frame.map_err(BodyError::new)))
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.patience;
                let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
                late.as_mut().poll(cx).map(|()| {
                    let error =
                        io::Error::new(io::ErrorKind::TimedOut, "no more of the answer in time");
                    Some(Err(BodyError::new(error)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // hyper need not ask for the end of a body whose length it knows.
        if (self.ended || self.incoming.is_end_stream())
            && let Some((pool, connection)) = self.lease.take()
        {
            pool.put(connection);
        }
    }
}
