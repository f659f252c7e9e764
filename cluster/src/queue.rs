//! [`Queue`]: between the tail, which evicts and goes on, and the dispatcher, which runs handlers.
//!
//! It holds a bounded number of changes. Beyond that it keeps only the cursor before the first
//! batch that did not fit, and the dispatcher reads from the log again: nothing is lost unless the
//! log has lost it.
//!
//! What holds no changes is folded while it waits: positions into the last one, gaps that lie side
//! by side into one. Of such, at most one gap and one position follow each batch with changes, the
//! gap first: handlers that hear of a gap before a position moves are told no less.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::{
    clock::Tick,
    log::{Cursor, Demand, Gap, Record},
};
use tokio::sync::Notify;

use crate::gate::Generation;

/// What the tail leaves for the dispatcher.
#[derive(Debug)]
pub(crate) enum Item {
    /// The tail took a new cursor at the head; a gap unless this is the beginning.
    Head { cursor: Cursor, gap: Option<Gap> },
    /// Records that were applied.
    Batch(Applied),
    /// Handlers missed something, and the tail goes on from where it is.
    Gap(Gap),
    /// Records that did not fit: to be read from the log, from this cursor on.
    Behind(Cursor, Episode),
}

impl Item {
    /// Returns whether it only says how far the tail is.
    fn is_position(&self) -> bool {
        match self {
            Self::Batch(batch) => batch.records.is_empty(),
            Self::Head { .. } | Self::Gap(_) | Self::Behind(..) => false,
        }
    }

    /// Returns whether a new cursor takes its place, and its gap along.
    fn is_gap(&self) -> bool {
        match self {
            Self::Head { .. } | Self::Gap(_) => true,
            Self::Batch(_) | Self::Behind(..) => false,
        }
    }

    fn into_gap(self) -> Option<Gap> {
        match self {
            Self::Head { gap, .. } => gap,
            Self::Gap(gap) => Some(gap),
            Self::Batch(_) | Self::Behind(..) => None,
        }
    }
}

/// Returns one gap in the place of two that lie side by side.
fn merged(before: Option<Gap>, gap: Option<Gap>) -> Option<Gap> {
    match (before, gap) {
        (Some(before), Some(gap)) => Some(before.and(gap)),
        (before, gap) => before.or(gap),
    }
}

/// Names one time of being behind: a new cursor ends it, and another may have begun by the time at
/// which the dispatcher notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Episode(u64);

/// A batch whose evictions were made.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Each with the number of its eviction.
    pub(crate) records: Vec<(Record, u64)>,
    pub(crate) pages: Pages,
    pub(crate) cursor: Cursor,
    pub(crate) after: After,
}

/// Whether a batch may hold parts of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    Whole,
    Cut,
}

/// What follows once a batch is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    pub(crate) generation: Generation,
    /// The node was fresh at this moment.
    pub(crate) proof: Option<Tick>,
    /// The node serves again.
    pub(crate) resume: bool,
    /// Others have asked for a report.
    pub(crate) demand: Option<Demand>,
}

