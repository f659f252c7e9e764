//! Locks, atomics, thread-locals and tasks, from one place, so that a model checker can take
//! theirs.
//!
//! Built with `--cfg shuttle`, the crate runs on shuttle's; its source does not change. Shuttle's
//! atomics are sequentially consistent whatever ordering is named, and the locks inside quick_cache
//! are invisible to it: each call of L2 is one step.

pub(crate) use std::sync::Arc;

#[cfg(not(shuttle))]
pub(crate) use self::real::*;

#[cfg(shuttle)]
pub(crate) use self::model::*;

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::{
        sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        thread_local,
    };

    pub(crate) use parking_lot::{Mutex, MutexGuard};

    use tidings_core::spawn::{AbortHandle, CurrentRuntime, Spawn, Task, TokioSpawn};

    /// Runs loads: on a given executor, or else on the runtime that is current where each load
    /// starts.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Executor(pub(crate) Option<super::Arc<dyn Spawn>>);

    /// Runs code that blocks where it holds up no task: on one of the current runtime's threads for
    /// blocking code, or here if there is no runtime.
    pub(crate) async fn off_the_loop<T: Send + 'static>(
        run: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return run();
        };

        match runtime.spawn_blocking(run).await {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down, and drops this task too.
                Err(_) => std::future::pending().await,
            },
        }
    }

    impl Executor {
        /// Returns whether there is anything to run a task on.
        pub(crate) fn is_there(&self) -> bool {
            self.0.is_some() || TokioSpawn::current().is_ok()
        }

        /// Starts a task, or drops it if there is nothing to run it on.
        pub(crate) fn spawn(&self, task: Task) -> AbortHandle {
            match &self.0 {
                Some(spawn) => spawn.spawn(task),
                None => CurrentRuntime.spawn(task),
            }
        }
    }
}

#[cfg(shuttle)]
mod model {
    pub(crate) use shuttle::{
        sync::{
            MutexGuard,
            atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        },
        thread_local,
    };

    use tidings_core::spawn::{Abort, AbortHandle, Task};

    /// Shuttle's lock with the interface of the real one. A poisoned lock means that the model has
    /// failed already.
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

    /// Runs a closure on this thread: the models have no code that blocks.
    pub(crate) async fn off_the_loop<T>(run: impl FnOnce() -> T) -> T {
        run()
    }

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Executor;

    #[derive(Debug)]
    struct Aborts(shuttle::future::AbortHandle);

    impl Abort for Aborts {
        fn abort(&self) {
            self.0.abort();
        }
    }

    impl Executor {
        #[expect(clippy::unused_self, reason = "the real one may have none")]
        pub(crate) fn is_there(&self) -> bool {
            true
        }

        pub(crate) fn spawn(&self, task: Task) -> AbortHandle {
            let abort = shuttle::future::spawn(task).abort_handle();
            AbortHandle::new(super::Arc::new(Aborts(abort)))
        }
    }
}
