//! [`Wire`]: the socket to the upstream. It counts the bytes received, and survives an upstream
//! that stops reading.
//!
//! Whether a request may be sent again depends on whether any byte of an answer came, which the
//! HTTP client above does not report. And an upstream that refuses a body early (413) answers and
//! closes: then writing the rest of the body fails, while the answer waits to be read. So a failed
//! write counts as done, and reading shows whether the upstream has answered.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The socket to the upstream.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    heard: Rc<Heard>,
}

/// How much a connection has received from the upstream, and whether it can still send.
#[derive(Debug, Default)]
pub(super) struct Heard {
    bytes: Cell<u64>,
    deaf: Cell<bool>,
}

impl Heard {
    /// Returns how many bytes have arrived.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns whether the upstream has stopped reading.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.get()
    }
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> (Self, Rc<Heard>) {
        let heard = Rc::new(Heard::default());
        let wire = Self {
            socket,
            heard: Rc::clone(&heard),
        };
        (wire, heard)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let more = (buf.filled().len() - before) as u64;
        self.heard.bytes.set(self.heard.bytes.get() + more);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.heard.is_deaf() {
            return Poll::Ready(Ok(buf.len()));
        }

        match ready!(Pin::new(&mut self.socket).poll_write(cx, buf)) {
            Err(error) if is_closed(&error) => {
                self.heard.deaf.set(true);
                Poll::Ready(Ok(buf.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Returns whether the other end has stopped reading. It may have answered before.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}
