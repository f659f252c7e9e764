//! [`Link`]: the connection that the log is read over, which was checked against the epoch before
//! it was used.

use std::{future::Future, sync::Arc};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tidings_core::{
    clock::Clock,
    log::{Epoch, LogError},
};

use super::{
    epoch::{establish, refuse_standby},
    error::PgLogError,
    record::{Lexicon, Stored},
    settings::PgLogSettings,
    tables::run,
    watch::Wanted,
};
use crate::{logs::limit, settings::Pooler};

/// A checked connection, and what was learnt over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: PgConnection,
    pooler: Pooler,
    pub(super) epoch: Epoch,
    pub(super) wanted: Wanted,
    pub(super) lexicon: Lexicon,
    /// Nothing is asked over it any more.
    pub(super) is_spent: bool,
}

impl Link {
    /// Connects, refuses a standby, and learns the epoch; begins one if the last has ended.
    pub(super) async fn open(settings: &PgLogSettings, pooler: Pooler) -> Result<Self, PgLogError> {
        let mut connection = settings.options.connect().await?;
        let epoch = match pooler {
            Pooler::None => learn(&mut connection).await?,
            Pooler::Transaction => {
                let mut learning = connection.begin().await?;
                let epoch = learn(&mut learning).await?;
                learning.clear_cached_statements().await?;
                learning.commit().await?;
                epoch
            }
        };
        let wanted = Wanted::of(&settings.schemas);
        Ok(Self {
            connection,
            pooler,
            epoch,
            wanted,
            lexicon: Lexicon::of(settings.schemas.iter().chain(&settings.recorded)),
            is_spent: false,
        })
    }

    /// Reads what the lexicon lacks to tell records.
    pub(super) async fn learn(&mut self, records: &[Stored]) -> Result<(), PgLogError> {
        self.lexicon.learn(&mut self.connection, records).await
    }

    /// Begins a call: behind a pooler a transaction, which keeps the session that the call's
    /// statements are prepared in.
    pub(super) async fn begin(&mut self) -> Result<(), PgLogError> {
        match self.pooler {
            Pooler::None => Ok(()),
            Pooler::Transaction => {
                let begin = "begin isolation level read committed";
                run(&mut self.connection, begin).await
            }
        }
    }

    /// Ends a call that went well, and leaves no statement in a session that is lent to others.
    pub(super) async fn end(&mut self) -> Result<(), PgLogError> {
        match self.pooler {
            Pooler::None => Ok(()),
            Pooler::Transaction => {
                self.connection.clear_cached_statements().await?;
                run(&mut self.connection, "commit").await
            }
        }
    }
}

async fn learn(connection: &mut PgConnection) -> Result<Epoch, PgLogError> {
    refuse_standby(connection).await?;
    establish(connection).await
}

/// Waits for a call, but not without end: a link that is half open says nothing at all.
pub(super) async fn in_time<T>(
    clock: &Arc<dyn Clock>,
    call: impl Future<Output = Result<T, PgLogError>>,
) -> Result<T, LogError> {
    limit::in_time(clock, call).await
}

impl From<PgLogError> for LogError {
    fn from(error: PgLogError) -> Self {
        match error {
            PgLogError::Standby
            | PgLogError::NotInstalled
            | PgLogError::Newer { .. }
            | PgLogError::Refused { .. } => Self::Unfit {
                reason: error.to_string(),
            },
            other => Self::Unreachable(Box::new(other)),
        }
    }
}
