//! The order in which commits are announced.
//!
//! Where several may write at a time, two commits of one row come in an order that the database's
//! row lock decides, and their acknowledgements may come in another. So a write takes its [`Turn`]
//! while it holds the locks, before it commits: of two writes on one row, the later gets the lock,
//! and hence its turn, after the earlier one has committed. Each then announces its changes after
//! those whose turns on the same rows were taken before.
//!
//! Writes on different rows do not wait for each other. A turn ends when it is dropped, however the
//! write ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tidings_core::CacheKey;
use tokio::sync::Semaphore;

/// The last turn on each row that is being written.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    last: Mutex<HashMap<CacheKey, Arc<Link>>>,
}

/// A write's place in the order of its rows.
#[derive(Debug)]
pub(crate) struct Turn {
    sequence: Arc<Sequence>,
    rows: Vec<CacheKey>,
    own: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    /// Closed when the turn has ended.
    ended: Semaphore,
    /// The turns before this one, until they were waited for. A turn that ends without having
    /// waited leaves them to those that come after it.
    before: Mutex<Vec<Arc<Link>>>,
}

impl Sequence {
    /// Takes a turn on rows whose locks are held, and which are about to be committed.
    pub(crate) fn turn(self: &Arc<Self>, rows: Vec<CacheKey>) -> Turn {
        let own = Arc::new(Link {
            ended: Semaphore::new(0),
            before: Mutex::default(),
        });

        // All rows at once: two writes that share several take the same order on each.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = Vec::new();
        for row in &rows {
            if let Some(earlier) = last.insert(row.clone(), Arc::clone(&own))
                && !Arc::ptr_eq(&earlier, &own)
            {
                before.push(earlier);
            }
        }
        drop(last);

        *own.before() = before;
        Turn {
            sequence: Arc::clone(self),
            rows,
            own,
        }
    }
}

impl Turn {
    /// Waits until every earlier turn on these rows has ended. Each ends by itself, because a
    /// commit has a deadline.
    pub(crate) async fn come(&self) {
        let mut earlier = self.own.before().clone();
        while let Some(link) = earlier.pop() {
            // An error is what a closed semaphore gives: the turn has ended.
            let _ = link.ended.acquire().await;
            earlier.append(&mut link.before());
        }
        self.own.before().clear();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let last = self.sequence.last.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        for row in &self.rows {
            if last
                .get(row)
                .is_some_and(|link| Arc::ptr_eq(link, &self.own))
            {
                last.remove(row);
            }
        }
        drop(last);

        self.own.ended.close();
    }
}

impl Link {
    fn before(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Link>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn row(id: i64) -> CacheKey {
        CacheKey::primary("rows", id)
    }

    #[test]
    fn turns_on_one_row_come_in_their_order_and_others_do_not_wait() {
        let sequence = Arc::new(Sequence::default());
        let first = sequence.turn(vec![row(1), row(2)]);
        let second = sequence.turn(vec![row(2), row(3)]);
        let third = sequence.turn(vec![row(3)]);
        let apart = sequence.turn(vec![row(4)]);

        assert!(first.come().now_or_never().is_some());
        assert!(apart.come().now_or_never().is_some());
        assert!(second.come().now_or_never().is_none());
        assert!(third.come().now_or_never().is_none());
        drop(first);
        assert!(second.come().now_or_never().is_some());
        assert!(third.come().now_or_never().is_none());
        drop(second);
        assert!(third.come().now_or_never().is_some());
        drop((third, apart));
        assert!(sequence.last.lock().unwrap().is_empty());
    }

    #[test]
    fn a_turn_that_ends_without_waiting_leaves_its_wait_to_the_next() {
        let sequence = Arc::new(Sequence::default());
        let first = sequence.turn(vec![row(1)]);
        let failed = sequence.turn(vec![row(1)]);
        let last = sequence.turn(vec![row(1)]);
        drop(failed);
        assert!(last.come().now_or_never().is_none());
        drop(first);
        assert!(last.come().now_or_never().is_some());
    }
}
