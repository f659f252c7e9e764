//! The order in which commits are announced.
//!
//! If several writes run at a time, the database's row lock decides the order of two commits of one
//! row, but their acknowledgements may arrive in another order. So a write takes its [`Turn`] while
//! it holds the locks, before it commits: of two writes on one row, the later gets the lock, and
//! hence its turn, after the earlier one has committed. Each write then announces its changes after
//! the writes with earlier turns on the same rows.
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
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    rows: HashMap<CacheKey, Arc<Link>>,
    /// The last turn on all rows.
    all: Option<Arc<Link>>,
}

/// The rows that a turn is on.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    Rows(Vec<CacheKey>),
    /// All rows, for a commit whose rows are not reported one by one.
    All,
}

/// A write's place in the order of its rows.
#[derive(Debug)]
pub(crate) struct Turn {
    sequence: Arc<Sequence>,
    reach: Reach,
    own: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    /// Closed when the turn has ended.
    ended: Semaphore,
    /// The turns before this one, until this one has waited for them. A turn that ends without
    /// waiting leaves them to the turns after it.
    before: Mutex<Vec<Arc<Link>>>,
}

impl Sequence {
    /// Takes a turn on rows whose locks are held, and which are about to be committed.
    pub(crate) fn turn(self: &Arc<Self>, reach: Reach) -> Turn {
        let own = Arc::new(Link {
            ended: Semaphore::new(0),
            before: Mutex::default(),
        });

        // All rows under one lock, so that two writes that share several rows have the same order
        // on each.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before: Vec<_> = last.all.iter().cloned().collect();

        match &reach {
            Reach::Rows(rows) => {
                for row in rows {
                    if let Some(earlier) = last.rows.insert(row.clone(), Arc::clone(&own))
                        && !Arc::ptr_eq(&earlier, &own)
                    {
                        before.push(earlier);
                    }
                }
            }
            Reach::All => {
                before.extend(last.rows.values().cloned());
                last.all = Some(Arc::clone(&own));
            }
        }

        drop(last);

        *own.before() = before;
        Turn {
            sequence: Arc::clone(self),
            reach,
            own,
        }
    }
}

impl Turn {
    /// Waits until every earlier turn on these rows has ended. Each ends by itself, because a
    /// commit has a deadline.
    pub(crate) async fn wait(&self) {
        let mut earlier = self.own.before().clone();
        while let Some(link) = earlier.pop() {
            // A closed semaphore returns an error: the turn has ended.
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
        let is_own = |link: &Arc<Link>| Arc::ptr_eq(link, &self.own);
        match &self.reach {
            Reach::Rows(rows) => {
                for row in rows {
                    if last.rows.get(row).is_some_and(is_own) {
                        last.rows.remove(row);
                    }
                }
            }
            Reach::All => drop(last.all.take_if(|link| is_own(link))),
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

    fn rows(ids: &[i64]) -> Reach {
        Reach::Rows(
            ids.iter()
                .map(|id| CacheKey::primary("rows", *id))
                .collect(),
        )
    }

    #[test]
    fn turns_on_one_row_come_in_their_order_and_others_do_not_wait() {
        let sequence = Arc::new(Sequence::default());
        let first = sequence.turn(rows(&[1, 2]));
        let second = sequence.turn(rows(&[2, 3]));
        let third = sequence.turn(rows(&[3]));
        let apart = sequence.turn(rows(&[4]));

        assert!(first.wait().now_or_never().is_some());
        assert!(apart.wait().now_or_never().is_some());
        assert!(second.wait().now_or_never().is_none());
        assert!(third.wait().now_or_never().is_none());
        drop(first);
        assert!(second.wait().now_or_never().is_some());
        assert!(third.wait().now_or_never().is_none());
        drop(second);
        assert!(third.wait().now_or_never().is_some());
        drop((third, apart));
        assert!(sequence.last.lock().unwrap().rows.is_empty());
    }

    #[test]
    fn a_turn_that_ends_without_waiting_leaves_its_wait_to_the_next() {
        let sequence = Arc::new(Sequence::default());
        let first = sequence.turn(rows(&[1]));
        let failed = sequence.turn(rows(&[1]));
        let last = sequence.turn(rows(&[1]));
        drop(failed);
        assert!(last.wait().now_or_never().is_none());
        drop(first);
        assert!(last.wait().now_or_never().is_some());
    }

    #[test]
    fn a_turn_on_all_rows_comes_after_every_earlier_one_and_before_every_later_one() {
        let sequence = Arc::new(Sequence::default());
        let first = sequence.turn(rows(&[1]));
        let all = sequence.turn(Reach::All);
        let later = sequence.turn(rows(&[2]));
        assert!(all.wait().now_or_never().is_none());
        assert!(later.wait().now_or_never().is_none());
        drop(first);
        assert!(all.wait().now_or_never().is_some());
        drop(all);
        assert!(later.wait().now_or_never().is_some());
        assert!(sequence.last.lock().unwrap().all.is_none());
    }
}
