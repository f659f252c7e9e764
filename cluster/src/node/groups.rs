//! Rows whose records may lie on several pages, read whole: those of many rows with one question.

use std::sync::Arc;

use tidings_core::{
    Chain,
    log::{GapReason, Group, Log, Record, RowOf, RowRecord},
};

use super::{children::REFUSALS, shared::Shared};

/// How many records are gone through, and their rows read, at a time.
pub(super) const AT_ONCE: usize = 256;

/// Every record of a row in a commit, or why they are not known: the log has lost them, or it
/// answers and does not tell them.
pub(super) type Found = Result<Group, GapReason>;

/// Names the row of a record in its commit.
pub(super) fn row_of(record: &Record, row: &RowRecord) -> RowOf {
    RowOf {
        mark: record.mark,
        entity: Arc::clone(&row.entity),
        key: row.key.clone(),
    }
}

impl Shared {
    /// Reads every record of some rows in their commits, in the order of the rows: of all of them,
    /// or of the first ones, one at least. Asks for as long as the log is out of reach, and of
    /// fewer rows at a time while it refuses.
    pub(super) async fn whole_groups(&self, log: &dyn Log, rows: &[RowOf]) -> Vec<Found> {
        if rows.is_empty() {
            return Vec::new();
        }
        let (mut asked, mut refusals) = (rows, 0);
        loop {
            let error = match log.groups(asked).await {
                Ok(groups) => {
                    let found = groups.into_iter().take(asked.len());
                    let mut found: Vec<Found> =
                        found.map(|group| group.ok_or(GapReason::Trimmed)).collect();
                    if found.is_empty() {
                        found.push(Err(GapReason::Trimmed)); // or it would be asked without end
                    }
                    return found;
                }
                Err(error) => error,
            };

            refusals += 1;
            if (asked.len() > 1 || refusals >= REFUSALS) && log.answers().await.is_ok() {
                if asked.len() == 1 {
                    tracing::error!(error = %Chain(&error), "a row's records are not told, and the log answers");
                    return vec![Err(GapReason::Malformed)];
                }
                (asked, refusals) = (&asked[..asked.len() / 2], 0);
                continue;
            }
            tracing::debug!(error = %Chain(&error), "rows' records could not be read yet");
            self.clock.sleep(self.settings.pause()).await;
        }
    }
}
