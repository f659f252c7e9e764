//! [`Link`]: the connection that the log is read over, which was checked against the epoch before
//! it was used.

use std::{future::Future, sync::Arc};

use sqlx::{ConnectOptions as _, PgConnection};
use tidings_core::{
    clock::Clock,
    log::{Epoch, LogError},
};

use super::{
    epoch::{establish, refuse_standby},
    error::PgLogError,
    record::Lexicon,
    settings::PgLogSettings,
    watch::Wanted,
};
use crate::logs::limit;

/// A checked connection, and what was learnt over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: PgConnection,
    pub(super) epoch: Epoch,
    pub(super) wanted: Wanted,
    pub(super) lexicon: Lexicon,
}

impl Link {
    /// Connects, refuses a standby, and learns the epoch; begins one if the last has ended.
    pub(super) async fn open(settings: &PgLogSettings) -> Result<Self, PgLogError> {
        let mut connection = settings.options.connect().await?;
        refuse_standby(&mut connection).await?;
        let epoch = establish(&mut connection).await?;
        let wanted = Wanted::of(&settings.schemas);
        Ok(Self {
            connection,
            epoch,
            wanted,
            lexicon: Lexicon::of(settings.schemas.iter().chain(&settings.recorded)),
        })
    }
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
