//! [`LogWriter`]: writes to the log itself, in turn with the store's writes.

use std::{sync::Arc, time::Duration};

use sqlx::SqliteConnection;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::error::SqliteLogError;
use crate::{
    error::{DatabaseError, Error},
    sqlite::connection::{WAITED_TOO_LONG, Writer},
};

/// The store's only writer, for writes to the log other than the changes of rows.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    writer: Arc<Mutex<Writer>>,
    /// How long a call waits for its turn and for other programs.
    patience: Duration,
}

impl LogWriter {
    pub(crate) fn new(writer: Arc<Mutex<Writer>>, patience: Duration) -> Self {
        Self { writer, patience }
    }

    /// Runs a call in a transaction of its own.
    ///
    /// Not cancel safe: a transaction that is being begun stays open until the next write.
    pub(super) async fn write<T>(
        &self,
        call: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, SqliteLogError>,
    ) -> Result<T, SqliteLogError> {
        self.write_within(self.patience, call).await
    }

    /// Does the same with a shorter time limit.
    pub(super) async fn write_within<T>(
        &self,
        patience: Duration,
        call: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, SqliteLogError>,
    ) -> Result<T, SqliteLogError> {
        let until = Instant::now() + patience.min(self.patience);
        let busy = |_| Error::Busy(DatabaseError::other(WAITED_TOO_LONG));
        let mut writer = timeout_at(until, self.writer.lock()).await.map_err(busy)?;
        if let Err(error) = writer.begin(until).await {
            writer.rollback().await;
            return Err(error.into());
        }

        let done = match call(writer.connection_in_transaction()?).await {
            Ok(done) => writer.commit().await.map(|()| done).map_err(Into::into),
            Err(error) => Err(error),
        };
        if done.is_err() {
            writer.rollback().await;
        }
        done
    }
}
