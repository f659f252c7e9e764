//! Wake-ups: hints that something was committed, on their way faster than the log is polled.
//!
//! A wake-up may be lost, doubled, late or reordered; none of that can make a reader wrong, only
//! slow. One that is not authentic, or of another epoch, makes its reader look into the log and
//! nothing more.

use super::{LogError, LogFuture, Mark};

/// A hint that the log has grown.
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
}

/// A cache key as wake-ups name it: a digest under the cluster's key, so that no secret value
/// leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

/// A listener for wake-ups.
pub trait WakeUps: std::fmt::Debug + Send + 'static {
    /// Waits for the next wake-up. Those that arrive while nothing waits are kept, or folded into
    /// one [`Wake::Look`].
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

    /// Wakes the other nodes. Never waits; it may be lost.
    fn wake(&self);
}
