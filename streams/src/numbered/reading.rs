//! From a page to the records of a reader: checks that nothing is missing, then decodes each
//! record.

use std::sync::Arc;

use tidings_core::{
    Chain,
    log::{
        Batch, Body, Cursor, Epoch, Eviction, EvictionTarget, Extent, GapReason, Mark, Place,
        Record, Sight, Step,
    },
};
use uuid::Uuid;

use crate::{
    engine::{Entry, Page},
    faults::{Rule, removed},
    secret::Secrets,
    wire::{self, Target, What, id_of},
};

/// Returns the records beyond the one with this number and id, or why a reader cannot continue from
/// there.
pub(super) fn follow(
    page: Page,
    epoch: Epoch,
    (number, id): (u64, Uuid),
    sight: Sight,
    secrets: &Secrets,
) -> Result<Batch, GapReason> {
    if page.last < number {
        return Err(GapReason::LostTail);
    }
    if page.first > number {
        return Err(GapReason::Trimmed);
    }

    let mut entries = page.entries.into_iter();
    let at = entries.next().ok_or(GapReason::LostTail)?;
    if at.number != number {
        return Err(GapReason::Trimmed);
    }
    if id_of(&at.bytes) != id && !removed(Rule::RecordIdIsChecked) {
        return Err(GapReason::LostTail);
    }

    let mut reading = Reading {
        epoch,
        secrets,
        cursor: Cursor::numbered(epoch, number, id),
        last: number,
        records: Vec::new(),
        passed_over: 0,
        trail: Vec::new(),
        unreadable: 0,
    };
    for entry in entries {
        reading.take(entry)?;
    }

    reading.tell_unreadable();
    Ok(Batch {
        records: reading.records,
        passed_over: reading.passed_over,
        trail: reading.trail,
        cursor: reading.cursor,
        extent: if reading.last < page.last {
            Extent::More
        } else {
            Extent::All
        },
        sight,
    })
}

/// A page that is being converted to a batch.
struct Reading<'a> {
    epoch: Epoch,
    secrets: &'a Secrets,
    /// After the record of the number `last`.
    cursor: Cursor,
    last: u64,
    records: Vec<Record>,
    passed_over: usize,
    trail: Vec<Step>,
    unreadable: usize,
}

impl Reading<'_> {
    fn take(&mut self, entry: Entry) -> Result<(), GapReason> {
        if entry.number != self.last + 1 {
            // Records are missing in the middle, which no server removes by itself.
            return Err(GapReason::Trimmed);
        }
        let (number, id) = (entry.number, id_of(&entry.bytes));
        self.last = number;
        self.trail.push(Step { number, id });
        self.cursor = Cursor::numbered(self.epoch, number, id);

        let (origin, body) = match wire::read(&entry.bytes) {
            // A record of a later epoch: this one is over, even if the table does not show it.
            Ok(record) if record.epoch.number > self.epoch.number => {
                return Err(GapReason::Epoch);
            }
            Ok(record) => match self.body(record.what, record.node.clone()) {
                Some(body) => (record.node, body),
                None => {
                    self.passed_over += 1;
                    return Ok(());
                }
            },
            Err(error) => {
                self.unreadable += 1;
                tracing::debug!(
                    number = entry.number,
                    error = %Chain(&*error),
                    "a record of the stream cannot be read"
                );
                (None, Body::Unreadable { entity: None })
            }
        };
        self.records.push(Record {
            place: Place(self.cursor.clone()),
            mark: Mark::new(self.epoch, number).with_id(id),
            origin,
            body,
        });

        Ok(())
    }

    /// Returns the content of a record for its reader; `None` for a note.
    fn body(&mut self, what: What, origin: Option<Arc<str>>) -> Option<Body> {
        match what {
            What::Begin | What::Beat => None,
            What::Event(posted) => Some(Body::Event(posted)),
            What::Evict { of, cache, target } => {
                let target = match target {
                    Target::Named(named) => self.secrets.find(named),
                    Target::Tag(tag) => Some(EvictionTarget::Tag(tag)),
                    Target::All => Some(EvictionTarget::All),
                };
                let Some(target) = target else {
                    // Its digests were made under another cluster's key.
                    self.unreadable += 1;
                    return Some(Body::Unreadable { entity: None });
                };

                Some(Body::Evict(Eviction {
                    id: of,
                    origin,
                    cache,
                    target,
                }))
            }
        }
    }

    /// Logs once per page that records could not be read.
    fn tell_unreadable(&self) {
        if self.unreadable > 0 {
            tracing::warn!(
                records = self.unreadable,
                last = self.last,
                "records of the stream cannot be read, of another version, malformed or under \
                 another cluster's key: each counts as a gap"
            );
        }
    }
}
