//! [`Settings`]: the settings of a store.

use std::time::Duration;

use crate::error::Error;

/// The maximum number of connections to PostgreSQL, by default.
const CONNECTIONS: usize = 16;
/// The upper bound on that maximum.
const MAX_CONNECTIONS: usize = 1_000;
/// How long a call may wait for the database, by default.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a transaction may be open, by default.
const TRANSACTION: Duration = Duration::from_secs(10);
/// The bounds of these time limits.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);
const MOST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The pooler between the store and the database server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// None, or one that gives each connection a session of its own.
    #[default]
    None,
    /// A pooler that lends a server's session for one transaction at a time, like pgbouncer in
    /// transaction mode.
    ///
    /// Then each use of a statement prepares it again, and each read is a transaction of its own. A
    /// second node on the same database goes unnoticed, because the lock that would detect it
    /// belongs to a session. Notifications do not pass, so the node polls the log.
    Transaction,
}

/// Whether a SQLite file keeps a log of its changes, as PostgreSQL always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logging {
    /// No log; the store sees only its own writes. (A log is kept anyway if the file is
    /// [shared](Sharing::Cluster), or if it already has triggers from `tidings capture install`.)
    #[default]
    Off,
    /// Triggers record every program's writes, and a node sees them like its own.
    On,
}

/// Whether other nodes may use the same database; on SQLite, other processes on the same host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// No: this store has the database to itself, and is refused while others use it.
    #[default]
    Alone,
    /// Yes, as members of one cluster: nodes that follow the database's log.
    Cluster,
}

/// The settings with which a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) transaction_timeout: Duration,
    pub(crate) pooler: Pooler,
    pub(crate) logging: Logging,
    pub(crate) sharing: Sharing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            timeout: TIMEOUT,
            transaction_timeout: TRANSACTION,
            pooler: Pooler::None,
            logging: Logging::Off,
            sharing: Sharing::Alone,
        }
    }
}

impl Settings {
    /// Refuses settings that are out of range.
    pub(crate) fn check(self) -> Result<(), Error> {
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return Err(Error::Setting {
                option: "connections",
                given: self.connections.to_string(),
                allowed: "between 1 and 1000".to_owned(),
            });
        }

        check_limit("timeout", self.timeout)?;
        check_limit("transaction_timeout", self.transaction_timeout)?;

        if (self.pooler, self.sharing) == (Pooler::Transaction, Sharing::Cluster) {
            let allowed = "Sharing::Alone through a pooler in transaction mode: members of a cluster need sessions";
            return Err(Error::Setting {
                option: "sharing",
                given: "Sharing::Cluster".to_owned(),
                allowed: allowed.to_owned(),
            });
        }

        Ok(())
    }
}

/// Refuses a time limit that is out of range.
pub(crate) fn check_limit(option: &'static str, limit: Duration) -> Result<(), Error> {
    if (LEAST_TIMEOUT..=MOST_TIMEOUT).contains(&limit) {
        return Ok(());
    }
    Err(Error::Setting {
        option,
        given: format!("{limit:?}"),
        allowed: "between 10 ms and 1 hour".to_owned(),
    })
}
