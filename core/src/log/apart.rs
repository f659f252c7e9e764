//! [`LogApart`]: a log that is no part of a database.

use std::{fmt, sync::Arc};

use super::{KeptLog, LogError, Members};
use crate::{clock::Clock, schema::Schema, spawn::Spawn};

/// A log on a server of its own, for nodes that have no store.
pub trait LogApart: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of server, such as `redis`.
    fn engine(&self) -> &'static str;

    /// Opens the log over links of its own. Asks the server nothing yet.
    ///
    /// # Errors
    ///
    /// [`LogError::Unfit`] if the log cannot carry what these schemas need, such as secrets without
    /// a key for their digests.
    fn open(&self, needs: &ApartNeeds) -> Result<Arc<dyn KeptLog>, LogError>;

    /// Opens the members' table beside the log. Asks the server nothing yet.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn members(&self, needs: &ApartNeeds) -> Result<Arc<dyn Members>, LogError>;

    /// Returns the cluster's key, if the log was given one: tokens are signed with it.
    fn key(&self) -> Option<[u8; 32]>;
}

/// What a log apart is opened with.
#[derive(Clone, Debug)]
pub struct ApartNeeds {
    /// The node's name.
    pub node: Arc<str>,
    /// The entities that the node declares. The log holds the keys of one that has
    /// secrets as digests.
    pub schemas: Vec<&'static Schema>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Where the log's own tasks run.
    pub spawn: Arc<dyn Spawn>,
}
