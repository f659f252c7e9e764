//! [`Replays`]: lets readers that return to the log take turns.
//!
//! At most [`HELD`] readers hold a page, so that clients that do not read what they asked for hold
//! a bounded number of pages; the other readers wait in order, with nothing in memory.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// How many readers hold a page at once.
pub(crate) const HELD: usize = 8;

/// Lets readers that return take turns.
#[derive(Debug)]
pub(crate) struct Replays {
    pages: Arc<Semaphore>,
    /// Held while a page is read, so that one is read at a time.
    pub(crate) turn: Mutex<()>,
}

/// The right to hold a page; released when dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            pages: Arc::new(Semaphore::new(HELD)),
            turn: Mutex::default(),
        }
    }
}

impl Replays {
    /// Waits until a page may be held.
    pub(crate) async fn hold(&self) -> Holding {
        Holding {
            // The semaphore is never closed, so there always is one.
            _permit: Arc::clone(&self.pages).acquire_owned().await.ok(),
        }
    }
}
