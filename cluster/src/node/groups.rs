//! Rows whose records may be on several pages, read whole: many rows with one question, and each
//! row once, however many pages it spans.

use std::{collections::BTreeMap, sync::Arc};

use tidings_core::{
    Chain,
    log::{GapReason, Group, Log, Record, RowOf, RowRecord},
};

use super::{children::REFUSALS, shared::Shared};

/// How many records are gone through, and their rows read, at a time.
pub(super) const AT_ONCE: usize = 256;

/// Every record of a row in a commit, or why they are not known: the log has lost them, or it
/// answers but does not return them.
pub(super) type Found = Result<Group, GapReason>;

/// How many groups that continue on later pages are remembered; the others are read again there.
const MET: usize = 16_384;

/// Names a row in a commit: mark, entity and key. A value has no order of its own.
pub(super) type GroupName = (u64, Arc<str>, String);

pub(super) fn group_of(record: &Record, row: &RowRecord) -> GroupName {
    let key = format!("{:?}", row.key);
    (record.mark.number(), Arc::clone(&row.entity), key)
}

/// The last record of each group that was read and continues on later pages.
#[derive(Debug, Default)]
pub(super) struct Met(BTreeMap<GroupName, u64>);

impl Met {
    /// Returns the last record of a group, if it was read on an earlier page.
    pub(super) fn last(&self, name: &GroupName) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Notes a group that was read, of which a page holds the records up to a number.
    pub(super) fn note(&mut self, name: GroupName, last: u64, page: Option<u64>) {
        if page.is_some_and(|page| page < last) && self.0.len() < MET {
            self.0.insert(name, last);
        }
    }

    /// Forgets the groups that end on a page.
    pub(super) fn passed(&mut self, page: Option<u64>) {
        if let Some(page) = page {
            self.0.retain(|_, last| *last > page);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all: marks of another epoch may be the same.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

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
    /// or of the first ones, one at least. Asks for as long as the log is out of reach, and for
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
                    tracing::error!(error = %Chain(&error), "the log answers but does not return a row's records");
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
