//! [`MemoryLog`]: a node's connection to a model store, which answers at once.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tidings_core::{
    CacheKey, PrimaryKey,
    log::{
        Appended, Capture, Cursor, Demand, Digest, Group, Head, Join, JoinError, Log, LogError,
        LogFuture, Mark, MemberId, MemberRow, MemberSight, Members, Read, Sight, Wake, WakeUps,
    },
};
use tokio::sync::mpsc;

use super::model::ModelStore;

/// How many wake-ups wait for one listener; more are lost.
const WAITING: usize = 64;

/// A node's connection to a [`ModelStore`]: its log and its members' table.
///
/// Wake-ups reach the other connections that were made by [`beside`](Self::beside) or cloned from
/// the same.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    store: ModelStore,
    listeners: Arc<Mutex<Vec<Listener>>>,
    /// Tells this connection's listeners from the others'.
    own: Arc<()>,
}

#[derive(Debug)]
struct Listener {
    of: Arc<()>,
    wakes: mpsc::Sender<Wake>,
}

impl MemoryLog {
    /// Connects to a store.
    #[must_use]
    pub fn new(store: ModelStore) -> Self {
        Self {
            store,
            listeners: Arc::default(),
            own: Arc::default(),
        }
    }

    /// Makes another node's connection to the same store.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            own: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &ModelStore {
        &self.store
    }

    fn sight(&self, member: Option<&MemberId>) -> Sight {
        let state = self.store.state.lock();
        Sight {
            capture: Capture::InPlace,
            member: member.map_or(MemberSight::NotAsked, |id| state.table.look(id)),
            demand: member.and_then(|id| state.table.demanded(id)),
        }
    }
}

/// Wraps an answer that is ready at once.
fn now<'a, T: Send + 'a>(answer: T) -> LogFuture<'a, T> {
    std::future::ready(answer).boxed()
}

impl Log for MemoryLog {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        let sight = self.sight(member);
        let cursor = self.store.head();
        now(Ok(Head { cursor, sight }))
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        let sight = self.sight(member);
        now(Ok(self.store.read(from, limit, sight)))
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        now(Ok(self.store.group(mark, entity, key)))
    }

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        now(Ok(()))
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        let appended = self.store.append(entry);
        now(appended.map_err(|error| LogError::InDoubt(error.into())))
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        now(Ok(()))
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        let (wakes, heard) = mpsc::channel(WAITING);
        let of = Arc::clone(&self.own);
        self.listeners.lock().push(Listener { of, wakes });
        now(Ok(Box::new(Heard(heard)) as _))
    }

    fn wake(&self, wake: Wake) {
        let mut listeners = self.listeners.lock();
        listeners.retain(|listener| !listener.wakes.is_closed());
        let others: Vec<_> = listeners
            .iter()
            .filter(|listener| !Arc::ptr_eq(&listener.of, &self.own))
            .map(|listener| listener.wakes.clone())
            .collect();
        drop(listeners);

        for other in others {
            // A wake-up may be lost, and a listener with this much ahead of it is late in any case.
            other.try_send(wake.clone()).unwrap_or_default();
        }
    }

    fn digest(&self, key: &CacheKey) -> Option<Digest> {
        Some(digest(key))
    }
}

/// Returns a substitute for a digest under a cluster's key, valid in one process.
pub(super) fn digest(key: &CacheKey) -> Digest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.hash_value().to_le_bytes());
    bytes[8..].copy_from_slice(&(key.as_bytes().len() as u64).to_le_bytes());
    Digest(bytes)
}

#[derive(Debug)]
struct Heard(mpsc::Receiver<Wake>);

impl WakeUps for Heard {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        async { self.0.recv().await.ok_or(LogError::Closed) }.boxed()
    }
}

impl Members for MemoryLog {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        now(self.store.state.lock().table.join(join))
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        self.store.state.lock().table.leave(member);
        now(Ok(()))
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        now(Ok(self.store.state.lock().table.list()))
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        now(Ok(self.store.state.lock().table.look(member)))
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        now(Ok(self.store.state.lock().table.demand()))
    }

    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>> {
        let mut state = self.store.state.lock();
        state.table.report(member, applied, answers);
        now(Ok(()))
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        now(Ok(self.store.state.lock().table.mark(member)))
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        now(Ok(self.store.state.lock().table.expire(member)))
    }
}
