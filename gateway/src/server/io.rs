//! [`GuardedIo`]: a client's socket that records its activity, and replaces hyper's own refusals by
//! ours.
//!
//! hyper itself answers a request that it cannot parse (400, 414, 431), with no way to add headers
//! to that answer. Such an answer is recognised here because it is written while the service has no
//! request: it is dropped, and one in our own form is written in its place.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{io::ReadBuf, net::TcpStream};

use super::ConnectionState;

/// How much is read from a client that goes on sending while its connection is being closed.
const MOST_DISCARDED: usize = 1 << 20;

/// The headers and the form of refusal that every answer of one side has.
#[derive(Clone, Debug)]
pub(crate) struct Imprint {
    /// Header lines, each with its line end.
    pub(crate) lines: Arc<str>,
    /// The body of a refusal with this message.
    pub(crate) body: fn(StatusCode, &str) -> Vec<u8>,
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct GuardedIo {
    socket: TokioIo<TcpStream>,
    state: Arc<ConnectionState>,
    imprint: Imprint,
    /// Our form of a refusal, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
    /// How much was read while lingering.
    discarded: usize,
}

impl GuardedIo {
    pub(crate) fn new(socket: TcpStream, state: Arc<ConnectionState>, imprint: Imprint) -> Self {
        Self {
            socket: TokioIo::new(socket),
            state,
            imprint,
            refusal: None,
            discarded: 0,
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.state.set_write_stalled(written.is_pending());
        written
    }

    /// Reads until the client closes or has sent [`MOST_DISCARDED`] bytes.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buf = [0; 4096];
        while self.discarded < MOST_DISCARDED {
            let mut read = ReadBuf::new(&mut buf);
            let socket = Pin::new(self.socket.inner_mut());
            if ready!(tokio::io::AsyncRead::poll_read(socket, cx, &mut read)).is_err() {
                break;
            }
            match read.filled().len() {
                0 => break,
                more => self.discarded += more,
            }
        }

        Poll::Ready(())
    }

    fn write_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, mut written)) = self.refusal.take() {
            let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) else {
                break;
            };

            match self.write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.refusal = Some((bytes, written));
                    return Poll::Pending;
                }
            }

            self.refusal = Some((bytes, written));
        }

        Poll::Ready(Ok(()))
    }
}

impl Read for GuardedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if read.is_ready() {
            self.state.received();
        }
        read
    }
}

impl Write for GuardedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.state.is_unasked() {
            let refusal = refusal(buf, &self.imprint);
            self.refusal = Some((refusal, 0));
            self.state.linger();
            return Poll::Ready(Ok(buf.len()));
        }
        self.write(cx, buf)
    }

    /// Answers are small, and copying one into a buffer is cheaper than a vectored write.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_refusal(cx))?;
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_refusal(cx))?;
        ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
        // Closing a socket with something unread sends a reset, which may overtake what was just
        // written.
        if self.state.begin_lingering() {
            ready!(self.poll_unread(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns our form of the refusal that hyper would have written.
fn refusal(theirs: &[u8], imprint: &Imprint) -> Vec<u8> {
    let status = theirs
        .get(9..12)
        .and_then(|code| StatusCode::from_bytes(code).ok())
        .unwrap_or(StatusCode::BAD_REQUEST);
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Request header fields too large",
        StatusCode::URI_TOO_LONG => "Request target too long",
        _ => "Bad request",
    };

    let body = (imprint.body)(status, message);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{}\r\n",
        body.len(),
        imprint.lines,
    )
    .into_bytes();
    answer.extend_from_slice(&body);

    answer
}
