//! [`Progress`]: how far a node without a log has applied its own commits.
//!
//! Commits are numbered in their order. A commit is applied when the entries that it touches were
//! evicted and its handlers have run, late ones too. The node has applied a number when it has
//! applied all commits up to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// Counts the commits of one node.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    applied: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Commits that are not applied. Each holds a place in a queue of the bus, or is being
    /// written, so there are never more than these have room for.
    open: BTreeSet<u64>,
}

/// A commit that is not applied yet. Dropping this marks it as applied.
#[derive(Debug)]
pub(crate) struct Step {
    progress: Arc<Progress>,
    number: u64,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            applied: watch::Sender::new(0),
        })
    }

    /// Counts a commit, before anything of it is applied.
    pub(crate) fn begin(self: &Arc<Self>) -> Step {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.open.insert(number);
        drop(state);
        Step {
            progress: Arc::clone(self),
            number,
        }
    }

    /// Returns the number of the last commit.
    pub(crate) fn last(&self) -> u64 {
        self.state().last
    }

    pub(crate) fn has_applied(&self, number: u64) -> bool {
        *self.applied.borrow() >= number
    }

    /// Waits until a commit and all before it are applied. Give it a deadline.
    pub(crate) async fn until_applied(&self, number: u64) {
        let mut applied = self.applied.subscribe();
        // The sender is part of what this borrows, so it exists.
        drop(applied.wait_for(|applied| *applied >= number).await);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// Returns the commit's number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.open.remove(&self.number);
        let first = state.open.first();
        let applied = first.map_or(state.last, |first| first - 1);
        drop(state);

        // Two commits that end at the same time may get here in either order.
        self.progress.applied.send_if_modified(|known| {
            let moves = *known < applied;
            *known = applied.max(*known);
            moves
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_as_applied_once_all_before_it_are() {
        let progress = Progress::new();
        let (one, two) = (progress.begin(), progress.begin());
        assert_eq!(progress.last(), 2);
        drop(two);
        assert!(!progress.has_applied(1) && !progress.has_applied(2));
        drop(one);
        assert!(progress.has_applied(2) && !progress.has_applied(3));
    }
}
