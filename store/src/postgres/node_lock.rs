//! [`NodeLock`]: the lock that keeps other nodes away from a database; members of a cluster share
//! it.
//!
//! It is an advisory lock of the server on a connection of its own, so it ends with the process,
//! however that ends. While one node holds it, no other node can begin to write; while members hold
//! it, no node can have the database to itself. If the connection is lost, the next write takes the
//! lock again before it does anything else, or is refused.

use std::time::Duration;

use sqlx::Row as _;
use tidings_core::clock::{Clock as _, SystemClock};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, Holder},
    postgres::{
        codes::{failed, too_late},
        connection::Connection,
        log::NODE_LOCK,
        pool::Pool,
    },
    settings::{Pooler, Sharing},
};

/// The maximum age of the last proof that the lock is held.
const PROOF: Duration = Duration::from_secs(1);
/// How long a start waits for the server to notice that the last holder is gone, and the pause
/// between attempts.
const LINGER: (Duration, Duration) = (Duration::from_millis(1_000), Duration::from_millis(50));

/// The connection that holds the lock.
#[derive(Debug, Default)]
pub(crate) struct NodeLock {
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    connection: Connection,
    proven: Instant,
}

impl NodeLock {
    /// Takes the lock.
    pub(crate) async fn take(pool: &Pool) -> Result<Self, Error> {
        let node_lock = Self::default();
        if pool.settings.pooler == Pooler::Transaction {
            tracing::warn!(
                database = pool.address.shown(),
                "through a pooler in transaction mode a second node on the database goes unnoticed"
            );
            return Ok(node_lock);
        }

        let clock = SystemClock::new();
        let until = Instant::now() + LINGER.0;
        loop {
            match lock(pool).await {
                Ok(held) => {
                    *node_lock.held.lock().await = Some(held);
                    return Ok(node_lock);
                }
                Err(Error::DatabaseInUse { .. }) if Instant::now() < until => {
                    clock.sleep(LINGER.1).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Proves that the lock is held, or takes it again.
    pub(crate) async fn check(&self, pool: &Pool) -> Result<(), Error> {
        if pool.settings.pooler == Pooler::Transaction {
            return Ok(());
        }

        let mut held = self.held.lock().await;
        if let Some(held) = &mut *held {
            if held.proven.elapsed() < PROOF {
                return Ok(());
            }
            let started = Instant::now();
            let answer = timeout_at(pool.deadline(), held.connection.run("SELECT 1")).await;
            if matches!(answer, Ok(Ok(()))) {
                held.proven = started;
                return Ok(());
            }
        }

        // The connection is lost, and so is the lock.
        *held = None;
        *held = Some(lock(pool).await?);
        tracing::warn!(
            database = pool.address.shown(),
            "the connection that keeps other nodes away was lost, and opened again"
        );
        Ok(())
    }

    /// Releases the lock without waiting for the server: it ends with the connection.
    pub(crate) fn release(&self) {
        let held = self.held.try_lock().ok().and_then(|mut held| held.take());
        drop(held); // with the lock released
    }

    /// Releases the lock.
    pub(crate) async fn close(&self, pool: &Pool) {
        if let Some(held) = self.held.lock().await.take() {
            // An error does not matter: the socket closes either way.
            let _ = timeout_at(pool.deadline(), held.connection.close()).await;
        }
    }
}

async fn lock(pool: &Pool) -> Result<Held, Error> {
    let until = pool.deadline();
    let mut connection = pool.open(until).await?;
    let proven = Instant::now();
    let (how, by) = match pool.settings.sharing {
        Sharing::Alone => ("pg_try_advisory_lock", Holder::Nodes),
        Sharing::Cluster => ("pg_try_advisory_lock_shared", Holder::Alone),
    };
    let take = format!("SELECT pg_catalog.{how}({NODE_LOCK})");
    let answer = timeout_at(until, connection.ask(&take)).await;
    let answer = answer.map_err(|_| too_late(pool.settings.timeout))?;
    let rows = answer.map_err(failed)?;
    let taken = rows.first().map(|row| row.try_get::<bool, _>(0));

    match taken {
        Some(Ok(true)) => Ok(Held { connection, proven }),
        _ => Err(Error::DatabaseInUse {
            database: pool.address.shown().to_owned(),
            by,
        }),
    }
}
