//! [`OpenOptions`]: the options for opening a store.

use std::{fmt, time::Duration};

use super::Store;
use crate::{
    api::kind::open,
    error::Error,
    settings::{Logging, Pooler, Settings, Sharing},
};

/// The options for opening a store. Made by [`Store::options`].
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn open() -> Result<(), tidings_store::Error> {
/// use tidings_store::{Pooler, Store};
///
/// let store = Store::options("postgres://kim@db.example/shop")
///     .connections(32)
///     .timeout(Duration::from_secs(2))
///     .pooler(Pooler::Transaction)
///     .open()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct OpenOptions {
    pub(super) url: String,
    pub(super) settings: Settings,
}

impl OpenOptions {
    /// Sets the maximum number of connections to PostgreSQL, 1 to 1,000; 16 by default.
    pub fn connections(mut self, connections: usize) -> Self {
        self.settings.connections = connections;
        self
    }

    /// Sets how long a call may wait for the database (for a connection, its turn, a row's lock or
    /// an answer); 5 s by default. A commit whose answer is lost takes up to twice as long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how long a transaction may stay open, from its beginning to its commit; 10 s by
    /// default. A longer one is rolled back ([`Error::TooLong`]). On SQLite all other writes wait
    /// for it, each no longer than [`timeout`](Self::timeout); on PostgreSQL only writes of the
    /// same rows wait.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transaction_timeout = timeout;
        self
    }

    /// Sets the pooler between the store and PostgreSQL; none by default.
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.settings.pooler = pooler;
        self
    }

    /// Sets whether a SQLite file keeps a log, through which the node sees every program's writes;
    /// none by default. PostgreSQL and a shared file always keep one.
    pub fn logging(mut self, logging: Logging) -> Self {
        self.settings.logging = logging;
        self
    }

    /// Sets whether other nodes may use the same database; by default they may not. On SQLite these
    /// are other processes on the same host, and each write takes one more lock of the operating
    /// system.
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.settings.sharing = sharing;
        self
    }

    /// Opens the database; see [`Store::open`].
    ///
    /// # Errors
    ///
    /// As [`Store::open`]; [`Error::Setting`] for an option that is out of range.
    pub async fn open(self) -> Result<Store, Error> {
        self.settings.check()?;
        Ok(Store::over(open(&self.url, self.settings).await?))
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
