//! [`Positions`]: how a node issues and checks tokens.
//!
//! A node without a log counts its commits within one start, which is their epoch. The number of
//! the epoch counts the starts of nodes on the database, so that the later of two starts is known.

use std::sync::Arc;

use tidings_core::log::Epoch;
use tidings_store::Start;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{progress::Progress, token::Seal};

#[derive(Debug)]
pub(crate) struct Positions {
    pub(crate) seal: Seal,
    /// The commits of a node without a log.
    pub(crate) progress: Arc<Progress>,
    /// This start of the node.
    pub(crate) epoch: Epoch,
    /// Room for the calls that wait for a position.
    pub(crate) waiting: Semaphore,
    /// Room for probes.
    pub(crate) probing: Semaphore,
}

/// The start of the node that has counted a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// An earlier one: whatever it had cached is gone.
    Before,
    /// This one.
    Now,
    /// One that this database does not know, because it was restored to an earlier state.
    Later,
}

impl Positions {
    /// How many calls may wait.
    pub(crate) const WAITING: usize = 4_096;
    /// How many probes may run.
    pub(crate) const PROBING: usize = 4;

    pub(crate) fn new(start: &Start, progress: Arc<Progress>) -> Self {
        Self {
            seal: Seal::new(&start.key),
            progress,
            epoch: Epoch::new(start.number, Uuid::new_v4()),
            waiting: Semaphore::new(Self::WAITING),
            probing: Semaphore::new(Self::PROBING),
        }
    }

    /// Returns which start an epoch of a node without a log is.
    pub(crate) fn started(&self, epoch: Epoch) -> Started {
        if epoch == self.epoch {
            Started::Now
        } else if epoch.number <= self.epoch.number {
            Started::Before
        } else {
            Started::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_store::Store;

    use super::*;

    #[tokio::test]
    async fn an_earlier_start_is_told_from_one_that_is_not_known() {
        let store = Store::open("sqlite::memory:").await.expect("a store");
        let mut starts = Vec::new();
        for _ in 0..3 {
            starts.push(store.start().await.expect("it counts"));
        }
        let [first, second, third] = &starts[..] else {
            panic!("three starts");
        };
        assert_eq!([first.number, second.number, third.number], [1, 2, 3]);
        assert!(first.key == second.key && second.key == third.key);

        let of = |start| Positions::new(start, Progress::new());
        let now = of(second);
        assert_eq!(now.started(of(first).epoch), Started::Before);
        assert_eq!(now.started(now.epoch), Started::Now);
        assert_eq!(now.started(of(third).epoch), Started::Later);
    }
}
