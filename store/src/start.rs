//! [`Start`]: what a database keeps for the nodes that start on it: a key, and a count of starts.
//!
//! The key is random and never changes. So a node can check what another node on the same database
//! has signed, even after a restart. Any user who may read the tables can read the key. The key of
//! an in-memory database is lost with it.

use std::fmt;

/// A start of a node on a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The random key of the database.
    pub key: DatabaseKey,
    /// How many nodes have started on it, this one included.
    pub number: u64,
}

/// The random key of a database. Its `Debug` form does not show it.
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
