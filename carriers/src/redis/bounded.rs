//! [`Bounded`]: a connection to a Redis server that refuses answers larger than a carrier needs.
//!
//! The client library buffers an answer of any size until it is complete. A malicious server, or
//! another program in its place, could fill the memory of a node with one answer. So the bytes are
//! parsed on their way to the library, and reading ends with an error at the first answer that
//! exceeds, or announces more than, [`LARGEST`] bytes or [`MOST`] parts. The library never sees the
//! refused bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tidings_core::Chain;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reading::{LARGEST, Reading};

/// The maximum number of parts of one answer, itself and nested ones included. A wake-up has four.
const MOST: u64 = 1_024;

/// A connection that bounds the size of answers.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    answers: Answers,
    reading: Arc<Reading>,
    listener: Listener,
}

/// Whether a listener takes what the connection reads, and can make it wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Present,
    /// Everything that arrives answers a request.
    Absent,
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S, listener: Listener) -> Self {
        Self {
            inner,
            answers: Answers::default(),
            reading: Arc::default(),
            listener,
        }
    }

    /// Returns the state that it shares with its listener.
    pub(super) fn reading(&self) -> Arc<Reading> {
        Arc::clone(&self.reading)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.listener == Listener::Present && !self.reading.may_read(cx.waker()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;

        let came = &buf.filled()[before..];
        self.reading.add(came.len());

        let followed = self.answers.follow(came);
        if let Err(error) = &followed {
            buf.set_filled(before);
            // At debug level, because it may happen on every connection. Callers log it when it is
            // new.
            self.reading.refuse(error);
            tracing::debug!(error = %Chain(error), "a connection to Redis is given up");
        }

        Poll::Ready(followed)
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

/// The state of the parser of a server's answers.
///
/// An answer is one part. A part is a line. The line of a counted part gives the number of bytes or
/// parts that follow it.
#[derive(Debug, Default)]
struct Answers {
    /// The number of bytes of the current answer so far.
    bytes: usize,
    /// The number of its parts so far, with announced ones and itself.
    parts: u64,
    /// The number of parts that are still due; 0 between two answers.
    open: u64,
    /// The line that is being read. `bytes` bounds its length.
    line: Vec<u8>,
    /// How many of the bytes that a line has announced are still due.
    body: usize,
}

impl Answers {
    /// Parses bytes of the server, up to the first refused one.
    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.open == 0 {
                (self.bytes, self.parts, self.open) = (0, 1, 1);
            }

            let came = match self.body {
                0 => bytes
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(bytes.len(), |at| at + 1),
                body => body.min(bytes.len()),
            };
            let (come, rest) = bytes.split_at(came);

            bytes = rest;
            self.bytes += came;
            if self.bytes > LARGEST {
                return Err(refused(format!("an answer of more than {LARGEST} bytes")));
            }

            if self.body > 0 {
                self.body -= came;
                if self.body == 0 {
                    self.open -= 1;
                }
            } else {
                self.line.extend_from_slice(come);
                // For the library, a line ends only at its first `\r\n`.
                if self.line.ends_with(b"\r\n") {
                    let line = std::mem::take(&mut self.line);
                    self.end_of_line(&line[..line.len() - 2])?;
                }
            }
        }

        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8]) -> io::Result<()> {
        let (kind, rest) = line.split_first().unwrap_or((&b'\r', &[]));
        match kind {
            b'$' => match count(rest)? {
                // An absent value.
                None => self.open -= 1,
                Some(bytes) => self.expect_bytes(bytes)?,
            },
            b'=' | b'!' => self.expect_bytes(needed(rest)?)?,
            b'*' | b'~' | b'>' => self.expect_parts(count(rest)?.unwrap_or_default())?,
            b'%' => self.expect_parts(needed(rest)?.saturating_mul(2))?,
            b'|' => self.expect_parts(needed(rest)?.saturating_mul(2).saturating_add(1))?,
            _ => self.open -= 1,
        }

        Ok(())
    }

    /// Expects bytes, followed by the end of a line.
    fn expect_bytes(&mut self, bytes: u64) -> io::Result<()> {
        let whole = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| bytes.checked_add(2));
        let fits = |whole: &usize| *whole <= LARGEST - self.bytes;
        self.body = whole.filter(fits).ok_or_else(|| {
            refused(format!(
                "{bytes} more bytes, and an answer has at most {LARGEST}"
            ))
        })?;

        Ok(())
    }

    /// Expects this many parts, in place of the one that announces them.
    fn expect_parts(&mut self, parts: u64) -> io::Result<()> {
        if parts > MOST - self.parts {
            return Err(refused(format!(
                "{parts} more parts, and an answer has at most {MOST}"
            )));
        }
        self.parts += parts;
        self.open = self.open - 1 + parts;
        Ok(())
    }
}

