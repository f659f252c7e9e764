//! [`SqliteEngine`]: one writer, a few readers, and the lock that keeps other stores away, or only
//! those that do not share the file.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{
    Row, RowError, Schema, Timestamp,
    clock::{Clock as _, SystemClock},
    log::{Announce, KeptLog, Members},
};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    engine::{Dialect, Engine, Session, Sql},
    error::{DatabaseError, Error},
    follow::LogNeeds,
    live::Live,
    migration::RecordedFields,
    parameter::Parameter,
    released::Released,
    settings::{Logging, Settings, Sharing},
    sqlite::{
        codes::failed,
        connection::{Reader, Readers, Writer, execute},
        dialect::Sqlite,
        layout::lay_out,
        location::{Identity, Location, Lock, canonical},
        log::{self, LogWriter, SqliteLog, SqliteMembers},
        queue::WriteQueue,
        session::{Records, SqliteSession},
        start::start,
        values::{arguments, decode_live},
    },
    start::Start,
};

/// A database file, or one in memory.
#[derive(Debug)]
pub(crate) struct SqliteEngine {
    location: Location,
    writer: Arc<AsyncMutex<Writer>>,
    readers: Readers,
    /// How long a call waits for its turn and for other programs.
    patience: Duration,
    /// How long a transaction may be open.
    longest: Duration,
    identity: Option<Identity>,
    logging: Logging,
    sharing: Sharing,
    /// The node that follows the log, once one does.
    node: OnceLock<Arc<str>>,
    /// The logs that were opened, whose connections close with the store.
    logs: Mutex<Vec<Weak<SqliteLog>>>,
    closed: AtomicBool,
    /// The writer's flag, which can be set while the writer is in use.
    released: Arc<Released>,
    /// Released last: no other store may open the file before the connections are closing.
    lock: Mutex<Option<Lock>>,
}

impl SqliteEngine {
    /// Opens the database of a URL.
    pub(crate) async fn open(url: &str, settings: Settings) -> Result<Self, Error> {
        let mut location = Location::parse(url)?;
        let (mut lock, mut queue) = (None, None);
        match &mut location {
            Location::File(path) => {
                *path = canonical(path)?;
                lock = Some(Lock::take(path, settings.sharing)?);
                if settings.sharing == Sharing::Cluster {
                    queue = Some(WriteQueue::of(path)?);
                }
            }
            Location::Memory => refuse_in_memory(settings)?,
        }

        let mut connection = location.connect().await?;
        let logging = match settings.sharing {
            Sharing::Cluster => Logging::On,
            // If triggers write a log, it must also be read and pruned.
            Sharing::Alone if log::is_captured(&mut connection).await? => Logging::On,
            Sharing::Alone => settings.logging,
        };
        let identity = Identity::of(&location)?;
        let writer = Writer::new(location.clone(), identity.clone(), connection, queue);
        let released = writer.released();
        let writer = Arc::new(AsyncMutex::new(writer));
        let readers = Readers::new(&location, identity.clone(), &writer);
        Ok(Self {
            location,
            writer,
            readers,
            patience: settings.timeout,
            longest: settings.transaction_timeout,
            identity,
            logging,
            sharing: settings.sharing,
            node: OnceLock::new(),
            logs: Mutex::default(),
            closed: AtomicBool::new(false),
            released,
            lock: Mutex::new(lock),
        })
    }

    /// Returns the writer itself, for tests that block it.
    #[cfg(test)]
    pub(crate) fn writer(&self) -> &Arc<AsyncMutex<Writer>> {
        &self.writer
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    async fn begin_session(&self) -> Result<SqliteSession, Error> {
        // One deadline for both the turn and other programs. Otherwise, queued writes on a locked
        // file would wait one after the other.
        let until = Instant::now() + self.patience;
        let line = timeout_at(until, Arc::clone(&self.writer).lock_owned()).await;
        let mut writer =
            line.map_err(|_| busy("other writes held the file for as long as a call may wait"))?;
        match writer.begin(until).await {
            Ok(_) => Ok(SqliteSession {
                writer,
                records: None,
            }),
            Err(error) => {
                writer.rollback().await;
                Err(error)
            }
        }
    }

    /// Removes and returns the logs that are still in use.
    fn take_logs(&self) -> Vec<Arc<SqliteLog>> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = std::mem::take(&mut *logs);
        logs.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets other nodes open the file.
    fn unlock(&self) {
        let lock = self.lock.lock();
        lock.unwrap_or_else(PoisonError::into_inner).take();
    }

    fn log_settings(&self, needs: LogNeeds) -> log::Settings {
        log::Settings {
            location: self.location.clone(),
            identity: self.identity.clone(),
            writer: LogWriter::new(Arc::clone(&self.writer), self.patience),
            schemas: needs.schemas,
            recorded: needs.recorded,
            clock: needs.clock,
        }
    }

    /// Returns a connection to read from.
    async fn reader(&self) -> Result<Reader, Error> {
        self.check_open()?;
        let acquired = timeout(self.patience, self.readers.acquire()).await;
        acquired.unwrap_or_else(|_| {
            Err(busy(
                "no connection was free for as long as a call may wait",
            ))
        })
    }
}

/// Refuses settings that an in-memory database cannot have.
fn refuse_in_memory(settings: Settings) -> Result<(), Error> {
    let refused = |option, given: &str| Error::Setting {
        option,
        given: given.to_owned(),
        allowed: "left out for a database in memory, which no other program can open".to_owned(),
    };
    match (settings.logging, settings.sharing) {
        (Logging::Off, Sharing::Alone) => Ok(()),
        (Logging::On, Sharing::Alone) => Err(refused("logging", "On")),
        (_, Sharing::Cluster) => Err(refused("sharing", "Cluster")),
    }
}

fn busy(why: &'static str) -> Error {
    Error::Busy(DatabaseError::other(why))
}

impl Engine for SqliteEngine {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn path(&self) -> Option<PathBuf> {
        match &self.location {
            Location::File(path) => Some(path.clone()),
            Location::Memory => None,
        }
    }

