//! [`Installer`]: manages capture from outside a node, as a command does.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tidings_core::Schema;

use super::{
    capture::{self, InstallOptions},
    error::PgLogError,
    status,
};
use crate::{
    logs::status::{Installed, Status},
    postgres::address::shown,
};

/// How long connecting may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection that installs, removes and checks capture.
#[derive(Debug)]
pub struct Installer {
    connection: PgConnection,
}

impl Installer {
    /// Connects to a database by its URL, `postgres://user@host:port/database`.
    ///
    /// # Errors
    ///
    /// The URL is not valid ([`PgLogError::Url`], which never shows it), or the database cannot be
    /// reached in time.
    pub async fn connect(url: &str) -> Result<Self, PgLogError> {
        let known = ["postgres://", "postgresql://"];
        let options = url.parse::<PgConnectOptions>();
        let options = options
            .ok()
            .filter(|_| known.iter().any(|scheme| url.starts_with(scheme)))
            .ok_or(PgLogError::Url)?
            .application_name("tidings capture");
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let connected = tokio::time::timeout(LIMIT, options.connect()).await;

        match connected.map_err(late).and_then(|connected| connected) {
            Ok(connection) => Ok(Self { connection }),
            Err(source) if source.as_database_error().is_none() => Err(PgLogError::Unreachable {
                database: shown(&options),
                source,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Installs the triggers for the tables of the schemas, and the log if need be. Idempotent.
    ///
    /// # Errors
    ///
    /// See [`install`](super::install).
    pub async fn install(
        &mut self,
        schemas: &[&'static Schema],
        options: InstallOptions,
    ) -> Result<Installed, PgLogError> {
        capture::install(&mut self.connection, schemas, options).await
    }

    /// Removes the triggers of every entity; the log stays. Refused while a node runs on the
    /// database.
    ///
    /// # Errors
    ///
    /// See [`remove`](super::remove).
    pub async fn remove(&mut self) -> Result<Vec<String>, PgLogError> {
        capture::remove(&mut self.connection).await
    }

    /// Reports which writes are captured and which are not.
    ///
    /// # Errors
    ///
    /// See [`status`](super::status).
    pub async fn status(&mut self, schemas: &[&'static Schema]) -> Result<Status, PgLogError> {
        let mut transaction = self.connection.begin().await?;
        let status = status::status(&mut transaction, schemas).await?;
        // A pooler may lend this session to others next.
        transaction.clear_cached_statements().await?;
        transaction.commit().await?;
        Ok(status)
    }
}
