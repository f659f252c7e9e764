//! [`Link`]: the connection that the log is read over, which was checked against the epoch before
//! it was used.
//!
//! `data_version` is a connection's own: this one never writes, so that each commit by any other
//! moves it.

use std::sync::Arc;

use sqlx::SqliteConnection;
use tidings_core::log::{Epoch, Position};

use super::{
    commits::Place,
    epoch::{Ask, establish, facts},
    error::SqliteLogError,
    read::Head,
    record::Lexicon,
    settings::Settings,
};

/// A checked connection, and what was learnt over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: SqliteConnection,
    pub(super) epoch: Epoch,
    pub(super) lexicon: Lexicon,
    /// What the last read that had all has seen.
    pub(super) last: Option<Last>,
    /// The schema at the last time that capture was looked at.
    pub(super) schema: Option<i64>,
    /// Where the log says what its last record is, as far as it was looked for.
    pub(super) place: Option<Place>,
}

/// A read after which nothing was left. While `data_version` stays, another one would see the same.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) version: i64,
    pub(super) at: Position,
    pub(super) node: Option<Arc<str>>,
    pub(super) head: Head,
}

impl Link {
    /// Opens a connection, and learns the epoch; begins one if the last has ended.
    pub(super) async fn open(settings: &Settings, ask: Ask) -> Result<Self, SqliteLogError> {
        let mut connection = settings.location.connect_reader().await?;
        let facts = facts(settings.identity.as_ref());
        let epoch = establish(&mut connection, &settings.pen, &facts, ask).await?;
        Ok(Self {
            connection,
            epoch,
            lexicon: Lexicon::of(settings.schemas.iter().chain(&settings.recorded)),
            last: None,
            schema: None,
            place: None,
        })
    }
}
