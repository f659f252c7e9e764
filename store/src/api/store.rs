//! [`Store`]: the database, its lock and its connections; creates tables from schemas.

// The options for opening a store.
mod options;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use tidings_core::{
    Cause, Entity, Schema, Timestamp, check_all,
    clock::Clock,
    log::{CommitName, KeptLog, Members},
};
use tokio::{runtime::Handle, sync::Mutex as AsyncMutex};

pub use self::options::OpenOptions;
use crate::{
    api::{
        dao::Dao,
        kind::{Kind, kind_of},
        shared::Shared,
        table::{Table, table_of},
        transaction::{Transaction, TransactionOptions},
    },
    engine::Engine,
    error::Error,
    follow::LogNeeds,
    meter::Meter,
    settings::Settings,
    sink::ChangeSink,
    start::Start,
    tableless::TablelessEngine,
    write::{attached::Attached, catalog::Catalog, route::Route},
};

/// A database, opened for this process alone. Cheap to clone; all clones are one store.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_store::Error> {
/// let store = tidings_store::Store::open("sqlite::memory:").await?;
/// assert!(store.health().await.reachable);
/// store.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// The arguments of [`Store::attach`].
pub struct Attachment {
    /// The schemas of all entities.
    pub schemas: Vec<&'static Schema>,
    /// The receiver of commits.
    pub sink: Arc<dyn ChangeSink>,
    /// The source of the times of creation and update.
    pub clock: Arc<dyn Clock>,
    /// The runtime of writes. It should outlive the store: a write that is running when the runtime
    /// shuts down ends in doubt. Its timers must be enabled (`enable_time`), because the turn of a
    /// write has a deadline.
    pub runtime: Handle,
}

/// The state of a store, for status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the database answers.
    pub reachable: bool,
    /// The reason, if it does not.
    pub error: Option<String>,
    /// The kind of database.
    pub engine: &'static str,
    /// The database file; `None` for an in-memory database.
    pub path: Option<PathBuf>,
    /// Whether a write is running.
    pub writer_busy: bool,
}

