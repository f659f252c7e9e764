//! Rows whose records may lie on several pages, read whole: those of many rows with one question.

use std::sync::Arc;

use tidings_core::{
    Chain,
    log::{Group, Log, Record, RowOf, RowRecord},
};

use super::shared::Shared;

/// How many records are gone through, and their rows read, at a time.
pub(super) const AT_ONCE: usize = 256;

/// Names the row of a record in its commit.
pub(super) fn row_of(record: &Record, row: &RowRecord) -> RowOf {
    RowOf {
        mark: record.mark,
        entity: Arc::clone(&row.entity),
        key: row.key.clone(),
    }
}

impl Shared {
    /// Reads every record of some rows in their commits, in the order of the rows; none of those
    /// that the log has lost. Asks until it is answered.
    pub(super) async fn whole_groups(&self, log: &dyn Log, rows: &[RowOf]) -> Vec<Option<Group>> {
        if rows.is_empty() {
            return Vec::new();
        }
        loop {
            match log.groups(rows).await {
                Ok(groups) => return groups,
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "rows' records could not be read");
                    self.clock.sleep(self.settings.pause()).await;
                }
            }
        }
    }
}
