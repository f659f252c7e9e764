//! [`Start`]: what a database keeps for the nodes that start on it: a key, and a count of starts.
//!
//! The key is made once, at random, and is never changed, so that what one node signs another one
//! on the same database can check, after a restart too. It can be read by any user who may read the
//! tables. A database in memory takes its key along when it goes.

use std::fmt;

/// A start of a node on a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The random key of the database.
    pub key: DatabaseKey,
    /// How many nodes have started on it, this one included.
    pub number: u64,
}

/// The random key of a database. It shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseKey([u8; 32]);

impl DatabaseKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns its bytes, to derive other keys from.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseKey(..)")
    }
}
