//! [`Link`]: the connection over which the log is read. Its epoch is checked before the first use.

use std::{future::Future, sync::Arc};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tidings_core::{
    clock::Clock,
    log::{Epoch, LogError},
};

use super::{
    epoch::{establish, refuse_standby},
    error::PgLogError,
    record::{Decoder, Stored},
    settings::PgLogSettings,
    tables::run,
    watch::ExpectedCapture,
};
use crate::{logs::limit, settings::Pooler};

/// A checked connection, and what was read over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: PgConnection,
    pooler: Pooler,
    pub(super) epoch: Epoch,
    pub(super) expected: ExpectedCapture,
    pub(super) decoder: Decoder,
    /// It must not be used again.
    pub(super) is_spent: bool,
}

impl Link {
    /// Connects, refuses a standby, and reads the epoch; begins one if the last has ended.
    pub(super) async fn open(settings: &PgLogSettings, pooler: Pooler) -> Result<Self, PgLogError> {
        let mut connection = settings.options.connect().await?;
        let epoch = match pooler {
            Pooler::None => checked_epoch(&mut connection).await?,
            Pooler::Transaction => {
                let mut checking = connection.begin().await?;
                let epoch = checked_epoch(&mut checking).await?;
                checking.clear_cached_statements().await?;
                checking.commit().await?;
                epoch
            }
        };
        let expected = ExpectedCapture::of(&settings.schemas);
        Ok(Self {
            connection,
            pooler,
            epoch,
            expected,
            decoder: Decoder::of(settings.schemas.iter().chain(&settings.recorded)),
            is_spent: false,
        })
    }

    /// Reads the layouts that the decoder lacks to decode the records.
    pub(super) async fn load_layouts(&mut self, records: &[Stored]) -> Result<(), PgLogError> {
        self.decoder
            .load_layouts(&mut self.connection, records)
            .await
    }

    /// Begins a call. Behind a pooler this begins a transaction, which keeps the session in which
    /// the call's statements are prepared.
    pub(super) async fn begin(&mut self) -> Result<(), PgLogError> {
        match self.pooler {
            Pooler::None => Ok(()),
            Pooler::Transaction => {
                let begin = "begin isolation level read committed";
                run(&mut self.connection, begin).await
            }
        }
    }

    /// Ends a successful call, and leaves no prepared statement in a session that is lent to
    /// others.
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

async fn checked_epoch(connection: &mut PgConnection) -> Result<Epoch, PgLogError> {
    refuse_standby(connection).await?;
    establish(connection).await
}

/// Waits for a call, up to the limit: a half-open connection never answers.
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
