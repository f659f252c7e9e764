//! [`Watch`]: between the tail and the task that hands on what the log tells to those that watch
//! it.
//!
//! It holds a bounded number of records, and nothing while no one watches. What does not fit is
//! counted, and the count takes its place: the tail never waits.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::log::{Gap, Record};
use tokio::sync::Notify;

use crate::queue::Pages;

/// How many records wait at most, or those of one batch.
const MOST: usize = 4_096;

/// What the tail leaves for watchers.
#[derive(Debug)]
pub(crate) enum Left {
    /// Records whose evictions were made.
    Batch { records: Vec<Record>, pages: Pages },
    /// Something is missing here.
    Gap(Gap),
    /// There was no room for this many records.
    Lost(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    left: VecDeque<Left>,
    records: usize,
}

impl Watch {
    /// Leaves records, or the count of them where there is no room.
    pub(crate) fn push(&self, records: Vec<Record>, pages: Pages) {
        if records.is_empty() && pages == Pages::Whole {
            return;
        }
        let mut state = self.state.lock();
        if state.records == 0 || state.records + records.len() <= MOST {
            state.records += records.len();
            state.left.push_back(Left::Batch { records, pages });
        } else {
            let more = u64::try_from(records.len()).unwrap_or(u64::MAX);
            match state.left.back_mut() {
                Some(Left::Lost(lost)) => *lost = lost.saturating_add(more),
                Some(Left::Batch { .. } | Left::Gap(_)) | None => {
                    state.left.push_back(Left::Lost(more));
                }
            }
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Leaves a gap. One gap after the other is as good as the last, so they take no room.
    pub(crate) fn gap(&self, gap: Gap) {
        let mut state = self.state.lock();
        match state.left.back_mut() {
            Some(Left::Gap(last)) if last.scope == gap.scope => *last = gap,
            Some(Left::Batch { .. } | Left::Gap(_) | Left::Lost(_)) | None => {
                state.left.push_back(Left::Gap(gap));
            }
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for what was left next.
    pub(crate) async fn next(&self) -> Left {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state.lock();
                if let Some(left) = state.left.pop_front() {
                    if let Left::Batch { records, .. } = &left {
                        state.records -= records.len();
                    }
                    return left;
                }
            }
            filled.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tidings_core::log::{Body, Cursor, Epoch, GapReason, Mark, Place};
    use uuid::Uuid;

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        let epoch = Epoch::new(1, Uuid::nil());
        let record = Record {
            place: Place(Cursor::counted(epoch, 1)),
            mark: Mark::new(epoch, 1),
            origin: None,
            body: Body::Entity("consumers".into()),
        };
        vec![record; count]
    }

    #[test]
    fn what_does_not_fit_is_counted_in_its_place() {
        let watch = Watch::default();
        watch.push(records(MOST + 1), Pages::Whole); // one batch always fits
        watch.push(records(2), Pages::Whole);
        watch.push(records(3), Pages::Whole);
        watch.gap(Gap::of_all(GapReason::Epoch));
        let next = || watch.next().now_or_never();

        assert!(matches!(next(), Some(Left::Batch { records, .. }) if records.len() == MOST + 1));
        assert!(matches!(next(), Some(Left::Lost(5))));
        watch.push(records(4), Pages::Cut);
        assert!(matches!(next(), Some(Left::Gap(_))));
        assert!(matches!(next(), Some(Left::Batch { records, .. }) if records.len() == 4));
        assert!(next().is_none());
    }
}
