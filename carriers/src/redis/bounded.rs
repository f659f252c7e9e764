//! [`Bounded`]: a connection to a Redis server that may announce only what a carrier has use for.
//!
//! The client library keeps what has come of an answer until the answer is whole, whatever its
//! size: a server that lies, or a program that answers in its place, could fill the memory of a
//! node with one answer. So the bytes are followed on their way to the library, and reading ends
//! with an error at the first answer that is, or says that it will be, larger than [`LARGEST`]
//! bytes or [`MOST`] parts. The library never sees what was refused.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tidings_core::Chain;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reading::{LARGEST, Reading};

/// The most parts of one answer, whatever their nesting. A wake-up has three.
const MOST: u64 = 1_024;

/// A connection whose answers have a bound.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    answers: Answers,
    reading: Arc<Reading>,
    listener: Listener,
}

/// Whether a listener takes what a connection reads, and holds it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Present,
    /// All that comes are answers to what was asked.
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

    /// Returns what its listener is to know of it.
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
            // Others tell it where that is news: it may come again with every connection.
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

/// How far the answers of a server have been followed.
///
/// An answer is one part. A part is a line; a part that is counted says in its line how many bytes
/// or how many parts come behind it.
#[derive(Debug, Default)]
struct Answers {
    /// The bytes that the present answer has so far.
    bytes: usize,
    /// The parts that it has or has announced, itself among them.
    parts: u64,
    /// Those that are still to come; 0 between two answers.
    open: u64,
    /// The line that is being read. The bytes behind it are bounded by `bytes`.
    line: Vec<u8>,
    /// What is still to come of the bytes that a line has announced.
    body: usize,
}

impl Answers {
    /// Follows bytes of the server, to the first that is refused.
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
                // The library takes a line to its first `\r\n`; one that ends otherwise goes on.
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

    /// Expects bytes, and the end of a line behind them.
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

    /// Expects parts, in place of the one that announces them.
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

/// Reads a count as the library does; a negative one is an absence.
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

    /// Follows bytes in pieces of each length up to their own, all with one outcome.
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
