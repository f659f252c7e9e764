//! [`Installer`]: manages capture from outside a node, as a command does.

use std::time::Duration;

use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tidings_core::{Chain, Schema};

use super::{
    capture::{install_within, remove_within},
    error::SqliteLogError,
    status,
    tables::run,
};
use crate::{
    error::Error,
    logs::status::{Installed, Status},
    migration::RecordedFields,
    settings::Sharing,
    sqlite::{
        codes::is_busy,
        connection::execute,
        location::{Location, Lock, canonical},
    },
};

/// How long to wait for another program that holds the file.
const LIMIT: Duration = Duration::from_secs(5);

/// A connection that installs, removes and checks capture.
#[derive(Debug)]
pub struct Installer {
    connection: SqliteConnection,
    path: std::path::PathBuf,
}

impl Installer {
    /// Opens a database file by its URL, `sqlite://PATH`. The file must exist.
    ///
    /// # Errors
    ///
    /// The URL names no file, or the file is not a database ([`SqliteLogError::Open`]), or another
    /// program holds it ([`SqliteLogError::Busy`]).
    pub async fn open(url: &str) -> Result<Self, SqliteLogError> {
        let refused = |error: Error| SqliteLogError::Open {
            reason: Chain(&error).to_string(),
        };
        let path = match Location::parse(url).map_err(refused)? {
            Location::File(path) => canonical(&path).map_err(refused)?,
            Location::Memory => {
                return Err(SqliteLogError::Open {
                    reason: "a database in memory is one program's alone: expected sqlite://PATH"
                        .to_owned(),
                });
            }
        };
        if !path.exists() {
            return Err(SqliteLogError::Open {
                reason: format!(
                    "{} does not exist: `tidings migrate apply` makes it",
                    path.display()
                ),
            });
        }

        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .busy_timeout(LIMIT);
        let opened = async {
            let mut connection = options.connect().await?;
            execute(&mut connection, "SELECT count(*) FROM sqlite_schema").await?;
            Ok(connection)
        };

        match opened.await {
            Ok(connection) => Ok(Self { connection, path }),
            Err(failure) if is_busy(&failure) => Err(SqliteLogError::Busy(failure)),
            Err(failure) => Err(refused(Location::File(path).open_error(failure))),
        }
    }

    /// Installs the triggers for the tables of the schemas, and the log if need be. Idempotent.
    ///
    /// # Errors
    ///
    /// A table is missing, lacks a column or cannot be captured (all such faults are reported at
    /// once), or another program holds the file. Then nothing was changed.
    pub async fn install(
        &mut self,
        schemas: &[&'static Schema],
    ) -> Result<Installed, SqliteLogError> {
        self.begin().await?;
        let recorded = RecordedFields::SchemasAndEarlier;
        let installed = install_within(&mut self.connection, schemas, recorded).await;
        self.end(installed).await
    }

    /// Removes the triggers of every entity; the log stays. Refused while a node has the file open.
    /// Returns the tables that had triggers.
    ///
    /// # Errors
    ///
    /// See [`SqliteLogError`]. Then nothing was changed.
    pub async fn remove(&mut self) -> Result<Vec<String>, SqliteLogError> {
        let _alone =
            Lock::take(&self.path, Sharing::Alone).map_err(|_| SqliteLogError::Refused {
                reason: "a node runs on this file, and would miss every change: stop it first"
                    .to_owned(),
            })?;
        self.begin().await?;
        let removed = remove_within(&mut self.connection).await;
        self.end(removed).await
    }

    /// Reports which writes are captured and which are not.
    ///
    /// # Errors
    ///
    /// See [`SqliteLogError`]. A missing table or log is part of the answer and not an error.
    pub async fn status(&mut self, schemas: &[&'static Schema]) -> Result<Status, SqliteLogError> {
        status::status(&mut self.connection, schemas).await
    }

    async fn begin(&mut self) -> Result<(), SqliteLogError> {
        run(&mut self.connection, "BEGIN IMMEDIATE".to_owned()).await
    }

    async fn end<T>(&mut self, done: Result<T, SqliteLogError>) -> Result<T, SqliteLogError> {
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        run(&mut self.connection, end.to_owned()).await?;
        done
    }
}
