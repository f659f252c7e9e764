//! A reader of the log under test.

use std::sync::Arc;

use tidings_core::{
    Chain,
    log::{Body, Cursor, Epoch, Extent, GapReason, Log, LogError, Mark, Read},
};

use super::Outcome;

/// Reads from a cursor on.
#[derive(Clone)]
pub(super) struct Reader {
    log: Arc<dyn Log>,
    cursor: Cursor,
    limit: usize,
}

/// What one read gave.
pub(super) enum Page {
    Records(Vec<Body>, Extent),
    Gap(GapReason),
}

impl Reader {
    pub(super) async fn at_head(log: Arc<dyn Log>) -> Result<Self, String> {
        let head = log.head(None).await.map_err(failed)?;
        Ok(Self {
            log,
            cursor: head.cursor,
            limit: 500,
        })
    }

    pub(super) fn by_pages_of(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.cursor.epoch()
    }

    pub(super) fn covers(&self, mark: Mark) -> bool {
        self.cursor.covers(mark)
    }

    /// Goes on over another link from the same place, which was written down in between.
    pub(super) fn come_back(self, log: Arc<dyn Log>) -> Result<Self, String> {
        let text = self.cursor.to_string();
        let cursor: Cursor = text.parse().map_err(|error| format!("{text}: {error}"))?;
        ensure(cursor == self.cursor, format!("{text} is another cursor"))?;
        Ok(Self {
            log,
            cursor,
            ..self
        })
    }

    pub(super) async fn page(&mut self) -> Result<Page, String> {
        let read = self.log.read(&self.cursor, self.limit, None).await;
        match read.map_err(failed)? {
            Read::Gap(gap) => Ok(Page::Gap(gap.reason)),
            Read::Batch(batch) => {
                let many = batch.records.len() > self.limit;
                ensure(!many, "a page holds more than was asked for")?;
                self.cursor = batch.cursor;
                let bodies = batch.records.into_iter().map(|record| record.body);
                Ok(Page::Records(bodies.collect(), batch.extent))
            }
        }
    }

    /// Begins to read a page, and drops the read.
    pub(super) fn begin_page(&self) {
        poll_once(self.log.read(&self.cursor, self.limit, None));
    }

    /// Reads until nothing is left.
    pub(super) async fn all(&mut self) -> Result<Vec<Body>, String> {
        let mut all = Vec::new();
        loop {
            match self.page().await? {
                Page::Gap(reason) => return Err(format!("a gap ({reason})")),
                Page::Records(mut records, extent) => {
                    all.append(&mut records);
                    if extent == Extent::All {
                        return Ok(all);
                    }
                }
            }
        }
    }
}

pub(super) fn ensure(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

pub(super) fn failed(error: LogError) -> String {
    Chain(&error).to_string()
}

/// Polls a future once, and drops it.
pub(super) fn poll_once<F: Future + Unpin>(mut future: F) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::Pin::new(&mut future).poll(&mut context);
}
