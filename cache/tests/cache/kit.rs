//! What the tests share: a cache on a clock that is moved by hand, and loads that wait to be told.

use std::{
    future::Future,
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_cache::{Cache, CacheBuilder, CacheKey, ManualClock};
use tokio::sync::Semaphore;

/// The loader's error type in most tests.
pub(crate) type Failure = io::Error;

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new("test", &[name])
}

/// The key that most tests need.
pub(crate) fn k() -> &'static CacheKey {
    static KEY: LazyLock<CacheKey> = LazyLock::new(|| key("k"));
    &KEY
}

/// A builder on a clock of its own.
pub(crate) fn timed() -> (CacheBuilder, ManualClock) {
    let clock = ManualClock::new();
    let builder = Cache::builder().clock(Arc::new(clock.clone()));
    (builder, clock)
}

/// A loader that counts its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    loads: Arc<AtomicUsize>,
}

impl Source {
    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// A load that gives a value at once.
    pub(crate) fn give<V: Send + 'static>(
        &self,
        value: V,
    ) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<V, Failure>> + Send>>
    + Send
    + use<V> {
        let loads = Arc::clone(&self.loads);
        move || {
            loads.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(value) })
        }
    }

    /// A load that gives a value once the gate opens.
    pub(crate) fn behind<V: Send + 'static>(
        &self,
        gate: &Gate,
        value: V,
    ) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<V, Failure>> + Send>>
    + Send
    + use<V> {
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

/// Where a load waits.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    reached: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            open: Arc::new(Semaphore::new(0)),
            reached: Arc::new(Semaphore::new(0)),
        }
    }

    /// Lets one load through.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }

    /// Waits until a load stands at the gate.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(crate) async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}
