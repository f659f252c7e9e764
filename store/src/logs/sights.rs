//! [`Sights`]: what a log has seen of capture, and which reader was told of it.

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

/// Whether a read looks after capture too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Away,
    AtCapture,
}

/// What was seen; nothing before the first cursor was taken.
#[derive(Debug, Default)]
pub(crate) struct Sights(Mutex<Option<Seen>>);

/// What was seen of capture, by the one reader that evicts. Others read the same log, and are told
/// nothing of it.
#[derive(Debug)]
struct Seen {
    /// The member that this reader asks as: others may read from the same cursors, as none.
    member: Option<Arc<str>>,
    /// Where it is, and what it was told of capture up to there.
    at: Cursor,
    applied: Prints,
    /// The last look at capture, by whatever reader.
    latest: Capture,
    looked: Tick,
    /// Where it will be once it has applied what it was told last.
    told: Option<(Cursor, Prints)>,
    /// What others have found since, and the entities whose capture was not what it was: an engine
    /// that looks when the schema changes finds a change once.
    untold: Option<(Prints, BTreeSet<String>)>,
}

impl Sights {
    /// Notes the cursor at the head of a reader that evicts, and the state of capture there.
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

    /// Returns whether the reader that evicts has yet to be told of a look.
    pub(crate) fn has_untold(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().is_some_and(|seen| seen.untold.is_some())
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
    /// of any row. What a reader finds that does not evict is kept for the one that does. Returns
    /// what is known of capture.
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
            // No one has taken a cursor that a change of capture could be told against.
            return prints.map_or(Capture::InPlace, |prints| capture(&prints));
        };

        if let Some(prints) = &prints {
            seen.latest = capture(prints);
            seen.looked = asked;
        }
        if seen.is_evicting(member, from) {
            for entity in seen.told_at(next, prints) {
                records.push(Record {
                    place: Place(next.clone()),
                    mark: Mark::new(from.epoch(), 0),
                    origin: None,
                    body: Body::Entity(entity.into()),
                });
            }
        } else if let Some(prints) = prints {
            seen.keep(prints);
        }

        seen.latest.clone()
    }
}

impl Seen {
    /// Returns whether a read is that of the reader that evicts, from where that is.
    fn is_evicting(&mut self, member: Option<&MemberId>, from: &Cursor) -> bool {
        if self.member.as_ref() != member.map(|member| &member.node) {
            return false;
        }
        if let Some((cursor, told)) = self.told.take_if(|(cursor, _)| cursor == from) {
            self.at = cursor;
            self.applied = told;
        }
        self.at == *from
    }

    /// Returns the entities that this reader is told of with a cursor.
    fn told_at(&mut self, next: &Cursor, prints: Option<Prints>) -> BTreeSet<String> {
        let (kept, entities) = self.untold.take().unzip();
        let changed = prints.iter().flat_map(|it| it.changed_since(&self.applied));
        let mut all: BTreeSet<String> = changed.map(str::to_owned).collect();
        all.extend(entities.unwrap_or_default());

        let now = prints.or(kept).unwrap_or_else(|| self.applied.clone());
        self.told = Some((next.clone(), now));
        all
    }

    /// Keeps what another reader has found.
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
