//! [`CaptureTracker`]: the state of capture as last seen by the readers of a log, and which of its
//! changes the evicting reader has received.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_core::{
    clock::Tick,
    log::{Body, Capture, Cursor, Epoch, Mark, MemberId, Place, Record},
};

use super::capture::CaptureStates;

/// Whether a read also checks capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaptureCheck {
    NotDue,
    Due,
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
pub(crate) struct CaptureTracker(Mutex<Option<Tracked>>);

/// What the one evicting reader knows of capture. Changes of capture are not reported to other
/// readers of the log.
#[derive(Debug)]
struct Tracked {
    /// The member as which this reader reads. Others may read from the same cursors without being a
    /// member.
    member: Option<Arc<str>>,
    /// The reader's position, and the state of capture that it knows there.
    at: Cursor,
    applied: CaptureStates,
    /// The result of the last check of capture, by any reader.
    latest: Capture,
    checked: Tick,
    /// The reader's position once it has applied what it received last, and the state of capture
    /// then.
    pending: Option<(Cursor, CaptureStates)>,
    /// What other readers have found since: the state of capture, and the entities for which it had
    /// changed. It is kept, because an engine that checks only after changes of the schema finds a
    /// change once.
    unreported: Option<(CaptureStates, BTreeSet<String>)>,
}

impl CaptureTracker {
    /// Records the cursor at the head that an evicting reader has taken, and the state of capture
    /// there.
    pub(crate) fn begin(
        &self,
        member: Option<&MemberId>,
        at: &Cursor,
        latest: &Capture,
        applied: CaptureStates,
        checked: Tick,
    ) {
        let tracked = Tracked {
            member: member.map(|member| Arc::clone(&member.node)),
            at: at.clone(),
            applied,
            latest: latest.clone(),
            checked,
            pending: None,
            unreported: None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tracked);
    }

    /// Returns the epoch of the cursor that was taken last.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        let tracked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tracked.as_ref().map(|tracked| tracked.at.epoch())
    }

    /// Returns capture as it was last seen.
    pub(crate) fn latest(&self) -> Capture {
        let tracked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = tracked.as_ref().map(|tracked| tracked.latest.clone());
        latest.unwrap_or(Capture::InPlace)
    }

    /// Returns whether other readers have found a change that the evicting reader has not received.
    pub(crate) fn has_unreported(&self) -> bool {
        let tracked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tracked
            .as_ref()
            .is_some_and(|tracked| tracked.unreported.is_some())
    }

    /// Decides whether it is time to check capture.
    pub(crate) fn check_due(&self, now: Tick, every: Duration) -> CaptureCheck {
        let tracked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match tracked.as_ref() {
            // While capture is missing, each read checks it, until it is back.
            Some(tracked) if tracked.latest.is_in_place() && now.since(tracked.checked) < every => {
                CaptureCheck::NotDue
            }
            Some(_) | None => CaptureCheck::Due,
        }
    }

    /// Adds a record for each entity whose state of capture has changed since the reader's cursor:
    /// a trigger that was off and on again, or a partition that was added or removed, may have
    /// hidden changes of any row. A change that another reader finds is kept for the evicting
    /// reader. Returns the latest state of capture.
    pub(crate) fn report(
        &self,
        member: Option<&MemberId>,
        (from, next): (&Cursor, &Cursor),
        started: Tick,
        states: Option<CaptureStates>,
        records: &mut Vec<Record>,
    ) -> Capture {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tracked) = slot.as_mut() else {
            // No reader has taken a cursor yet from which a change could be counted.
            return states.map_or(Capture::InPlace, |states| capture(&states));
        };

        if let Some(states) = &states {
            tracked.latest = capture(states);
            tracked.checked = started;
        }
        match (tracked.move_to(member, from), states) {
            (Reader::Evicting, states) => {
                let changed = tracked.report_at(next, states).into_iter();
                records.extend(changed.map(|entity| Record {
                    place: Place(next.clone()),
                    mark: Mark::new(from.epoch(), 0),
                    origin: None,
                    body: Body::Entity(entity.into()),
                }));
            }
            (Reader::Other, Some(states)) => tracked.keep(states),
            (Reader::Other, None) => {}
        }

        tracked.latest.clone()
    }
}

impl Tracked {
    /// Returns which reader reads from a cursor. The evicting reader has applied everything up to
    /// there, so its position is advanced.
    fn move_to(&mut self, member: Option<&MemberId>, from: &Cursor) -> Reader {
        if self.member.as_ref() != member.map(|member| &member.node) {
            return Reader::Other;
        }
        if let Some((cursor, pending)) = self.pending.take_if(|(cursor, _)| cursor == from) {
            self.at = cursor;
            self.applied = pending;
        }
        if self.at == *from {
            Reader::Evicting
        } else {
            Reader::Other
        }
    }

    /// Returns the entities whose capture has changed, to be reported with a cursor.
    fn report_at(&mut self, next: &Cursor, states: Option<CaptureStates>) -> BTreeSet<String> {
        let (kept, entities) = self.unreported.take().unzip();
        let changed = states.iter().flat_map(|it| it.changed_since(&self.applied));
        let mut all: BTreeSet<String> = changed.map(str::to_owned).collect();
        all.extend(entities.unwrap_or_default());

        let now = states.or(kept).unwrap_or_else(|| self.applied.clone());
        self.pending = Some((next.clone(), now));
        all
    }

    /// Keeps a change that another reader has found.
    fn keep(&mut self, states: CaptureStates) {
        let known = self
            .pending
            .as_ref()
            .map_or(&self.applied, |(_, pending)| pending);
        let changed = states.changed_since(known).map(str::to_owned);
        let mut entities: BTreeSet<_> = changed.collect();
        if let Some((_, before)) = &mut self.unreported {
            entities.append(before);
        }
        self.unreported = (!entities.is_empty()).then_some((states, entities));
    }
}

pub(crate) fn capture(states: &CaptureStates) -> Capture {
    let faults: Vec<_> = states
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
