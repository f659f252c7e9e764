//! Contains panics of an application's code in the tasks of a node.
//!
//! Handlers belong to the application, and so do the types that rows and payloads are read into.
//! The dispatcher calls them under [`caught`], so that a panic costs one change. If a task panics
//! all the same, the node does not silently miss changes: from then on it serves nothing from its
//! cache, keeps nothing, and counts as disconnected.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::FutureExt;

use super::shared::{Progress, PurgeCause, Shared};

/// Code of the application has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls code of the application. It shares state with the node only through handles that keep that
/// state consistent.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| Panicked)
}

/// Calls code of the application, and awaits what it returns.
pub(crate) async fn caught_async<F: Future>(
    code: impl FnOnce() -> F,
) -> Result<F::Output, Panicked> {
    let called = AssertUnwindSafe(async { code().await }).catch_unwind();
    called.await.map_err(|_| Panicked)
}

impl Shared {
    /// Runs a task of the node. If it panics, the node stops using its cache and counts as
    /// disconnected.
    pub(crate) async fn guarded(&self, task: &'static str, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return;
        }

        // The gate first: the rest drops values and logs, so it may panic again.
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
