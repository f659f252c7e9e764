//! Locks, atomics, thread-locals and tasks, from one place, so that a model checker can take theirs.
//!
//! Built with `--cfg shuttle`, the crate runs on shuttle's; its source does not change. Shuttle's atomics are
//! sequentially consistent whatever ordering is named, and the locks inside quick_cache are invisible to it: each call
//! of L2 is one step.

pub(crate) use std::sync::Arc;

#[cfg(not(shuttle))]
pub(crate) use self::real::*;

#[cfg(shuttle)]
pub(crate) use self::model::*;

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::{
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
        thread_local,
    };

    pub(crate) use parking_lot::{Mutex, MutexGuard};

    use futures_util::future::BoxFuture;

    /// What loads run on.
    #[derive(Clone, Debug)]
    pub(crate) struct Executor(pub(crate) tokio::runtime::Handle);

    /// Ends a task that nobody will ask for any more.
    pub(crate) type Abort = tokio::task::AbortHandle;

    impl Executor {
        /// The runtime that the caller is in, if any.
        pub(crate) fn current() -> Option<Self> {
            tokio::runtime::Handle::try_current().ok().map(Self)
        }

        /// A runtime that was shut down drops the future at once.
        pub(crate) fn spawn(&self, task: BoxFuture<'static, ()>) -> Abort {
            self.0.spawn(task).abort_handle()
        }
    }
}

#[cfg(shuttle)]
mod model {
    pub(crate) use shuttle::{
        sync::{
            MutexGuard,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
        thread_local,
    };

    use futures_util::future::BoxFuture;

    /// Shuttle's lock with the real one's face. A poisoned lock means that the model has failed already.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Executor;

    pub(crate) type Abort = shuttle::future::AbortHandle;

    impl Executor {
        #[expect(clippy::unnecessary_wraps, reason = "the real one may find no runtime")]
        pub(crate) fn current() -> Option<Self> {
            Some(Self)
        }

        pub(crate) fn spawn(&self, task: BoxFuture<'static, ()>) -> Abort {
            shuttle::future::spawn(task).abort_handle()
        }
    }
}
