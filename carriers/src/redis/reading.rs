//! [`Reading`]: how far a connection may read ahead of its listener, and why it has ended.
//!
//! The client library puts every message into a queue without a bound. A flood of small messages,
//! of anything that may publish, would fill the memory of a node whose listener has other things to
//! do. So a connection stops reading while [`AHEAD`] bytes are not taken, and the flood waits at
//! the server, which has a bound of its own.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::task::AtomicWaker;
use tidings_core::log::{EngineError, LogError};

use crate::broker::lost;

/// The most bytes of one answer. That to a greeting has some hundred, a wake-up fewer.
pub(super) const LARGEST: usize = 64 << 10;

/// The most bytes that are read and not taken. With twice the size of an answer there is a whole
/// one among them, for which the listener is woken.
const AHEAD: usize = 2 * LARGEST;

/// What a connection and its listener know of each other.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// All bytes that were read. It wraps.
    read: AtomicUsize,
    /// Those of them that are surely taken.
    taken: AtomicUsize,
    /// What reads, while it may not.
    reader: AtomicWaker,
    refused: OnceLock<String>,
}

impl Reading {
    /// Registers what reads, unless it may.
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

        // What was taken before the registration has woken no one.
        has_room()
    }

    /// Notes that bytes are read.
    pub(super) fn add(&self, bytes: usize) {
        self.read.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Returns how much was read so far.
    pub(super) fn so_far(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }

    /// Notes that all is taken that was read [so far](Self::so_far) then.
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

    /// Returns why it has ended: of a refusal the library tells nothing.
    pub(super) fn why_it_ended(&self) -> LogError {
        match self.refused.get() {
            Some(why) => LogError::Unreachable(EngineError::from(why.clone())),
            None => lost(std::io::ErrorKind::ConnectionReset),
        }
    }
}
