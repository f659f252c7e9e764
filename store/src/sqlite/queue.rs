//! [`WriteQueue`]: the queue in which the writers of several processes wait for one file.
//!
//! SQLite itself waits by retrying, which lets others overtake. So the stores that share a file
//! queue on a lock of the operating system on `NAME.write`, and only other programs make the file
//! busy. The lock ends with the process that holds it. If a process is stopped while it holds the
//! lock, the others wait until their deadlines.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_core::Chain;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    error::{DatabaseError, Error},
    sqlite::location::{beside, for_owner_alone},
};

/// A process's place in the queue of a file; one writer at a time uses it.
#[derive(Clone, Debug)]
pub(crate) struct WriteQueue {
    file: Arc<File>,
    /// The latest request for the lock. The thread that waits for the lock, if there is one, hands
    /// it to this request.
    waiting: Arc<Mutex<Option<oneshot::Sender<Turn>>>>,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<File>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(error = %Chain(&error), "the lock for writes could not be released");
        }
    }
}

impl WriteQueue {
    /// Opens the queue of a database file.
    pub(crate) fn of(database: &Path) -> Result<Self, Error> {
        let path = beside(database, "write");
        let file = for_owner_alone()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|error| Error::Open {
            path: database.to_owned(),
            reason: format!("its queue file {} cannot be used ({error})", path.display()),
            source: Some(error.into()),
        })?;
        Ok(Self {
            file: Arc::new(file),
            waiting: Arc::default(),
        })
    }

    /// Waits for the turn of this process. Cancel safe: a turn that comes too late is passed on.
    pub(crate) async fn turn(&self, until: Instant) -> Result<Turn, Error> {
        let pending = match self.request() {
            Ok(Requested::Granted(turn)) => return Ok(turn),
            Ok(Requested::Pending(turn)) => turn,
            Err(error) => return Err(Error::Busy(DatabaseError::other(error.to_string()))),
        };
        let busy = |why| Error::Busy(DatabaseError::other(why));

        match timeout_at(until, pending).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(busy("the lock for writes cannot be taken")),
            Err(_) => Err(busy("other processes wrote for as long as a call may wait")),
        }
    }

    fn request(&self) -> io::Result<Requested> {
        // The lock belongs to the open file and not to a thread. While one thread waits for it, no
        // other may try: the two could not tell which of them holds it.
        let mut waiting = self.lock();
        let (grant, pending) = oneshot::channel();
        if waiting.is_some() {
            *waiting = Some(grant);
            return Ok(Requested::Pending(pending));
        }

        match self.file.try_lock() {
            Ok(()) => return Ok(Requested::Granted(Turn(Arc::clone(&self.file)))),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }

        let queue = self.clone();
        std::thread::Builder::new()
            .name("tidings-store-queue".to_owned())
            .spawn(move || queue.wait())?;
        *waiting = Some(grant);
        Ok(Requested::Pending(pending))
    }

    /// Waits for the lock, and hands it to the latest request; releases it if that request is gone.
    fn wait(&self) {
        let locked = self.file.lock();
        let mut waiting = self.lock();
        if let (Ok(()), Some(grant)) = (locked, waiting.take()) {
            drop(grant.send(Turn(Arc::clone(&self.file))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<oneshot::Sender<Turn>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a request.
enum Requested {
    Granted(Turn),
    Pending(oneshot::Receiver<Turn>),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn a_turn_is_passed_on_and_one_that_came_too_late_is_let_go_of() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        let (one, other) = (
            WriteQueue::of(&database).unwrap(),
            WriteQueue::of(&database).unwrap(),
        );

        let held = one.turn(soon()).await.unwrap();
        let late = other.turn(Instant::now()).await;
        assert!(matches!(late, Err(Error::Busy(_))), "{late:?}");
        // The thread still waits; the next request takes over its place in the queue.
        let asked = other.turn(soon());
        let mut asked = std::pin::pin!(asked);
        assert!(asked.as_mut().now_or_never().is_none());
        drop(held);
        let turn = asked.await.unwrap();
        assert!(matches!(
            one.turn(Instant::now()).await,
            Err(Error::Busy(_))
        ));
        drop(turn);
        drop(one.turn(soon()).await.unwrap());
        drop(other.turn(soon()).await.unwrap());
    }
}