impl After {
    /// Combines what follows this batch with what follows one before it, for when both are applied.
    fn and(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.generation == self.generation => Self {
                generation: self.generation,
                proof: self.proof.max(before.proof),
                resume: self.resume || before.resume,
                demand: self.demand.max(before.demand),
            },
            Some(_) | None => self,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// How many records the items hold: at most `capacity`, or those of one batch.
    records: usize,
    /// Set while the dispatcher has to read by itself.
    behind: Option<Episode>,
    episodes: Episode,
    /// What follows once it has caught up.
    after: Option<After>,
    /// What the dispatcher has read by itself: the tail's records of these commits were dispatched.
    dispatched: Option<Cursor>,
    /// The cursor after the last batch that the tail pushed, and how many batches with records it
    /// has pushed.
    tail: Option<Cursor>,
    pushed: Pushed,
}

/// Counts the batches that the tail has pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed(u64);

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            capacity,
        }
    }

    /// Puts a batch in line. Returns whether it is held in memory.
    pub(crate) fn push(&self, mut batch: Applied) -> Held {
        let mut state = self.state.lock();
        if let Some(dispatched) = &state.dispatched {
            batch
                .records
                .retain(|(record, _)| !dispatched.covers(record.mark));
        }
        if !batch.records.is_empty() {
            state.pushed.0 += 1;
        }

        let is_empty = batch.records.is_empty();
        let fits =
            is_empty || state.records == 0 || state.records + batch.records.len() <= self.capacity;
        let before = state.tail.replace(batch.cursor.clone());
        let held = match (&state.behind, before) {
            (Some(_), _) => Held::InLog,
            (None, Some(before)) if !fits => {
                state.episodes.0 += 1;
                let episode = state.episodes;
                state.behind = Some(episode);
                state.items.push_back(Item::Behind(before, episode));
                Held::InLog
            }
            (None, _) => Held::InMemory,
        };

        match held {
            Held::InMemory => {
                state.records += batch.records.len();
                match state.items.back_mut() {
                    // A position alone: the changes before it are what there is to wait for.
                    Some(Item::Batch(last)) if is_empty => {
                        last.cursor = batch.cursor;
                        last.after = batch.after.and(Some(last.after));
                    }
                    _ => state.items.push_back(Item::Batch(batch)),
                }
            }
            Held::InLog => {
                let before = state.after.take();
                state.after = Some(batch.after.and(before));
            }
        }
        drop(state);
        self.filled.notify_one();
        held
    }

    /// Puts a new cursor at the head in line, behind what is there.
    pub(crate) fn restart(&self, cursor: Cursor, gap: Option<Gap>) {
        let mut state = self.state.lock();
        state.tail = Some(cursor.clone());
        state.pushed.0 += 1;
        // What was to be read again lies before a gap now; the gap says so.
        if state.behind.take().is_some() {
            state.items.retain(|item| !matches!(item, Item::Behind(..)));
        }
        state.after = None;
        state.dispatched = None;
        // A position without changes means nothing once there is another cursor.
        state.items.pop_back_if(|last| last.is_position());
        let before = state.items.pop_back_if(|last| last.is_gap());
        let gap = merged(before.and_then(Item::into_gap), gap);
        state.items.push_back(Item::Head { cursor, gap });
        drop(state);
        self.filled.notify_one();
    }

    /// Puts a gap in line without a new cursor.
    pub(crate) fn gap(&self, gap: Gap) {
        let mut state = self.state.lock();
        let position = state.items.pop_back_if(|last| last.is_position());
        match state.items.back_mut() {
            Some(Item::Gap(before)) => *before = before.clone().and(gap),
            Some(Item::Head { gap: before, .. }) => *before = merged(before.take(), Some(gap)),
            Some(Item::Batch(_) | Item::Behind(..)) | None => {
                state.items.push_back(Item::Gap(gap));
            }
        }
        state.items.extend(position);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for the next item.
    pub(crate) async fn next(&self) -> Item {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state.lock();
                if let Some(item) = state.items.pop_front() {
                    if let Item::Batch(batch) = &item {
                        state.records -= batch.records.len();
                    }
                    return item;
                }
            }
            filled.await;
        }
    }

    /// Returns how many records wait in memory.
    pub(crate) fn records(&self) -> usize {
        self.state.lock().records
    }

    /// Returns how much the tail has pushed: to be asked before the dispatcher reads by itself.
    pub(crate) fn pushed(&self) -> Pushed {
        self.state.lock().pushed
    }

    /// Gives up what was to be read again, because the log no longer holds it. Returns `None` if
    /// the tail has taken a new cursor.
    pub(crate) fn skip(&self, episode: Episode) -> Option<Skipped> {
        let mut state = self.state.lock();
        state.behind.take_if(|behind| *behind == episode)?;
        let after = state.after.take();
        let cursor = state.tail.clone()?;
        Some(Skipped { cursor, after })
    }

    /// Reports that the dispatcher has read all that there was, by a question that it asked after
    /// `before`.
    ///
    /// If the tail has pushed nothing since then, its cursor is no further: the queue is used
    /// again, without what was dispatched. Otherwise the dispatcher reads on.
    pub(crate) fn caught_up(&self, episode: Episode, cursor: &Cursor, before: Pushed) -> CaughtUp {
        let mut state = self.state.lock();
        if state.behind != Some(episode) {
            return CaughtUp::Restarted;
        }
        if state.pushed == before {
            state.behind = None;
            state.dispatched = Some(cursor.clone());
            return CaughtUp::Here(state.after.take());
        }
        CaughtUp::NotYet
    }
}

