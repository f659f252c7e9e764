//! Passes the contents of the log to its watchers: one event for each row of each transaction, at
//! the place of the row's last record, so that a reader that goes on from any place misses nothing.
//!
//! A task of its own passes them on, after the evictions and without waiting for handlers: a
//! handler that hangs delays no watcher. It may wait for watchers ([`Announce::told`]): the items
//! that it has not reached wait in a queue of bounded size, and beyond that in the log, so nothing
//! is lost that the log still holds.
//!
//! [`Announce::told`]: crate::announce::Announce::told

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use tidings_core::log::{
    Body, Cursor, Gap, GapReason, Group, Log, Record, RowChange, RowRecord, Scope,
};

use super::{
    catch_up::CatchUp,
    groups::{AT_ONCE, Found, Met, group_of, row_of},
    guard::{Panicked, caught_async},
    shared::Shared,
};
use crate::{
    announce::{Change, Told},
    queue::{CaughtUp, Episode, Item, Pages, Room},
};

/// How much waits in memory for this task, if the dispatcher's queue may hold as much.
const RECORDS: usize = 4_096;
const BYTES: usize = 4 << 20;

/// Returns how much may wait in memory for this task, beside a dispatcher's queue of some length.
pub(crate) fn room(queue: usize) -> Room {
    Room {
        records: queue.min(RECORDS),
        bytes: Some(BYTES),
    }
}

/// Passes on what the tail queues, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut met = Met::default();
    loop {
        match shared.watch.next().await {
            Item::Head { gap: None, .. } => met.clear(),
            Item::Head { gap: Some(gap), .. } | Item::Gap(gap) => {
                met.clear();
                shared.hand_on(Told::Gap(gap)).await;
            }
            Item::Batch(batch) => {
                let records: Vec<_> = batch.records.iter().map(|(record, _)| record).collect();
                let mut telling = Telling::new(&shared, &records, batch.pages);
                while let Some(told) = telling.next(&*shared.log, &mut met).await {
                    for told in told {
                        shared.hand_on(told).await;
                    }
                }
            }
            Item::Behind(cursor, episode) => {
                shared.tell_again(cursor, episode, &mut met).await;
            }
        }
    }
}

impl Shared {
    async fn hand_on(&self, told: Told) {
        if let Err(Panicked) = caught_async(|| self.announce.told(told)).await {
            tracing::error!("handing on what the log tells panicked");
        }
    }

    /// Reads from the log what did not fit into memory, and passes it on until it is where the tail
    /// is, or no one watches any more.
    async fn tell_again(&self, cursor: Cursor, episode: Episode, met: &mut Met) {
        let mut catch_up = CatchUp::new(self, &self.watch, cursor, episode);
        loop {
            let page = match catch_up.next().await {
                Ok(page) => page,
                Err(gap) => {
                    if self.watch.skip(episode).is_some() {
                        self.hand_on(Told::Gap(gap)).await;
                    }
                    return;
                }
            };

            // After the evictions, which the tail makes.
            for record in &page.records {
                if !self.evicted_or_restarted(record.mark).await {
                    return;
                }
            }

            let records: Vec<_> = page.records.iter().collect();
            let mut telling = Telling::new(self, &records, page.pages);
            while let Some(told) = telling.next(&*self.log, met).await {
                for told in told {
                    // A new cursor, or new watchers, may have come in the meantime.
                    if !self.watch.is_behind(episode) {
                        return;
                    }
                    self.hand_on(told).await;
                }
            }

            match catch_up.passed(page) {
                CaughtUp::NotYet => {}
                CaughtUp::Restarted | CaughtUp::Here(_) => return,
            }
        }
    }
}

/// A batch that is being passed on, a part at a time. A row's item comes at its last record.
pub(super) struct Telling<'a> {
    shared: &'a Shared,
    records: &'a [&'a Record],
    pages: Pages,
    /// The records of each row of the batch, by the place of the last.
    rows: BTreeMap<usize, Vec<usize>>,
    /// What comes next.
    at: usize,
}

impl<'a> Telling<'a> {
    pub(super) fn new(shared: &'a Shared, records: &'a [&'a Record], pages: Pages) -> Self {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            if let Body::Row(row) = &record.body {
                // A value has no order of its own.
                let row = (record.mark.number(), &*row.entity, format!("{:?}", row.key));
                groups.entry(row).or_default().push(place);
            }
        }