impl Store {
    /// Opens a database: `sqlite://PATH` (created if it does not exist), `sqlite::memory:` (private
    /// to this store, and gone with it) or `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (which
    /// must exist; only its tables are created).
    ///
    /// A PostgreSQL URL takes the parameters of PostgreSQL's own tools after `?`: `sslmode`,
    /// `sslrootcert`, `sslcert`, `sslkey`, `application_name`, `options`. Its connections live on
    /// the runtime in which you call this, so that runtime must outlive the store.
    ///
    /// A file stays locked until the store is [closed](Self::close) or its last handle is dropped.
    /// A killed process leaves no lock behind. The lock does not keep out other programs; a cache
    /// sees their changes only through a log ([`OpenOptions::logging`]).
    ///
    /// # Errors
    ///
    /// [`Error::Url`], [`Error::Unsupported`]; of a file [`Error::InUse`], [`Error::Open`],
    /// [`Error::NotADatabase`], [`Error::Corrupt`]; of a server [`Error::Unreachable`],
    /// [`Error::DatabaseInUse`], [`Error::Unfit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing and leaves no lock; it may leave an empty file.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::options(url).open().await
    }

    /// Returns the options for opening a store.
    pub fn options(url: impl Into<String>) -> OpenOptions {
        OpenOptions {
            url: url.into(),
            settings: Settings::default(),
        }
    }

    /// Makes a store without tables, for a node whose log is on a server of its own: see
    /// `NodeBuilder::stream` of the crate `tidings`. `server` is the kind of server. Tokens are
    /// signed with the key; without a key they are valid in this process only.
    #[must_use]
    pub fn without_tables(
        server: &'static str,
        log: Arc<dyn KeptLog>,
        key: Option<[u8; 32]>,
    ) -> Self {
        Self::over(Arc::new(TablelessEngine::new(server, log, key)))
    }

    pub(crate) fn over(engine: Arc<dyn Engine>) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                attached: OnceLock::new(),
                attaching: AsyncMutex::default(),
            }),
        }
    }

    /// Checks that [`open`](Self::open) would accept this URL. Opens no file.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] with what is wrong, [`Error::Unsupported`].
    pub fn check_url(url: &str) -> Result<(), Error> {
        match kind_of(url)? {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => crate::sqlite::location::Location::parse(url).map(drop),
            #[cfg(feature = "postgres")]
            Kind::Postgres => crate::postgres::address::Address::parse(url).map(drop),
        }
    }

    /// Creates the tables and connects the store to the receiver of its changes. Call it once per
    /// store.
    ///
    /// This creates missing tables, missing columns that may be absent, and missing indexes; it
    /// does not alter anything that exists. On PostgreSQL, if others hold a lock on a table, it
    /// tries to lock the table briefly and often, and readers go on in between. The last attempt
    /// waits for longer: for the rest of the [time limit](OpenOptions::timeout), and up to 6 s. The
    /// limit is only for these waits. Starts of other nodes and the creation of indexes may take
    /// sixty times as long.
    ///
    /// # Errors
    ///
    /// [`Error::Schemas`] with every fault; [`Error::Incompatible`] with every difference between
    /// the existing tables and the schemas (nothing is changed then); [`Error::AlreadyAttached`];
    /// or the database fails.
    ///
    /// # Cancel safety
    ///
    /// Either all tables are created, or none.
    pub async fn attach(&self, attachment: Attachment) -> Result<(), Error> {
        let Attachment {
            schemas,
            sink,
            clock,
            runtime,
        } = attachment;
        check_all(&schemas)?;

        let engine = &self.shared.engine;
        let catalog = match engine.dialect() {
            Some(dialect) => Catalog::of(dialect, &schemas),
            // Refuses every entity.
            None => {
                engine.lay_out(&schemas).await?;
                Catalog::default()
            }
        };
        let attached = Attached {
            catalog,
            sequence: Arc::default(),
            sink,
            clock,
            runtime,
            meter: Meter::default(),
        };

        let _attaching = self.shared.attaching.lock().await;
        if self.shared.attached.get().is_some() {
            return Err(Error::AlreadyAttached);
        }
        engine.lay_out(&schemas).await?;
        let set = self.shared.attached.set(Arc::new(attached));
        set.map_err(|_| Error::AlreadyAttached)
    }

    /// Counts the start of a node, and returns the count with the database's random key. Call it
    /// once the store is attached.
    ///
    /// # Errors
    ///
    /// The database fails, or may not be written to.
    pub fn start(&self) -> impl Future<Output = Result<Start, Error>> + Send + 'static + use<> {
        let engine = Arc::clone(&self.shared.engine);
        async move { engine.start().await }
    }

    /// Returns the name of a transaction that covers everything that is committed now, in the form
    /// of a commit's own name ([`ChangeSet::commit`](crate::ChangeSet::commit)); `None` if the
    /// database keeps no log. It waits for its turn like a write. So on SQLite it ends when the
    /// sink has received every earlier commit.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], or the database fails.
    pub fn position(
        &self,
    ) -> impl Future<Output = Result<Option<CommitName>, Error>> + Send + 'static + use<> {
        let engine = Arc::clone(&self.shared.engine);
        let attached = self.shared.attached.get().cloned();
        async move {
            let attached = attached.ok_or(Error::NotAttached)?;
            Route::now(engine, &attached.runtime).await
        }
    }

    /// Passes the store's counts to the recorder of the `metrics` crate. Call it before a scrape.
    ///
    /// Counters: `tidings_store_reads_total`, `tidings_store_writes_total` and
    /// `tidings_store_failures_total` (by call and kind). Gauge: `tidings_store_waiting_writers`.
    /// Histograms: `tidings_store_read_seconds` and `tidings_store_write_seconds`; their values are
    /// passed on once, so publish to one recorder only. Before the store is attached there is
    /// nothing to publish.
    pub fn publish_metrics(&self) {
        if let Some(attached) = self.shared.attached.get() {
            attached.meter.publish();
        }
    }

    /// Returns the typed handle of an entity's table.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], [`Error::UnknownEntity`]; [`Error::OtherSchema`] if another struct
    /// of that name was attached.
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, Error> {
        Dao::of(self.table(E::NAME)?)
    }

    /// Returns the untyped handle of an entity's table, by the entity's name.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], [`Error::UnknownEntity`].
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        table_of(&self.shared, name, None)
    }

    /// Begins a transaction over several calls; see [`Transaction`].
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`]; or the database fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no transaction open.
    pub fn begin(
        &self,
    ) -> impl Future<Output = Result<Transaction, Error>> + Send + 'static + use<> {
        self.begin_with(TransactionOptions::new())
    }

    /// Begins a transaction, with options.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin); [`Error::Setting`].
    pub fn begin_with(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<Transaction, Error>> + Send + 'static + use<> {
        Transaction::begin(Arc::clone(&self.shared), options, Cause::current())
    }

    /// Runs a closure in a transaction: commits if it returns `Ok`, and rolls back if it returns an
    /// error, panics, or the future is dropped. See [`Transaction`].
    ///
    /// # Errors
    ///
    /// The error of the closure; or as [`begin`](Self::begin) and [`Transaction::commit`].
    pub async fn transaction<T, E: From<Error>>(
        &self,
        run: impl AsyncFnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.begin().await?;
        match run(&transaction).await {
            Ok(output) => {
                transaction.commit().await?;
                Ok(output)
            }
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Returns the time by which rows expire: the database's clock, or on SQLite the host's.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub fn time(&self) -> impl Future<Output = Result<Timestamp, Error>> + Send + 'static + use<> {
        let engine = Arc::clone(&self.shared.engine);
        async move { engine.time().await }
    }

    /// Opens the log of the database's changes. Triggers write it, so it includes the changes of
    /// other programs. PostgreSQL keeps a log, and so does a SQLite file that was opened with
    /// [`logging`](OpenOptions::logging) or to be [shared](OpenOptions::sharing). `None` if the
    /// database keeps no log. The log connects at its first call.
    #[must_use]
    pub fn log(&self, needs: LogNeeds) -> Option<Arc<dyn KeptLog>> {
        self.shared.engine.log(needs)
    }

    /// Opens the table of the cluster's members beside the log. `None` unless the database was
    /// opened to be [shared](OpenOptions::sharing). The table connects at its first call.
    #[must_use]
    pub fn members(&self, needs: &LogNeeds) -> Option<Arc<dyn Members>> {
        self.shared.engine.members(needs)
    }

    /// Returns the kind of database: `sqlite` or `postgres`. For a store [without
    /// tables](Self::without_tables), returns the kind of server.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.shared.engine.name()
    }

    /// Checks whether the database answers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no other effect.
    pub fn health(&self) -> impl Future<Output = Health> + Send + 'static + use<> {
        let engine = Arc::clone(&self.shared.engine);
        async move {
            let writer_busy = engine.is_busy();
            let answer = engine.ping().await;
            Health {
                reachable: answer.is_ok(),
                error: answer.err().map(|error| error.to_string()),
                engine: engine.name(),
                path: engine.path(),
                writer_busy,
            }
        }
    }

    /// Waits for running reads and writes, closes the connections and releases the file. Later
    /// calls of any handle fail with [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// The database fails to close. The file is released in any case.
    ///
    /// # Cancel safety
    ///
    /// After a cancellation, call it again: it continues.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.engine.close().await
    }

    /// Releases the database without waiting, for a program whose [`close`](Self::close) takes too
    /// long. When this returns, the file, or the lock that keeps other nodes away, is free.
    ///
    /// Later calls fail with [`Error::Closed`]. On SQLite, an open transaction is rolled back and
    /// its commit refused; on PostgreSQL, a running statement continues to its end. A commit that
    /// is running at this moment may still take effect.
    pub fn release(&self) {
        self.shared.engine.release();
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.schemas.iter().map(|schema| schema.name());
        f.debug_struct("Attachment")
            .field("schemas", &names.collect::<Vec<_>>())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