/// Where the tail is, for a dispatcher that goes on from there.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) cursor: Cursor,
    pub(crate) after: Option<After>,
}

/// Where a batch is until its handlers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    InMemory,
    /// There was no room: the dispatcher reads it again.
    InLog,
}

/// Where a dispatcher that reads for itself is.
#[derive(Debug)]
pub(crate) enum CaughtUp {
    /// Where the tail is, or further.
    Here(Option<After>),
    /// Perhaps behind the tail.
    NotYet,
    /// The tail has taken a new cursor.
    Restarted,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_core::{
        clock::ManualClock,
        log::{Body, Epoch, GapReason, Mark, Place},
    };
    use uuid::Uuid;

    use super::*;
    use crate::gate::Gate;

    fn epoch() -> Epoch {
        Epoch::new(1, Uuid::nil())
    }

    fn batch(numbers: std::ops::RangeInclusive<u64>) -> Applied {
        let cursor = Cursor::counted(epoch(), *numbers.end());
        let record = |number| Record {
            place: Place(Cursor::counted(epoch(), number)),
            mark: Mark::new(epoch(), number),
            origin: None,
            body: Body::Entity("consumers".into()),
        };
        Applied {
            records: numbers.map(|number| (record(number), 0)).collect(),
            pages: Pages::Whole,
            cursor,
            after: After {
                generation: Gate::new(Arc::new(ManualClock::new()), None).generation(),
                proof: None,
                resume: false,
                demand: None,
            },
        }
    }

    fn next(queue: &Queue) -> Option<Item> {
        use futures_util::FutureExt;
        queue.next().now_or_never()
    }

    #[test]
    fn what_does_not_fit_is_read_from_the_log_again_and_then_the_queue_is_used_again() {
        let queue = Queue::new(3);
        queue.restart(Cursor::counted(epoch(), 0), None);
        assert_eq!(queue.push(batch(1..=2)), Held::InMemory);
        assert_eq!(queue.push(batch(3..=4)), Held::InLog);
        assert_eq!(queue.push(batch(5..=5)), Held::InLog);

        assert!(matches!(next(&queue), Some(Item::Head { .. })));
        assert!(matches!(next(&queue), Some(Item::Batch(_))));
        let from = Cursor::counted(epoch(), 2);
        let episode = match next(&queue) {
            Some(Item::Behind(cursor, episode)) if cursor == from => episode,
            other => panic!("{other:?}"),
        };

        let before = queue.pushed();
        queue.push(batch(6..=6));
        let read = Cursor::counted(epoch(), 5);
        assert!(matches!(
            queue.caught_up(episode, &read, before),
            CaughtUp::NotYet
        ));
        let (before, read) = (queue.pushed(), Cursor::counted(epoch(), 7));
        assert!(matches!(
            queue.caught_up(episode, &read, before),
            CaughtUp::Here(Some(_))
        ));

        // The tail comes to what the dispatcher has read by itself.
        assert_eq!(queue.push(batch(7..=8)), Held::InMemory);
        match next(&queue) {
            Some(Item::Batch(batch)) => assert_eq!(batch.records.len(), 1),
            other => panic!("{other:?}"),
        }
    }

    fn gap(entity: &str) -> Gap {
        Gap::of_entity(GapReason::Capture, entity)
    }

