//! [`NewestSeen`]: the newest record that a reader has seen, which distinguishes a restored file
//! from one that has not changed.
//!
//! A file whose content was restored assigns the lost numbers again, under the same epoch, until a
//! reader misses a record that it has seen. That reader begins another epoch. If a cursor's record
//! is missing, but nothing that was seen is gone, the record was lost, or a client made the cursor
//! up: its reader gets a gap, and the epoch continues.

use std::sync::{Mutex, PoisonError};

use tidings_core::log::{Cursor, Epoch, GapReason, Step};

use super::{
    error::SqliteLogError,
    link::Link,
    read::{Head, id_at},
};

/// It outlives connections: whichever connection reads next, the file has lost records if this one
/// is missing or different.
#[derive(Debug, Default)]
pub(super) struct NewestSeen(Mutex<Option<(Epoch, Step)>>);

/// Why a log does not continue after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discontinuity {
    /// The log has lost a record that this reader has seen.
    Lost,
    /// The log does not hold the record, or no longer holds it.
    Missing(GapReason),
}

impl NewestSeen {
    /// Stores the newest record of a snapshot.
    pub(super) fn note(&self, epoch: Epoch, newest: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, newest));
    }

    fn seen_in(&self, epoch: Epoch) -> Option<Step> {
        let newest_seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest_seen.and_then(|(of, seen)| (of == epoch).then_some(seen))
    }

    /// Returns whether the log still holds the newest record that was seen, or has pruned it.
    pub(super) async fn holds(&self, link: &mut Link, pruned: u64) -> Result<bool, SqliteLogError> {
        let Some(seen) = self.seen_in(link.epoch) else {
            return Ok(true);
        };
        let found = id_at(&mut link.connection, seen.number).await?;
        Ok(match found {
            Some(id) => id == seen.id,
            None => seen.number <= pruned,
        })
    }

    /// Returns why the records beyond a given one cannot be read without a gap; `None` if they can.
    pub(super) async fn discontinuity(
        &self,
        link: &mut Link,
        pruned: u64,
        at: Step,
    ) -> Result<Option<Discontinuity>, SqliteLogError> {
        if !self.holds(link, pruned).await? {
            return Ok(Some(Discontinuity::Lost));
        }
        if self.seen_in(link.epoch) == Some(at) {
            return Ok(None);
        }

        let found = id_at(&mut link.connection, at.number).await?;
        Ok(match found {
            Some(id) if id == at.id => None,
            None if at.number <= pruned => Some(Discontinuity::Missing(GapReason::Trimmed)),
            Some(_) | None => Some(Discontinuity::Missing(GapReason::LostTail)),
        })
    }
}

/// Returns the newest record of a snapshot.
pub(super) async fn newest_of(link: &mut Link, head: &Head) -> Result<Step, SqliteLogError> {
    let id = id_at(&mut link.connection, head.newest).await?;
    Ok(Step {
        number: head.newest,
        id: id.unwrap_or_default(),
    })
}

/// Returns the cursor after a record.
pub(super) fn after(epoch: Epoch, record: Step) -> Cursor {
    Cursor::numbered(epoch, record.number, record.id)
}
