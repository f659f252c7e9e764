//! [`CatchUp`]: reads from the log what did not fit into a queue, page by page, until it is where
//! the tail is.

use tidings_core::{
    Chain,
    log::{Cursor, Extent, Gap, Read, Record},
};

use super::shared::Shared;
use crate::queue::{CaughtUp, Episode, Pages, Pushed, Queue};

/// A task that is behind the tail.
pub(super) struct CatchUp<'a> {
    shared: &'a Shared,
    queue: &'a Queue,
    cursor: Cursor,
    episode: Episode,
    cut: Pages,
    /// How much the tail had pushed before the last question.
    before: Pushed,
}

/// Records that were read again.
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    pub(super) pages: Pages,
    pub(super) cursor: Cursor,
    extent: Extent,
}

impl<'a> CatchUp<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        queue: &'a Queue,
        cursor: Cursor,
        episode: Episode,
    ) -> Self {
        Self {
            shared,
            queue,
            cursor,
            episode,
            cut: Pages::Cut, // where it begins, a transaction may be cut
            before: queue.pushed(),
        }
    }

    /// Reads the next page, or the gap in its place. Asks until it is answered.
    pub(super) async fn next(&mut self) -> Result<Page, Gap> {
        let shared = self.shared;
        let batch = loop {
            self.before = self.queue.pushed();

            match shared
                .log
                .read(&self.cursor, shared.settings.page, None)
                .await
            {
                Ok(Read::Batch(batch)) => break batch,
                Ok(Read::Gap(gap)) => return Err(gap),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "the log did not answer");
                    shared.clock.sleep(shared.settings.pause()).await;
                }
            }
        };
        let pages = match (self.cut, batch.extent) {
            (Pages::Whole, Extent::All) => Pages::Whole,
            (Pages::Cut, _) | (_, Extent::More) => Pages::Cut,
        };
        Ok(Page {
            records: batch.records,
            pages,
            cursor: batch.cursor,
            extent: batch.extent,
        })
    }

    /// Moves past a page that was processed. Returns whether that is where the tail is.
    pub(super) fn passed(&mut self, page: Page) -> CaughtUp {
        self.cursor = page.cursor;

        match page.extent {
            Extent::More => {
                self.cut = Pages::Cut;
                CaughtUp::NotYet
            }
            Extent::All => {
                self.cut = Pages::Whole;
                self.queue
                    .caught_up(self.episode, &self.cursor, self.before)
            }
        }
    }
}
