//! [`Replay`]: reads the log beyond a place, for a reader that comes back.
//!
//! It reads over another log than the tail's, so that the tail never waits for it, and one page at
//! a time for the whole node. At most eight readers hold a page. The others wait in order, with
//! nothing in memory, until one of the eight has handed out its page or is dropped. A place is
//! checked before the log is asked: one of another epoch, or one that this node does not reach in
//! time, is a gap.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Chain,
    log::{Cursor, Extent, Gap, GapReason, Log, Mark, Place, Position, Read},
};

use super::{groups::Met, protocol::Protocol, replays::Holding, shared::Shared, tell::Telling};
use crate::{announce::Told, queue::Pages};

/// The maximum number of records of one page.
const PAGE: usize = 32;
/// How long to wait until this node reaches a place that another node has handed out.
const AHEAD: Duration = Duration::from_secs(1);

/// Reads the log from a place to its end.
pub struct Replay {
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    cursor: Cursor,
    checked: Checked,
    /// The rows that continue on later pages.
    met: Met,
    /// The right to hold a page, while one is held.
    held: Option<Holding>,
}

/// Whether the place was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    No,
    Yes,
}

/// One page of a [`Replay`].
#[derive(Debug)]
pub enum Replayed {
    /// Its items; more follow.
    More(Vec<Told>),
    /// Its items; nothing was left when the log was asked.
    End(Vec<Told>),
    /// The log does not hold what comes after the place.
    Gap(Gap),
}

impl Protocol {
    /// Begins to read beyond a place, over another log than the node's own. Asks nothing of it yet.
    #[must_use]
    pub fn replay(&self, log: Arc<dyn Log>, from: &Place) -> Replay {
        Replay {
            shared: Arc::clone(self.shared()),
            log,
            cursor: from.0.clone(),
            checked: Checked::No,
            met: Met::default(),
            held: None,
        }
    }
}

impl Replay {
    /// Returns whether the commit was read.
    #[must_use]
    pub fn covers(&self, mark: Mark) -> bool {
        self.checked == Checked::Yes && self.cursor.covers(mark)
    }

    /// Lets another reader hold a page. Call it once this one's page is handed out in full.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Reads the next page, which is held until [`release`](Self::release) or the next call. Waits
    /// while the log does not answer, and while the maximum number of readers hold a page.
    ///
    /// Cancel safe: the cursor moves only once the page is complete, so a page whose future was
    /// dropped is read again.
    pub async fn next(&mut self) -> Replayed {
        if self.checked == Checked::No {
            if let Err(gap) = self.check().await {
                return Replayed::Gap(gap);
            }
            self.checked = Checked::Yes;
        }
        let shared = Arc::clone(&self.shared);
        self.release();

        // Before the turn, so that a reader that waits for this does not keep others from reading.
        let held = shared.replays.hold().await;

        // Held for one page, so that readers that come back at the same time take turns.
        let turn = shared.replays.turn.lock().await;
        let batch = loop {
            match self.log.read(&self.cursor, PAGE, None).await {
                Ok(Read::Batch(batch)) => break batch,
                Ok(Read::Gap(gap)) => return Replayed::Gap(gap),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "the log did not answer a reader that comes back");
                    shared.clock.sleep(shared.settings.pause()).await;
                }
            }
        };

        // A transaction may have begun before the place, and any page may cut one.
        let mut told = Vec::new();
        let records: Vec<_> = batch.records.iter().collect();
        let mut telling = Telling::new(&shared, &records, Pages::Cut);
        while let Some(more) = telling.next(&*self.log, &mut self.met).await {
            told.extend(more);
        }

        drop(turn);
        self.cursor = batch.cursor;
        self.held = (!told.is_empty()).then_some(held);

        match batch.extent {
            Extent::More => Replayed::More(told),
            Extent::All => Replayed::End(told),
        }
    }

    /// Waits until the node follows the log and has reached the place.
    async fn check(&self) -> Result<(), Gap> {
        let shared = &self.shared;
        shared.seen.until(|_| true).await;

        let epoch = self.cursor.epoch();
        let settled = |seen: &Cursor| seen.epoch() != epoch || !is_beyond(&self.cursor, seen);
        let reached = std::pin::pin!(shared.seen.until(settled));
        match select(reached, shared.clock.sleep(AHEAD)).await {
            Either::Left((seen, _)) if seen.epoch() == epoch => Ok(()),
            Either::Left(_) => Err(Gap::of_all(GapReason::Epoch)),
            Either::Right(_) => Err(Gap::of_all(GapReason::LostTail)),
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// Returns whether a place is beyond what was seen, or not one of this kind of log. Such a place
/// was made up, or the log has lost it.
fn is_beyond(place: &Cursor, seen: &Cursor) -> bool {
    let newest = |cursor: &Cursor| match cursor.position() {
        Position::Counted(last) | Position::Numbered { last, .. } => (None, *last),
        Position::Snapshot(snapshot) => (Some(()), snapshot.xmax()),
        Position::Page { target, .. } => (Some(()), target.xmax()),
    };
    let ((kind, place), (of, seen)) = (newest(place), newest(seen));
    kind != of || place > seen
}

#[cfg(test)]
mod tests;