        let groups = groups.into_values();
        Self {
            shared,
            records,
            pages,
            rows: groups
                .filter_map(|places| Some((*places.last()?, places)))
                .collect(),
            at: 0,
        }
    }

    /// Returns the items of the next records; `None` at the end of the batch.
    ///
    /// If the batch may be cut, the rows are read whole, all at once: records on another page are
    /// part of the change too. A row that was met on an earlier page is read again only at its last
    /// record.
    pub(super) async fn next(&mut self, log: &dyn Log, met: &mut Met) -> Option<Vec<Told>> {
        let mut part = self.at..self.records.len().min(self.at + AT_ONCE);
        if part.is_empty() {
            met.passed(self.last());
            return None;
        }

        let mut groups = BTreeMap::new();
        if let Pages::Cut = self.pages {
            (groups, part.end) = self.read_groups(log, part.clone(), met).await;
        }

        self.at = part.end;
        Some(
            part.filter_map(|place| self.told(place, &mut groups))
                .collect(),
        )
    }

    /// Reads the groups of the rows whose last record in this batch is in a part of it, by the
    /// place of that record. Returns the place up to which all of them were read.
    async fn read_groups(
        &self,
        log: &dyn Log,
        part: Range<usize>,
        met: &mut Met,
    ) -> (BTreeMap<usize, Found>, usize) {
        let (mut places, mut asked, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (place, _) in self.rows.range(part.clone()) {
            let record = self.records[*place];
            if let Body::Row(row) = &record.body
                && self.shared.catalog.schema(&row.entity).is_some()
            {
                let name = group_of(record, row);
                let here = record.place.number();
                let goes_on = met
                    .last(&name)
                    .zip(here)
                    .is_some_and(|(last, here)| here < last);

                if !goes_on {
                    places.push(*place);
                    asked.push(row_of(record, row));
                    names.push(name);
                }
            }
        }

        let groups = self.shared.whole_groups(log, &asked).await;
        for (group, name) in groups.iter().zip(names) {
            if let Ok(group) = group {
                met.note(name, group.last, self.last());
            }
        }
        let end = places.get(groups.len()).copied().unwrap_or(part.end);
        (places.into_iter().zip(groups).collect(), end)
    }

    /// Returns the number of the last record of the batch.
    fn last(&self) -> Option<u64> {
        self.records.last()?.place.number()
    }

    /// Returns the item of one record, if it has one.
    fn told(&self, place: usize, groups: &mut BTreeMap<usize, Found>) -> Option<Told> {
        let record = self.records[place];
        let gap = |reason, scope| Some(Told::Gap(Gap { reason, scope }));
        let of = |entity: &Arc<str>| Scope::Entity(Arc::clone(entity));
        match &record.body {
            Body::Row(row) => {
                let here = self.rows.get(&place)?; // its item comes with the last of them
                let schema = self.shared.catalog.schema(&row.entity)?;
                let whole = match self.pages {
                    Pages::Whole => here.iter().filter_map(|at| self.row(*at)).collect(),
                    Pages::Cut => match groups.remove(&place)? {
                        Err(reason) => return gap(reason, of(&row.entity)),
                        // The rest of it comes on a later page.
                        Ok(group) if !is_last(&group, record, row) => return None,
                        Ok(group) => group.rows,
                    },
                };

                let change = RowChange::fold(&whole)?;
                let number = self.shared.cache.number();
                Some(Told::Change {
                    place: record.place.clone(),
                    origin: record.origin.clone(),
                    change: Change::new(schema, &change, record.mark, number)?,
                })
            }
            Body::Event(posted) => Some(Told::Event {
                place: record.place.clone(),
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

    fn row(&self, place: usize) -> Option<RowRecord> {
        match &self.records[place].body {
            Body::Row(row) => Some(row.clone()),
            Body::Entity(_) | Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => None,
        }
    }
}

/// Returns whether a record is the last of its group.
fn is_last(group: &Group, record: &Record, row: &RowRecord) -> bool {
    match record.place.number() {
        Some(number) => group.last == number,
        None => group.rows.last() == Some(row),
    }
}
