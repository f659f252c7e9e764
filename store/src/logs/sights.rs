//! [`Sights`]: what a log has seen of capture, and which reader was told of it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidings_core::{
    clock::Tick,
    log::{Body, Capture, Cursor, Epoch, Mark, Place, Record},
};

use super::prints::Prints;

/// Whether a read looks after capture too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Away,
    AtCapture,
}

/// What was seen; nothing before the first cursor was taken.
#[derive(Debug, Default)]
pub(crate) struct Sights(Mutex<Option<Seen>>);

/// What was seen of capture, by the one reader that evicts. Others read the same log from other
/// cursors, and are told nothing of it.
#[derive(Debug)]
struct Seen {
    /// Where that reader is, and what it was told of capture up to there.
    at: Cursor,
    applied: Prints,
    /// The last look at capture, by whatever reader.
    latest: Capture,
    looked: Tick,
    /// Where it will be once it has applied what it was told last.
    told: Option<(Cursor, Prints)>,
}

impl Sights {
    /// Notes a cursor at the head, and the state of capture there.
    pub(crate) fn begin(&self, at: &Cursor, latest: &Capture, applied: Prints, looked: Tick) {
        let seen = Seen {
            at: at.clone(),
            applied,
            latest: latest.clone(),
            looked,
            told: None,
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

    /// Decides whether it is time to look at capture.
    pub(crate) fn look_at(&self, now: Tick, every: Duration) -> Look {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            // One that is missing is looked for until it is back.
            Some(seen) if seen.latest.is_in_place() && now.since(seen.looked) < every => Look::Away,
            Some(_) | None => Look::AtCapture,
        }
    }

    /// Adds a record for each entity whose capture is not what it was at the reader's cursor: a
    /// trigger that was off and on again, or a partition that came or went, may have hidden changes
    /// of any row. Returns what is known of capture.
    pub(crate) fn tell(
        &self,
        from: &Cursor,
        next: &Cursor,
        asked: Tick,
        prints: Option<Prints>,
        records: &mut Vec<Record>,
    ) -> Capture {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = slot.as_mut() else {
            // No one has taken a cursor that a change of capture could be told against.
            return prints.map_or(Capture::InPlace, |prints| capture(&prints));
        };

        if let Some((cursor, told)) = seen.told.take_if(|(cursor, _)| cursor == from) {
            seen.at = cursor;
            seen.applied = told;
        }
        let is_evicting = seen.at == *from;

        match prints {
            Some(prints) => {
                seen.latest = capture(&prints);
                seen.looked = asked;

                if is_evicting {
                    for entity in prints.changed_since(&seen.applied) {
                        records.push(Record {
                            place: Place(next.clone()),
                            mark: Mark::new(from.epoch(), 0),
                            origin: None,
                            body: Body::Entity(entity.into()),
                        });
                    }
                    seen.told = Some((next.clone(), prints));
                }
            }
            None if is_evicting => seen.told = Some((next.clone(), seen.applied.clone())),
            None => {}
        }

        seen.latest.clone()
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
