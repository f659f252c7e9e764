//! [`Spawn`]: starts background tasks, as a seam, so that a simulation can poll every task itself,
//! on one thread and in an order of its own.
//!
//! Code that starts background tasks takes a [`Spawn`]. [`TokioSpawn`] uses one fixed runtime, and
//! [`CurrentRuntime`] uses the runtime of its caller. A task is a boxed future without a result; it
//! reports through the values that it has captured.
//!
//! An executor that has ended drops a task instead of running it. So if someone awaits the end of a
//! task, the task must also report it when it is dropped.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::runtime::Handle;

/// A future that runs on its own.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Starts tasks.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tidings_core::spawn::{Spawn, TokioSpawn};
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::new(runtime.handle().clone()));
/// let (sender, receiver) = std::sync::mpsc::channel();
///
/// let task = async move { sender.send("done").expect("the receiver is there") };
/// drop(spawn.spawn(Box::pin(task))); // the task goes on
/// runtime.block_on(tokio::task::yield_now());
/// assert_eq!(receiver.try_recv()?, "done");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Spawn: fmt::Debug + Send + Sync + 'static {
    /// Starts a task. The executor polls it; if the caller is on the executor's only thread, not
    /// before this has returned.
    ///
    /// An executor that has ended drops the task at once.
    fn spawn(&self, task: Task) -> AbortHandle;
}

/// Ends one task. Dropping the handle leaves the task running.
#[derive(Clone, Debug)]
#[must_use = "a task that is not aborted runs to its end; drop the handle explicitly if that is meant"]
pub struct AbortHandle(Ends);

#[derive(Clone, Debug)]
enum Ends {
    /// Tokio's own, so that a load on tokio allocates nothing more.
    Tokio(tokio::task::AbortHandle),
    Other(Arc<dyn Abort>),
    /// The task was dropped in place of being started.
    Ended,
}

/// Ends one task of an executor other than tokio.
pub trait Abort: fmt::Debug + Send + Sync + 'static {
    /// Drops the task at its next turn, or at once; does nothing if it has ended.
    fn abort(&self);
}

impl AbortHandle {
    /// Makes a handle for a task of an executor other than tokio.
    pub fn new(abort: Arc<dyn Abort>) -> Self {
        Self(Ends::Other(abort))
    }

    /// Makes the handle of a task that was dropped in place of being started.
    pub fn ended() -> Self {
        Self(Ends::Ended)
    }

    /// Ends the task: it is dropped at its next turn, without being polled again. Does nothing if
    /// it has ended.
    pub fn abort(&self) {
        match &self.0 {
            Ends::Tokio(handle) => handle.abort(),
            Ends::Other(abort) => abort.abort(),
            Ends::Ended => {}
        }
    }
}

impl From<tokio::task::AbortHandle> for AbortHandle {
    fn from(handle: tokio::task::AbortHandle) -> Self {
        Self(Ends::Tokio(handle))
    }
}

/// Tasks run on one tokio runtime.
#[derive(Clone, Debug)]
pub struct TokioSpawn(Handle);

impl TokioSpawn {
    /// Uses a runtime, which must outlive what is started on it.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self(runtime)
    }

    /// Uses the runtime that the caller is in.
    ///
    /// # Errors
    ///
    /// The caller is in none.
    pub fn current() -> Result<Self, NoRuntime> {
        Handle::try_current().map(Self).map_err(|_| NoRuntime)
    }
}

impl Spawn for TokioSpawn {
    fn spawn(&self, task: Task) -> AbortHandle {
        self.0.spawn(task).abort_handle().into()
    }
}

/// Each task runs on the tokio runtime that is current where it is started; outside of one it is
/// dropped at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct CurrentRuntime;

impl Spawn for CurrentRuntime {
    fn spawn(&self, task: Task) -> AbortHandle {
        match Handle::try_current() {
            Ok(runtime) => runtime.spawn(task).abort_handle().into(),
            Err(_) => AbortHandle::ended(),
        }
    }
}

/// A task was to run on the caller's runtime, and the caller is in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tokio runtime is current: call this inside of one, or name the executor")]
pub struct NoRuntime;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Says whether the task that owns it has been dropped.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime")
    }

    /// A task that never ends by itself, and whether it was dropped.
    fn endless() -> (Task, Arc<AtomicBool>) {
        let gone = Arc::new(AtomicBool::new(false));
        let owned = Dropped(Arc::clone(&gone));
        let task = Box::pin(async move {
            let _owned = owned;
            std::future::pending().await
        });
        (task, gone)
    }

    #[test]
    fn an_aborted_task_is_dropped_at_its_next_turn() {
        let runtime = runtime();
        let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::new(runtime.handle().clone()));
        let (task, gone) = endless();
        let handle = spawn.spawn(task);
        runtime.block_on(tokio::task::yield_now());
        assert!(!gone.load(Ordering::SeqCst));
        handle.abort();
        runtime.block_on(tokio::task::yield_now());
        assert!(gone.load(Ordering::SeqCst));
    }

    #[test]
    fn a_dropped_handle_leaves_its_task_running() {
        let runtime = runtime();
        let (task, gone) = endless();
        drop(TokioSpawn::new(runtime.handle().clone()).spawn(task));
        runtime.block_on(tokio::task::yield_now());
        assert!(!gone.load(Ordering::SeqCst));
    }

    #[test]
    fn a_task_without_a_runtime_is_dropped_at_once_and_naming_none_is_an_error() {
        let (task, gone) = endless();
        let handle = CurrentRuntime.spawn(task);
        assert!(gone.load(Ordering::SeqCst));
        handle.abort();
        assert_eq!(TokioSpawn::current().map(drop), Err(NoRuntime));
    }

    #[test]
    fn an_executor_that_has_ended_drops_the_task() {
        let runtime = runtime();
        let spawn = TokioSpawn::new(runtime.handle().clone());
        drop(runtime);
        let (task, gone) = endless();
        drop(spawn.spawn(task));
        assert!(gone.load(Ordering::SeqCst));
    }
}
