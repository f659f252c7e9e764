//! [`Link`]: the connection over which the log is read. Its epoch is checked before the first use.
//!
//! `data_version` is specific to a connection. This one never writes, so every commit changes it.

use std::sync::Arc;

use sqlx::SqliteConnection;
use tidings_core::log::{Epoch, Position};

use super::{
    commits::Place,
    epoch::{Reason, establish, facts},
    error::SqliteLogError,
    read::Head,
    record::Decoder,
    settings::Settings,
};

/// A checked connection, and what was read over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: SqliteConnection,
    pub(super) epoch: Epoch,
    pub(super) decoder: Decoder,
    /// The last read that reached the end of the log.
    pub(super) last: Option<Last>,
    /// The version of the schema when capture was last checked.
    pub(super) schema: Option<i64>,
    /// The page that holds the number of the log's last record, if it was looked up.
    pub(super) place: Option<Place>,
}

/// A read that reached the end of the log. While `data_version` stays the same, a new read would
/// see the same.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) version: i64,
    pub(super) at: Position,
    pub(super) node: Option<Arc<str>>,
    pub(super) head: Head,
}

impl Link {
    /// Opens a connection, and reads the epoch; begins one if the last has ended.
    pub(super) async fn open(settings: &Settings, reason: Reason) -> Result<Self, SqliteLogError> {
        let mut connection = settings.location.connect_reader().await?;
        let facts = facts(settings.identity.as_ref());
        let epoch = establish(&mut connection, &settings.writer, &facts, reason).await?;
        Ok(Self {
            connection,
            epoch,
            decoder: Decoder::of(settings.schemas.iter().chain(&settings.recorded)),
            last: None,
            schema: None,
            place: None,
        })
    }
}
