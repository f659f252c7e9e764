//! [`Bounded`]: a connection that bounds the size of answers.
//!
//! The client library buffers an answer of any size until it is complete. A malicious server, or
//! another program in its place, could fill the memory of a node with one answer. So the bytes are
//! counted on their way to the library, from one received answer to the next, and reading ends with
//! an error beyond [`LARGEST`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum number of bytes until an answer is complete. A page of the log has at most 5 MiB,
/// and a few may arrive at the same time.
const LARGEST: usize = 32 << 20;

/// A connection that bounds the size of answers.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    untaken: Untaken,
}

/// How many bytes have arrived since the last complete answer. Clones count the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Untaken(Arc<AtomicUsize>);

impl Untaken {
    /// Notes that an answer is complete.
    pub(super) fn take(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn add(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.fetch_add(bytes, Ordering::SeqCst);
        if before.saturating_add(bytes) <= LARGEST {
            return Ok(());
        }
        let message = format!("the server sends an answer of more than {LARGEST} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        let untaken = Untaken::default();
        Self { inner, untaken }
    }

    /// Returns the count, which callers reset whenever they receive an answer.
    pub(super) fn untaken(&self) -> Untaken {
        self.untaken.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.untaken.add(buf.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
