//! Contains panics of an application's code in the tasks of a node.
//!
//! Handlers, and the types that a row or a payload is read into, are an application's. The
//! dispatcher calls them under [`caught`], so that a panic costs one change. A task that panics all
//! the same does not end unnoticed: the node serves nothing from its cache from then on, keeps
//! nothing, and counts as disconnected, rather than silently missing changes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::FutureExt;

use super::shared::{Progress, PurgeCause, Shared};

/// An application's code has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls an application's code. It shares state with the node only through handles that keep that
/// state consistent.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| Panicked)
}

/// Calls an application's code, and polls what it returns.
pub(crate) async fn caught_async<F: Future>(
    code: impl FnOnce() -> F,
) -> Result<F::Output, Panicked> {
    let called = AssertUnwindSafe(async { code().await }).catch_unwind();
    called.await.map_err(|_| Panicked)
}

impl Shared {
    /// Runs a task of the node. One that panics ends the node's share of the cluster.
    pub(crate) async fn guarded(&self, task: &'static str, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return;
        }

        // The gate first: what follows may panic again, since it drops values and logs.
        self.gate.supersede();
        self.note_progress(Progress::Over);

        let purged = caught(|| self.purge(PurgeCause::Ends));
        tracing::error!(
            node = %self.node,
            task,
            purged = purged.is_ok(),
            "a task of the cluster panicked: the cache is not served from any more"
        );
    }
}
