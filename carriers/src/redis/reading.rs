//! [`Reading`]: how far a connection may read ahead of its listener, and why it has ended.
//!
//! The client library puts every message into an unbounded queue. Any client that may publish could
//! fill the memory of a node with small messages while its listener is busy. So a connection stops
//! reading while [`AHEAD`] bytes are not taken, and the flood waits at the server, which has a
//! bound of its own.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::task::AtomicWaker;
use tidings_core::log::{EngineError, LogError};

use crate::broker::lost;

/// The maximum number of bytes of an answer. The answer to a handshake has a few hundred, a wake-up
/// fewer than 7,500.
pub(super) const LARGEST: usize = 64 << 10;

/// The maximum number of bytes that are read but not taken. It is twice the size of an answer, so
/// the bytes include a complete one, for which the listener is woken.
const AHEAD: usize = 2 * LARGEST;

/// The state that a connection and its listener share.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The number of bytes that were read. It wraps.
    read: AtomicUsize,
    /// How many of them are known to be taken.
    taken: AtomicUsize,
    /// The waker of the reader, while it must not read.
    reader: AtomicWaker,
    refused: OnceLock<String>,
}

impl Reading {
    /// Returns whether the reader may read. If not, registers its waker.
    pub(super) fn may_read(&self, reader: &std::task::Waker) -> bool {
        let has_room = || {
            let (read, taken) = (
                self.read.load(Ordering::SeqCst),
                self.taken.load(Ordering::SeqCst),
            );
            read.wrapping_sub(taken) < AHEAD
        };
        if has_room() {
            return true;
        }
        self.reader.register(reader);

        // Again, because bytes that were taken before the registration have woken no one.
        has_room()
    }

    /// Notes that this many bytes were read.
    pub(super) fn add(&self, bytes: usize) {
        self.read.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Returns how many bytes were read so far.
    pub(super) fn so_far(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }

    /// Notes that everything is taken that was read when [`so_far`](Self::so_far) was called.
    pub(super) fn took(&self, so_far: usize) {
        self.taken.store(so_far, Ordering::SeqCst);
        self.reader.wake();
    }

    /// Notes why the connection was given up.
    pub(super) fn refuse(&self, why: &std::io::Error) {
        let _ = self.refused.set(why.to_string()); // the first counts
    }

    /// Returns whether the connection was given up.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    /// Returns why the connection has ended. The library does not report a refusal.
    pub(super) fn why_it_ended(&self) -> LogError {
        match self.refused.get() {
            Some(why) => LogError::Unreachable(EngineError::from(why.clone())),
            None => lost(std::io::ErrorKind::ConnectionReset),
        }
    }
}
