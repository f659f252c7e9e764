//! [`Sights`]: the state of capture as last seen by the readers of a log, and which of its changes
//! the evicting reader has received.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_core::{
    clock::Tick,
    log::{Body, Capture, Cursor, Epoch, Mark, MemberId, Place, Record},
};

use super::prints::Prints;

/// Whether a read also checks capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Away,
    AtCapture,
}

/// Which reader of the log makes a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// The one that evicts, at its current position.
    Evicting,
    Other,
}

/// The last known state of capture; `None` before the first cursor was taken.
#[derive(Debug, Default)]
pub(crate) struct Sights(Mutex<Option<Seen>>);

/// What the one evicting reader knows of capture. Changes of capture are not reported to other
/// readers of the log.
#[derive(Debug)]
struct Seen {
    /// The member as which this reader reads. Others may read from the same cursors without being a
    /// member.
    member: Option<Arc<str>>,
    /// The reader's position, and the state of capture that it knows there.
    at: Cursor,
    applied: Prints,
    /// The result of the last check of capture, by any reader.
    latest: Capture,
    looked: Tick,
    /// The reader's position once it has applied what it received last, and the state of capture
    /// then.
    told: Option<(Cursor, Prints)>,
    /// What other readers have found since: the state of capture, and the entities for which it had
    /// changed. It is kept, because an engine that checks only after changes of the schema finds a
    /// change once.
    untold: Option<(Prints, BTreeSet<String>)>,
}

impl Sights {
    /// Records the cursor at the head that an evicting reader has taken, and the state of capture
    /// there.
    pub(crate) fn begin(
        &self,
        member: Option<&MemberId>,
        at: &Cursor,
        latest: &Capture,
        applied: Prints,
        looked: Tick,
    ) {
        let seen = Seen {
            member: member.map(|member| Arc::clone(&member.node)),
            at: at.clone(),
            applied,
            latest: latest.clone(),
            looked,
            told: None,
            untold: None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// Returns the epoch of the cursor that was taken last.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| seen.at.epoch())
    }

    /// Returns capture as it was last seen.
    pub(crate) fn latest(&self) -> Capture {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = seen.as_ref().map(|seen| seen.latest.clone());
        latest.unwrap_or(Capture::InPlace)
    }

    /// Returns whether other readers have found a change that the evicting reader has not received.
    pub(crate) fn has_untold(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().is_some_and(|seen| seen.untold.is_some())
    }

    /// Decides whether it is time to check capture.
    pub(crate) fn look_at(&self, now: Tick, every: Duration) -> Look {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            // While capture is missing, each read checks it, until it is back.
            Some(seen) if seen.latest.is_in_place() && now.since(seen.looked) < every => Look::Away,
            Some(_) | None => Look::AtCapture,
        }
    }

    /// Adds a record for each entity whose state of capture has changed since the reader's cursor:
    /// a trigger that was off and on again, or a partition that was added or removed, may have
    /// hidden changes of any row. A change that another reader finds is kept for the evicting
    /// reader. Returns the latest state of capture.
    pub(crate) fn tell(
        &self,
        member: Option<&MemberId>,
        (from, next): (&Cursor, &Cursor),
        asked: Tick,
        prints: Option<Prints>,
        records: &mut Vec<Record>,
    ) -> Capture {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = slot.as_mut() else {
            // No reader has taken a cursor yet from which a change could be counted.
            return prints.map_or(Capture::InPlace, |prints| capture(&prints));
        };

        if let Some(prints) = &prints {
            seen.latest = capture(prints);
            seen.looked = asked;
        }
        match (seen.move_to(member, from), prints) {
            (Reader::Evicting, prints) => {
                let changed = seen.told_at(next, prints).into_iter();
                records.extend(changed.map(|entity| Record {
                    place: Place(next.clone()),
                    mark: Mark::new(from.epoch(), 0),
                    origin: None,
                    body: Body::Entity(entity.into()),
                }));
            }
            (Reader::Other, Some(prints)) => seen.keep(prints),
            (Reader::Other, None) => {}
        }

        seen.latest.clone()
    }
}

impl Seen {
    /// Returns which reader reads from a cursor. The evicting reader has applied everything up to
    /// there, so its position is advanced.
    fn move_to(&mut self, member: Option<&MemberId>, from: &Cursor) -> Reader {
        if self.member.as_ref() != member.map(|member| &member.node) {
            return Reader::Other;
        }
        if let Some((cursor, told)) = self.told.take_if(|(cursor, _)| cursor == from) {
            self.at = cursor;
            self.applied = told;
        }
        if self.at == *from {
            Reader::Evicting
        } else {
            Reader::Other
        }
    }

    /// Returns the entities whose capture has changed, to be reported with a cursor.
    fn told_at(&mut self, next: &Cursor, prints: Option<Prints>) -> BTreeSet<String> {
        let (kept, entities) = self.untold.take().unzip();
        let changed = prints.iter().flat_map(|it| it.changed_since(&self.applied));
        let mut all: BTreeSet<String> = changed.map(str::to_owned).collect();
        all.extend(entities.unwrap_or_default());

        let now = prints.or(kept).unwrap_or_else(|| self.applied.clone());
        self.told = Some((next.clone(), now));
        all
    }

    /// Keeps a change that another reader has found.
    fn keep(&mut self, prints: Prints) {
        let known = self.told.as_ref().map_or(&self.applied, |(_, told)| told);
        let changed = prints.changed_since(known).map(str::to_owned);
        let mut entities: BTreeSet<_> = changed.collect();
        if let Some((_, before)) = &mut self.untold {
            entities.append(before);
        }
        self.untold = (!entities.is_empty()).then_some((prints, entities));
    }
}

pub(crate) fn capture(prints: &Prints) -> Capture {
    let faults: Vec<_> = prints
        .missing()
        .map(|entity| {
            format!("{entity} is not captured: run `tidings capture install --database URL`")
        })
        .collect();

    if faults.is_empty() {
        Capture::InPlace
    } else {
        Capture::Missing { faults }
    }
}
