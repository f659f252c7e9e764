//! [`Source`] counts loads; a [`Gate`] holds them until a test opens it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// Makes loads, and counts how many have run.
#[derive(Clone, Debug, Default)]
pub struct Source {
    loads: Arc<AtomicUsize>,
}

impl Source {
    /// Returns how many loads have run.
    #[must_use]
    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// Makes a load that returns a value at once: an `Option`, or a [`Loaded`](crate::Loaded).
    pub fn give<L: Send + 'static>(
        &self,
        value: L,
    ) -> impl FnOnce() -> BoxFuture<'static, io::Result<L>> + Send + use<L> {
        let loads = Arc::clone(&self.loads);
        move || {
            loads.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(value) })
        }
    }

    /// Makes a load that returns a value once the gate lets it through.
    pub fn behind<L: Send + 'static>(
        &self,
        gate: &Gate,
        value: L,
    ) -> impl FnOnce() -> BoxFuture<'static, io::Result<L>> + Send + use<L> {
        let (loads, gate) = (Arc::clone(&self.loads), gate.clone());
        move || {
            loads.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                gate.pass().await;
                Ok(value)
            })
        }
    }
}

/// A gate at which loads wait until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<Semaphore>,
    reached: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Makes a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: Arc::new(Semaphore::new(0)),
            reached: Arc::new(Semaphore::new(0)),
        }
    }

    /// Lets one load through: a waiting one, or else the next one that arrives.
    pub fn open(&self) {
        self.open.add_permits(1);
    }

    /// Waits until a load has reached the gate. Each load counts once.
    ///
    /// # Cancel safety
    ///
    /// A load that has arrived still counts at the next call.
    pub async fn reached(&self) {
        take(&self.reached).await;
    }

    /// Waits until the gate is opened, for loads that are written by hand.
    pub async fn pass(&self) {
        self.reached.add_permits(1);
        take(&self.open).await;
    }
}

/// Takes a permit of a semaphore that is never closed: each handle of a gate owns both.
async fn take(semaphore: &Semaphore) {
    if let Ok(permit) = semaphore.acquire().await {
        permit.forget();
    }
}
