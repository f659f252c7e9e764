//! [`Floor`]: the least time between two reads that hints make.
//!
//! Anything that may publish on the broker, or notify on the database, can send hints that there is
//! something to read. The first counts at once. While hints lead to nothing the next ones wait for
//! a floor that doubles from 1 ms to 20 ms, so that a flood of them costs some fifty reads a second
//! and no more; one that leads to something removes the floor. It holds up hints alone: a caller of
//! this node that waits does not go through it.

use std::time::Duration;

use tidings_core::{
    clock::{Clock, Tick},
    log::{Batch, Demand, Extent},
};

const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_millis(20);

/// What a read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    News,
    Nothing,
}

/// Tells reads of the log that found something new from those that did not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    /// The last demand for a report that was read.
    demanded: Option<Demand>,
}

impl News {
    /// Returns whether a read has found something that a wake-up may announce. A record that was
    /// passed over counts too, since the programs that write it send honest wake-ups. A demand that
    /// was read before does not count: it may be a while until the handlers let this node answer
    /// it.
    pub(crate) fn found(&mut self, batch: &Batch) -> Found {
        let demand = batch.sight.demand;
        let is_demanded = demand.is_some() && demand > self.demanded;
        self.demanded = self.demanded.max(demand);

        let is_empty = batch.records.is_empty() && batch.passed_over == 0;
        match batch.extent {
            Extent::All if is_empty && !is_demanded => Found::Nothing,
            Extent::All | Extent::More => Found::News,
        }
    }

    /// Notes that the node has joined: the demands of its new row begin again.
    pub(crate) fn joined(&mut self) {
        self.demanded = None;
    }
}

/// How soon the next hint counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    pause: Duration,
    /// When a hint last counted.
    last: Option<Tick>,
    /// Whether the read to come is a hint's.
    hinted: bool,
}

impl Floor {
    /// Waits until a hint that has arrived counts.
    pub(crate) async fn pass(self, clock: &dyn Clock) {
        let left = self.left(clock.now());
        // No timer where none is needed: the system's are a millisecond long at least.
        if left > Duration::ZERO {
            clock.sleep(left).await;
        }
    }

    /// Returns how long a hint that has arrived by this moment waits before it counts.
    fn left(&self, now: Tick) -> Duration {
        let since = self.last.map_or(MOST, |last| now.since(last));
        self.pause.saturating_sub(since)
    }

    /// Notes that a hint counts: the next read is due to it.
    pub(crate) fn hinted(&mut self, now: Tick) {
        self.last = Some(now);
        self.hinted = true;
    }

    /// Notes what a read has found. A read that no hint has caused says nothing about hints.
    pub(crate) fn read(&mut self, found: Found) {
        let hinted = std::mem::take(&mut self.hinted);
        match found {
            Found::News => self.pause = Duration::ZERO,
            Found::Nothing if hinted => self.pause = (self.pause * 2).clamp(LEAST, MOST),
            Found::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::log::{Cursor, Epoch, Sight};

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick(0).plus(Duration::from_millis(millis))
    }

    #[test]
    fn hints_that_lead_to_nothing_wait_longer_until_one_leads_to_something() {
        let mut floor = Floor::default();
        let mut now = at(0);
        let mut waited = Vec::new();
        for _ in 0..8 {
            let left = floor.left(now);
            waited.push(left.as_millis());
            now = now.plus(left);
            floor.hinted(now);
            floor.read(Found::Nothing);
        }
        assert_eq!(waited, [0, 1, 2, 4, 8, 16, 20, 20]);

        floor.hinted(now);
        floor.read(Found::News);
        assert_eq!(floor.left(now), Duration::ZERO);
    }

    #[test]
    fn a_hint_after_a_pause_counts_at_once_and_polls_raise_nothing() {
        let mut floor = Floor::default();
        floor.hinted(at(0));
        for _ in 0..9 {
            floor.read(Found::Nothing);
        }
        assert_eq!(floor.left(at(0)), LEAST);
        assert_eq!(floor.left(at(1)), Duration::ZERO);
    }

    #[test]
    fn demands_are_news_once_and_again_after_a_join() {
        let demanded = |number| Batch {
            trail: Vec::new(),
            records: Vec::new(),
            passed_over: 0,
            cursor: Cursor::counted(Epoch::new(1, Default::default()), 7),
            extent: Extent::All,
            sight: Sight {
                demand: Some(Demand(number)),
                ..Sight::alone()
            },
        };
        let mut news = News::default();
        let found = [5, 5, 6, 6].map(|number| news.found(&demanded(number)));
        let expected = [Found::News, Found::Nothing, Found::News, Found::Nothing];
        assert_eq!(found, expected);

        news.joined();
        assert_eq!(news.found(&demanded(1)), Found::News);
        assert_eq!(news.found(&demanded(1)), Found::Nothing);
    }
}
