//! [`Pool`]: connections, each lent to one call at a time.
//!
//! A connection returns to the pool only if its last statement ended in order. One that is dropped
//! in the middle of a statement is closed, and the server rolls back. Every wait ends with the
//! call's time limit.
//!
//! The driver's pool is not used, because connections must be opened on the store's runtime, on
//! whatever runtime the call runs, and because a reader of the log retires those that were opened
//! before a gap.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{
    error::{DatabaseError, Error},
    postgres::{address::Address, codes::too_late, connection::Connection},
    settings::Settings,
};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(600);
/// The maximum age of a connection: the server's memory for it grows.
const LIFETIME: Duration = Duration::from_secs(1_800);

/// Idle connections, and permits for as many as there may be.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) address: Address,
    pub(crate) settings: Settings,
    /// Where connections are opened: a socket lives with the runtime that opened it.
    pub(crate) runtime: Handle,
    permits: Arc<Semaphore>,
    /// Permits for the connections that writes may use. A write may hold its connection for as long
    /// as another program holds its row, and reads must not wait for that.
    writes: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// The node that follows the log, once one does. Connections opened since name it as the origin
    /// of their records.
    origin: OnceLock<Arc<str>>,
    /// Connections of earlier generations are not lent again.
    generation: AtomicU64,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    generation: u64,
    opened: Instant,
    since: Instant,
}

/// A connection that is lent.
#[derive(Debug)]
pub(crate) struct PooledConnection {
    /// `None` once it was returned or found broken.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    generation: u64,
    opened: Instant,
    source: Source,
    _permit: OwnedSemaphorePermit,
}

/// Where a lent connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It has just been opened.
    Fresh,
    /// It was used before, and may have been lost since: its first statement may be retried on
    /// another one.
    Idle,
}

impl Pool {
    pub(crate) fn new(address: Address, settings: Settings, runtime: Handle) -> Self {
        Self {
            address,
            settings,
            runtime,
            permits: Arc::new(Semaphore::new(settings.connections)),
            writes: Arc::new(Semaphore::new(writes_of(settings.connections))),
            idle: Mutex::default(),
            origin: OnceLock::new(),
            generation: AtomicU64::new(0),
        }
    }

    /// Returns the deadline of a call that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }

    /// Waits until a write may have a connection. Cancel safe.
    pub(crate) async fn write_permit(&self, until: Instant) -> Result<OwnedSemaphorePermit, Error> {
        permit(&self.writes, until).await
    }

    /// Waits for a connection. Cancel safe.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        until: Instant,
    ) -> Result<PooledConnection, Error> {
        let permit = permit(&self.permits, until).await?;

        let generation = self.generation.load(Ordering::SeqCst);
        let (connection, opened, source) = match self.take_idle(generation) {
            Some(idle) => (idle.connection, idle.opened, Source::Idle),
            None => {
                let opened = Instant::now();
                (self.open(until).await?, opened, Source::Fresh)
            }
        };
        Ok(PooledConnection {
            connection: Some(connection),
            pool: Arc::clone(self),
            generation,
            opened,
            source,
            _permit: permit,
        })
    }

    /// Opens a connection outside the pool.
    pub(crate) async fn open(&self, until: Instant) -> Result<Connection, Error> {
        let (address, settings) = (self.address.clone(), self.settings);
        let origin = self.origin.get().cloned();
        let opening = async move {
            let mut connection =
                Connection::open(&address, settings, origin.as_deref(), until).await?;
            if origin.is_some() {
                let learnt = timeout_at(until, connection.learn_epoch()).await;
                learnt.unwrap_or_else(|_| Err(too_late(settings.timeout)))?;
            }
            Ok(connection)
        };

        match self.runtime.spawn(opening).await {
            Ok(opened) => opened,
            // The runtime was shut down.
            Err(_) => Err(too_late(settings.timeout)),
        }
    }

    /// Sets the node that is named as the origin of writes. Only the first call has an effect.
    pub(crate) fn name_origin(&self, node: &Arc<str>) {
        if self.origin.set(Arc::clone(node)).is_ok() {
            self.retire();
        }
    }

    fn take_idle(&self, generation: u64) -> Option<Idle> {
        let now = Instant::now();
        let mut stale = Vec::new();
        let mut idle = self.idle();
        let found = loop {
            let Some(last) = idle.pop() else {
                break None;
            };

            let is_fit = last.generation == generation
                && now.duration_since(last.since) < IDLE
                && now.duration_since(last.opened) < LIFETIME;
            if is_fit {
                break Some(last);
            }
            stale.push(last);
        };

        // Outside the lock, because closing a socket is a system call.
        drop(idle);
        drop(stale);
        found
    }

    /// Stops lending connections that were opened before this call: a server that closed one has
    /// most likely closed all.
    pub(crate) fn retire(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        let retired = std::mem::take(&mut *self.idle());
        drop(retired);
    }

    /// Stops lending connections, and closes the idle ones.
    pub(crate) fn release(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        drop(idle); // with the lock released: closing a socket is a system call
    }

    /// Waits for running calls, and closes every connection.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let all = u32::try_from(self.settings.connections).unwrap_or(u32::MAX);
        // All permits: no one holds a connection any more. A closed semaphore was closed by another
        // `close`.
        let in_time = timeout_at(self.deadline(), self.permits.acquire_many(all)).await;
        self.permits.close();

        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            // An error does not matter: the socket closes either way.
            let _ = timeout_at(self.deadline(), idle.connection.close()).await;
        }

        match in_time {
            Ok(_) => Ok(()),
            Err(_) => Err(too_late(self.settings.timeout)),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn permit(permits: &Arc<Semaphore>, until: Instant) -> Result<OwnedSemaphorePermit, Error> {
    match timeout_at(until, Arc::clone(permits).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(Error::Closed),
        Err(_) => {
            let why = "all connections of the store are in use";
            Err(Error::Busy(DatabaseError::other(why)))
        }
    }
}

/// Returns how many of the connections may be lent to writes: a quarter is left to reads.
fn writes_of(connections: usize) -> usize {
    connections.saturating_sub(connections.div_ceil(4)).max(1)
}

impl PooledConnection {
    /// Returns the connection itself.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Error> {
        self.connection.as_mut().ok_or(Error::Closed)
    }

    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Returns the connection to the pool, after its last statement has ended in order and no
    /// transaction is open.
    pub(crate) fn give_back(mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.pool.generation.load(Ordering::SeqCst) != self.generation
            || self.pool.permits.is_closed()
        {
            return;
        }

        self.pool.idle().push(Idle {
            connection,
            generation: self.generation,
            opened: self.opened,
            since: Instant::now(),
        });
    }
}
