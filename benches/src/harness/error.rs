//! [`BenchError`]: why a group of subjects has no result.

use std::{error::Error, fmt, io};

/// Why a group of subjects could not be measured or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum BenchError {
    /// Two contestants did not get the same results from the same input.
    Checksums {
        /// The subject.
        subject: String,
        /// The index of the thread.
        thread: usize,
        /// The number of the turn.
        turn: usize,
        /// The first contestant and its checksum.
        left: (String, u64),
        /// The one that differs, and its checksum.
        right: (String, u64),
    },
    /// A subject's own check failed.
    Failed(String),
    /// The result could not be written.
    Write(io::Error),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksums {
                subject,
                thread,
                turn,
                left,
                right,
            } => write!(
                f,
                "{subject}: thread {thread}, turn {turn}: {} has checksum {} but {} has {}",
                left.0, left.1, right.0, right.1
            ),
            Self::Failed(why) => f.write_str(why),
            Self::Write(_) => f.write_str("the result cannot be written"),
        }
    }
}

impl Error for BenchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Write(error) => Some(error),
            Self::Checksums { .. } | Self::Failed(_) => None,
        }
    }
}