    /// How many items wait.
    fn length(queue: &Queue) -> usize {
        queue.state.lock().items.len()
    }

    #[test]
    fn positions_and_gaps_without_changes_are_folded_while_the_dispatcher_is_held_up() {
        let queue = Queue::new(3);
        queue.restart(Cursor::counted(epoch(), 0), None);
        queue.push(batch(1..=2));
        let position = |last: u64| Applied {
            records: Vec::new(),
            ..batch(last..=last)
        };
        for number in 2..1_000 {
            queue.push(position(number));
            queue.gap(gap("consumers"));
        }
        assert_eq!(length(&queue), 4);

        assert!(matches!(next(&queue), Some(Item::Head { gap: None, .. })));
        let Some(Item::Batch(first)) = next(&queue) else {
            panic!("the changes come first");
        };
        assert_eq!(
            (first.records.len(), first.cursor),
            (2, Cursor::counted(epoch(), 2))
        );
        assert!(matches!(next(&queue), Some(Item::Gap(told)) if told == gap("consumers")));
        let Some(Item::Batch(last)) = next(&queue) else {
            panic!("the position comes last");
        };
        assert_eq!(last.cursor, Cursor::counted(epoch(), 999));
    }

    #[test]
    fn cursors_that_follow_each_other_become_the_last_with_what_all_of_them_have_lost() {
        let queue = Queue::new(3);
        for number in 1..1_000 {
            queue.gap(gap("consumers"));
            queue.restart(Cursor::counted(epoch(), number), Some(gap("credentials")));
            queue.push(Applied {
                records: Vec::new(),
                ..batch(number..=number)
            });
        }
        assert_eq!(length(&queue), 2);
        let all = Gap::of_all(GapReason::Capture);
        let head = next(&queue);
        let Some(Item::Head {
            cursor,
            gap: Some(told),
        }) = head
        else {
            panic!("{head:?}");
        };
        assert_eq!((cursor, told), (Cursor::counted(epoch(), 999), all));
    }

    #[test]
    fn an_empty_batch_fits_behind_one_that_is_larger_than_the_queue() {
        let queue = Queue::new(1);
        queue.restart(Cursor::counted(epoch(), 0), None);
        assert_eq!(queue.push(batch(1..=9)), Held::InMemory);
        let empty = Applied {
            records: Vec::new(),
            ..batch(10..=10)
        };
        assert_eq!(queue.push(empty), Held::InMemory);
    }

    #[test]
    fn a_new_cursor_ends_what_was_to_be_read_again_and_not_what_comes_after_it() {
        let queue = Queue::new(1);
        queue.restart(Cursor::counted(epoch(), 0), None);
        queue.push(batch(1..=1));
        queue.push(batch(2..=2));
        assert!(matches!(next(&queue), Some(Item::Head { .. })));
        assert!(matches!(next(&queue), Some(Item::Batch(_))));
        let Some(Item::Behind(_, ended)) = next(&queue) else {
            panic!("the second batch does not fit");
        };

        // While the dispatcher reads, the tail takes a new cursor and gets ahead again.
        queue.restart(Cursor::counted(epoch(), 9), None);
        assert_eq!(queue.push(batch(10..=10)), Held::InMemory);
        assert_eq!(queue.push(batch(11..=11)), Held::InLog);
        let read = Cursor::counted(epoch(), 11);
        let caught_up = queue.caught_up(ended, &read, queue.pushed());
        assert!(matches!(caught_up, CaughtUp::Restarted), "{caught_up:?}");
        assert!(queue.skip(ended).is_none());

        assert!(matches!(next(&queue), Some(Item::Head { .. })));
        assert!(matches!(next(&queue), Some(Item::Batch(_))));
        let Some(Item::Behind(_, episode)) = next(&queue) else {
            panic!("the last batch is still to be read");
        };
        let caught_up = queue.caught_up(episode, &read, queue.pushed());
        assert!(matches!(caught_up, CaughtUp::Here(_)), "{caught_up:?}");
    }
}
