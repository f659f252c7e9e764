//! Wake-ups: hints that something was committed, on their way faster than the log is polled.
//!
//! A wake-up may be lost, doubled, late or reordered; none of that can make a reader wrong, only
//! slow. One that is not authentic, or of another epoch, makes its reader look into the log and
//! nothing more.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{LogError, LogFuture, Mark};

/// A hint that there is something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Read the log.
    Look,
    /// A commit whose keys are named: evict them on sight, then read the log. Authentic: the
    /// engine that returns it has checked that it was made under the cluster's key.
    Committed {
        /// The commit.
        mark: Mark,
        /// Every key that the commit touched, as digests.
        keys: Vec<Digest>,
    },
    /// A member has reported what it has applied: read the members' rows, if a caller waits for
    /// that. The log has nothing new. Where it cannot be told from a [`Look`](Self::Look), it is
    /// one.
    Reported,
}

impl Wake {
    /// Returns the word that stands for it where no keys are carried; empty for a
    /// [`Look`](Self::Look).
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Look | Self::Committed { .. } => "",
            Self::Reported => "reported",
        }
    }

    /// Reads the word back. One that is not known, of a later version or of another program, is a
    /// [`Look`](Self::Look).
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word {
            "reported" => Self::Reported,
            _ => Self::Look,
        }
    }
}

/// The wake-up to be sent next, where any number that are asked for while one is being sent make
/// one more, without keys. A [`Wake::Look`] includes a [`Wake::Reported`].
#[derive(Debug, Default)]
pub struct NextWake(AtomicU8);

impl NextWake {
    const REPORTED: u8 = 1;
    const LOOK: u8 = 2;

    /// Asks for one.
    pub fn ask(&self, wake: &Wake) {
        let asked = match wake {
            Wake::Reported => Self::REPORTED,
            Wake::Look | Wake::Committed { .. } => Self::LOOK,
        };
        self.0.fetch_max(asked, Ordering::SeqCst);
    }

    /// Takes the one to be sent; none if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Wake> {
        match self.0.swap(0, Ordering::SeqCst) {
            0 => None,
            Self::REPORTED => Some(Wake::Reported),
            _ => Some(Wake::Look),
        }
    }
}

/// A cache key as wake-ups name it: a digest under the cluster's key, so that no secret value
/// leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

/// A listener for wake-ups.
pub trait WakeUps: std::fmt::Debug + Send + 'static {
    /// Waits for the next wake-up. Those that arrive while nothing waits are kept, or folded into
    /// one [`Wake::Look`], which includes all others.
    ///
    /// # Cancel safety
    ///
    /// A wake-up that was received is not lost.
    ///
    /// # Errors
    ///
    /// The link is gone, and wake-ups with it: listen again, after a pause.
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>>;
}

/// Carries wake-ups from node to node in place of the log's own way, for example over a broker.
///
/// It may lose, double and delay them, and hand a node its own: that costs time or a read of the
/// log, and nothing else. So a broker that is down makes changes arrive at the next poll.
pub trait WakeCarrier: std::fmt::Debug + Send + Sync + 'static {
    /// Starts to listen for the wake-ups of other nodes, from now on.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached: listen again, after a pause.
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>>;

    /// Wakes the other nodes. Never waits; it may be lost. A carrier that has no room for the
    /// [word](Wake::word) sends all kinds alike, as a [`Wake::Look`]; keys are not carried.
    fn wake(&self, wake: Wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_known_is_a_look() {
        assert_eq!(Wake::of_word(Wake::Reported.word()), Wake::Reported);
        for word in [Wake::Look.word(), "reporte", "Reported", "2"] {
            assert_eq!(Wake::of_word(word), Wake::Look, "{word}");
        }
    }

    #[test]
    fn what_is_asked_for_meanwhile_makes_one_that_includes_all() {
        let next = NextWake::default();
        assert_eq!(next.take(), None);
        next.ask(&Wake::Reported);
        next.ask(&Wake::Reported);
        assert_eq!(next.take(), Some(Wake::Reported));
        next.ask(&Wake::Look);
        next.ask(&Wake::Reported);
        assert_eq!((next.take(), next.take()), (Some(Wake::Look), None));
    }
}