    fn dialect(&self) -> Option<&'static dyn Dialect> {
        Some(&Sqlite)
    }

    fn read<'a>(
        &'a self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        async move {
            let parameters = arguments(parameters)?;
            let mut reader = self.reader().await?;
            let rows = reader.rows(sql, parameters).await?;
            let decoded = rows.iter().map(|row| decode_live(schema, row));
            Ok(decoded.collect::<Result<_, RowError>>()?)
        }
        .boxed()
    }

    fn longest(&self) -> Duration {
        self.longest
    }

    // Statements use the host's time.
    fn time(&self) -> BoxFuture<'_, Result<Timestamp, Error>> {
        let time = self.check_open().map(|()| SystemClock::new().wall());
        std::future::ready(time).boxed()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Error>> {
        async move {
            let mut session = self.begin_session().await?;
            match self.logging {
                Logging::Off => {}
                Logging::On => {
                    let connection = session.writer.connection_in_transaction()?;
                    match log::newest(connection).await {
                        Ok(first) => {
                            session.records = Some(Records {
                                first,
                                node: self.node.get().cloned(),
                                announce: Announce::Event,
                                mark: None,
                            });
                        }
                        Err(error) => {
                            session.writer.rollback().await;
                            return Err(error.into());
                        }
                    }
                }
            }
            Ok(Box::new(session) as Box<dyn Session>)
        }
        .boxed()
    }

    fn lay_out<'a>(&'a self, schemas: &'a [&'static Schema]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let mut session = self.begin_session().await?;
            let connection = session.writer.connection_in_transaction()?;
            let laid_out = match (lay_out(connection, schemas).await, self.logging) {
                (Ok(()), Logging::On) => {
                    // In the same transaction, so that no row is written to one of our tables
                    // before its triggers exist.
                    let recorded = RecordedFields::SchemasAndEarlier;
                    let installed = log::install_within(connection, schemas, recorded).await;
                    installed.map_err(Error::from).map(|installed| {
                        if !installed.changed.is_empty() {
                            tracing::info!(
                                tables = ?installed.changed,
                                "every write to these tables is recorded"
                            );
                        }
                    })
                }
                (laid_out, Logging::Off | Logging::On) => laid_out,
            };
            let done = match laid_out {
                Ok(()) => session.writer.commit().await.map_err(failed),
                Err(error) => Err(error),
            };
            if done.is_err() {
                session.writer.rollback().await;
            }
            done
        }
        .boxed()
    }

    fn log(&self, needs: LogNeeds) -> Option<Arc<dyn KeptLog>> {
        match self.logging {
            Logging::Off => return None,
            Logging::On => {}
        }
        // The first node that follows the log; another one in this process would use the same
        // store.
        let _ = self.node.set(Arc::clone(&needs.node));
        let log = Arc::new(SqliteLog::new(self.log_settings(needs)));
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(&log));
        Some(log)
    }

    fn members(&self, needs: &LogNeeds) -> Option<Arc<dyn Members>> {
        match self.sharing {
            Sharing::Alone => None,
            Sharing::Cluster => {
                let settings = self.log_settings(needs.clone());
                Some(Arc::new(SqliteMembers::new(settings)))
            }
        }
    }

    fn start(&self) -> BoxFuture<'_, Result<Start, Error>> {
        async move {
            let mut session = self.begin_session().await?;
            let connection = session.writer.connection_in_transaction()?;
            let done = match start(connection).await {
                Ok(started) => session.writer.commit().await.map(|()| started),
                Err(error) => Err(error),
            };
            if done.is_err() {
                session.writer.rollback().await;
            }
            done.map_err(failed)
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let mut reader = self.reader().await?;
            let connection = reader.connection().await?;
            let asked = execute(connection, "SELECT count(*) FROM sqlite_schema");
            asked.await.map_err(failed)
        }
        .boxed()
    }

    fn is_busy(&self) -> bool {
        self.writer.try_lock().is_err()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.closed.store(true, Ordering::SeqCst);
            // Readers first, so that the writer's connection is the last, and checkpoints the
            // write-ahead log.
            let mut closed = Ok(());
            for log in self.take_logs() {
                // If one fails to close, the others are still closed.
                closed = closed.and(log.close().await);
            }
            closed = closed.and(self.readers.close().await);
            closed = closed.and(self.writer.lock().await.close().await);
            self.unlock();
            closed.map_err(failed)
        }
        .boxed()
    }

    fn release(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Before the file is free, so that an open session commits nothing from here on.
        self.released.set();
        for log in self.take_logs() {
            log.release();
        }
        self.readers.release();
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.release();
        }
        self.unlock();
    }

    fn released(&self) -> BoxFuture<'static, ()> {
        self.released.wait()
    }
}

#[cfg(test)]
mod tests;