/// Reads a count as the library does. `None` if it is negative, which means an absent value.
fn count(text: &[u8]) -> io::Result<Option<u64>> {
    let number = std::str::from_utf8(text).ok();
    let number = number.and_then(|text| text.trim().parse::<i64>().ok());
    let number = number.ok_or_else(|| refused("a count that is no number".to_owned()))?;
    Ok(u64::try_from(number).ok())
}

/// Reads a count that may not be negative.
fn needed(text: &[u8]) -> io::Result<u64> {
    count(text)?.ok_or_else(|| refused("a count below zero".to_owned()))
}

fn refused(what: String) -> io::Error {
    let message = format!("the server announces what no Redis has to say here: {what}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses bytes in pieces of each length, and checks that the outcome is the same.
    fn followed(bytes: &[u8]) -> Result<Answers, String> {
        let in_pieces = |length: usize| {
            let mut answers = Answers::default();
            let mut pieces = bytes.chunks(length);
            let outcome = pieces.try_for_each(|piece| answers.follow(piece));
            outcome.map(|()| answers).map_err(|error| error.to_string())
        };
        let whole = in_pieces(bytes.len());
        for length in 1..bytes.len().min(64) {
            let pieces = in_pieces(length);
            assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "{length}");
        }
        whole
    }

    #[test]
    fn what_a_server_says_is_followed_to_the_end_of_each_answer() {
        for answers in [
            "+OK\r\n+OK\r\n",
            "-ERR unknown command\r\n:12\r\n",
            "$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n>0\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$12\r\ntidings.shop\r\n:1\r\n",
            "*3\r\n$7\r\nmessage\r\n$12\r\ntidings.shop\r\n$4\r\n\r\n\r\n\r\n",
            "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*2\r\n*0\r\n~1\r\n#t\r\n",
            "|1\r\n+ttl\r\n:3600\r\n>2\r\n+message\r\n_\r\n",
            "=8\r\ntxt:text\r\n!5\r\nERR x\r\n,1.5\r\n(123\r\n",
            "+a lone \n is no end\r\n",
        ] {
            let end = followed(answers.as_bytes()).expect(answers);
            assert_eq!((end.open, end.body, end.line.len()), (0, 0, 0), "{answers}");
        }
    }

    #[test]
    fn what_is_announced_beyond_the_bound_is_refused_at_once() {
        let nested = "*1000\r\n*1000\r\n";
        for announced in [
            "*1024\r\n",
            "*2147483647\r\n",
            "*9223372036854775807\r\n",
            "* +1024 \r\n",
            "~1024\r\n",
            ">1024\r\n",
            "%512\r\n",
            "%9223372036854775807\r\n",
            "|512\r\n",
            "$65536\r\n",
            "$2147483647\r\n",
            "$9223372036854775807\r\n",
            "=65536\r\n",
            "!65536\r\n",
            "+OK\r\n*2\r\n:1\r\n*1024\r\n",
            nested,
        ] {
            let error = followed(announced.as_bytes()).expect_err(announced);
            assert!(error.contains("at most"), "{announced}: {error}");
        }
        for wrong in [
            "*x\r\n",
            "*\r\n",
            "$1 1\r\n",
            "%-1\r\n",
            "=-1\r\n",
            "*1\n\r\n2\r\n",
        ] {
            let error = followed(wrong.as_bytes()).err();
            let expected = wrong == "*1\n\r\n2\r\n";
            assert_eq!(error.is_none(), expected, "{wrong:?}: {error:?}");
        }
    }

    #[test]
    fn an_answer_that_grows_without_an_announcement_is_refused_too() {
        let line = [b"+".as_slice(), &[b'a'; LARGEST]].concat();
        let value = format!("$98\r\n{}\r\n", "a".repeat(98));
        let values = format!("*1000\r\n{}", value.repeat(1_000));
        for bytes in [line.as_slice(), values.as_bytes()] {
            let mut answers = Answers::default();
            let error = answers.follow(bytes).expect_err("too long");
            assert!(error.to_string().contains("65536"), "{error}");
        }
    }
}
