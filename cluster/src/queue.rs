//! [`Queue`]: from the tail, which evicts and goes on, to a task that processes the changes at its
//! own pace: the dispatcher, which runs handlers, or the task that serves the watchers of the log.
//!
//! It holds a bounded number of changes. Beyond that it keeps only the cursor before the first
//! batch that did not fit, and that task reads from the log again: nothing is lost unless the log
//! has lost it.
//!
//! Items without changes are folded while they wait: positions into the last one, adjacent gaps
//! into one. So at most one gap and one position follow each batch with changes, the gap first:
//! handlers that receive a gap before a position moves miss nothing.

// The items that wait. Must not know where.
mod item;

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::log::{Cursor, Gap};
use tokio::sync::Notify;

use self::item::merged;
pub(crate) use self::item::{After, Applied, Asked, Item, Pages};

/// Names one period of being behind: a new cursor ends it, and another may have begun by the time
/// the dispatcher notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Episode(u64);

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    room: Room,
}

/// How much a queue may hold; a single batch always fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Without a bound the records are not weighed.
    pub(crate) bytes: Option<usize>,
}

impl Room {
    fn weight(&self, batch: &Applied) -> usize {
        match self.bytes {
            Some(_) => batch.records.iter().map(|(it, _)| it.weight()).sum(),
            None => 0,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// How many records the items hold, and what those weigh.
    records: usize,
    bytes: usize,
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
    pub(crate) fn new(room: Room) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            room,
        }
    }

    /// Queues a batch. Returns whether it is held in memory.
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
        let weight = self.room.weight(&batch);
        let fits = is_empty
            || state.records == 0
            || state.records + batch.records.len() <= self.room.records
                && self
                    .room
                    .bytes
                    .is_none_or(|most| state.bytes + weight <= most);
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
                state.bytes += weight;

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

    /// Queues a new cursor at the head, behind what is there.
    pub(crate) fn restart(&self, cursor: Cursor, gap: Option<Gap>) {
        let mut state = self.state.lock();
        state.tail = Some(cursor.clone());
        state.pushed.0 += 1;

        // What was to be read again is now before a gap, and the gap covers it.
        if state.behind.take().is_some() {
            state.items.retain(|item| !matches!(item, Item::Behind(..)));
        }
        state.after = None;
        state.dispatched = None;

        // A position without changes means nothing once there is another cursor.
        state.items.pop_back_if(|last| last.is_position());
        let mut gap = gap;
        while let Some(before) = state.items.pop_back_if(|last| last.is_gap()) {
            gap = merged(before.into_gap(), gap);
        }

        state.items.push_back(Item::Head { cursor, gap });
        drop(state);
        self.filled.notify_one();
    }

    /// Queues a gap without a new cursor.
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

    /// Forgets all that waits, because no one will receive it. What is pushed next is the
    /// beginning.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        if state.tail.is_none() && state.items.is_empty() {
            return; // it was cleared before
        }

        let kept = State {
            episodes: state.episodes,
            pushed: Pushed(state.pushed.0 + 1),
            ..State::default()
        };
        let gone = std::mem::replace(&mut *state, kept);
        drop(state);
        drop(gone); // it may be much
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
                        state.bytes -= self.room.weight(batch);
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

    /// Returns how much the tail has pushed. Call it before the dispatcher reads by itself.
    pub(crate) fn pushed(&self) -> Pushed {
        self.state.lock().pushed
    }

    /// Returns whether something still has to be read again: no longer once there is another
    /// cursor, or no one to receive it.
    pub(crate) fn is_behind(&self, episode: Episode) -> bool {
        self.state.lock().behind == Some(episode)
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
mod tests;
