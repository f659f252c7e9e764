//! What the log tells to those that watch it: one event for each row of each transaction, at the
//! place of the row's last record, so that a reader that goes on from any place misses nothing.
//!
//! A task of its own hands it on, after the evictions and without waiting for handlers: a handler
//! that hangs delays no watcher, and a watcher delays no one.

use std::sync::Arc;

use tidings_core::{
    Chain,
    log::{Body, Gap, GapReason, Group, Log, Record, RowChange, RowRecord, Scope},
};

use super::{
    guard::{Panicked, caught},
    shared::Shared,
};
use crate::{
    announce::{Change, Told},
    queue::Pages,
    watch::Left,
};

/// Hands on what the tail leaves, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        match shared.watch.next().await {
            Left::Batch { records, pages } => {
                for record in 0..records.len() {
                    let told = shared.told(&*shared.log, &records, record, pages).await;
                    told.into_iter().for_each(|told| shared.hand_on(told));
                }
            }
            Left::Gap(gap) => shared.hand_on(Told::Gap { gap, missed: None }),
            Left::Lost(missed) => shared.hand_on(Told::Gap {
                gap: Gap::of_all(GapReason::Overflow),
                missed: Some(missed),
            }),
        }
    }
}

impl Shared {
    fn hand_on(&self, told: Told) {
        if let Err(Panicked) = caught(|| self.announce.told(told)) {
            tracing::error!("handing on what the log tells panicked");
        }
    }

    /// Returns what one record of a batch tells, if anything. A row tells at its last record.
    ///
    /// Where the batch may be cut, the row's records are read whole: what lies on another page is
    /// part of the change too.
    pub(super) async fn told(
        &self,
        log: &dyn Log,
        records: &[Record],
        index: usize,
        pages: Pages,
    ) -> Option<Told> {
        let record = &records[index];
        let place = record.place.clone();
        let gap = |reason, scope| {
            let gap = Gap { reason, scope };
            Some(Told::Gap { gap, missed: None })
        };
        let of = |entity: &Arc<str>| Scope::Entity(Arc::clone(entity));
        match &record.body {
            Body::Row(row) => {
                let schema = self.catalog.schema(&row.entity)?;
                let is_same = |other: &&Record| is_of(other, record, row);
                if records[index + 1..].iter().any(|other| is_same(&other)) {
                    return None; // it is told with the last of them
                }
                let whole = match pages {
                    Pages::Whole => {
                        let group = records[..=index].iter().filter(is_same);
                        let rows = group.filter_map(|record| match &record.body {
                            Body::Row(row) => Some(row.clone()),
                            Body::Entity(_)
                            | Body::Evict(_)
                            | Body::Event(_)
                            | Body::Unreadable { .. } => None,
                        });
                        rows.collect()
                    }
                    Pages::Cut => match self.whole_group(log, record, row).await {
                        None => return gap(GapReason::Trimmed, of(&row.entity)),
                        // The rest of it comes on a later page.
                        Some(group) if group.rows.last() != Some(row) => return None,
                        Some(group) => group.rows,
                    },
                };

                let change = RowChange::fold(&whole)?;
                let change = Change::new(schema, &change, record.mark, self.cache.number())?;
                let origin = record.origin.clone();
                Some(Told::Change {
                    place,
                    origin,
                    change,
                })
            }
            Body::Event(posted) => Some(Told::Event {
                place,
                mark: record.mark,
                posted: posted.clone(),
            }),
            Body::Entity(entity) => gap(GapReason::Capture, of(entity)),
            Body::Unreadable { entity } => {
                gap(GapReason::Malformed, entity.as_ref().map_or(Scope::All, of))
            }
            Body::Evict(_) => None,
        }
    }

    /// Reads every record of a row in a commit; none if the log has lost them. Asks until it is
    /// answered.
    async fn whole_group(&self, log: &dyn Log, record: &Record, row: &RowRecord) -> Option<Group> {
        loop {
            match log.group(record.mark, &row.entity, &row.key).await {
                Ok(group) => return group,
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "a row's records could not be read");
                    self.clock.sleep(self.settings.pause()).await;
                }
            }
        }
    }
}

/// Returns whether a record is of the same row in the same commit as another.
fn is_of(other: &Record, record: &Record, row: &RowRecord) -> bool {
    other.mark == record.mark
        && match &other.body {
            Body::Row(other) => other.entity == row.entity && other.key == row.key,
            Body::Entity(_) | Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => false,
        }
}
