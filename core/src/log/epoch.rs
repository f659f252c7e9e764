//! [`Epoch`]: identifies a log, so that a cursor into a lost or recreated one is noticed.

use std::fmt;

use uuid::Uuid;

/// The identity of a log. Two epochs are the same log only if they are equal.
///
/// An engine makes a new one whenever it cannot rule out that commits were lost or marks were
/// handed out twice: after a crash, a promotion, a restored backup, a recreated stream. It digests
/// whatever distinguishes such logs into [`id`](Self::id).
///
/// The number orders the epochs of one log: a later epoch has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Higher for a later epoch of the same log.
    pub number: u64,
    /// Random, or a digest of what identifies the log.
    pub id: Uuid,
}

impl Epoch {
    /// Makes an epoch of its number and id.
    #[must_use]
    pub fn new(number: u64, id: Uuid) -> Self {
        Self { number, id }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.id.simple())
    }
}
