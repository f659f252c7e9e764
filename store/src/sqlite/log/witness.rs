//! [`Witness`]: the newest record that a reader has seen, by which a file that was put back is
//! told from one that only stood still.
//!
//! A file whose content was put back hands the lost numbers out again, under the same epoch, until
//! a reader misses a record that it has seen. That reader begins another epoch. A place that is
//! missing though nothing that was seen is gone may be one of what was lost, or one that was made
//! up by a client: its reader has a gap, and the epoch goes on.

use std::sync::{Mutex, PoisonError};

use tidings_core::log::{Cursor, Epoch, GapReason, Step};

use super::{
    error::SqliteLogError,
    link::Link,
    read::{Head, id_at},
};

/// Kept over connections: whatever connection reads next, the file has lost something if the
/// record is not there as it was.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Option<(Epoch, Step)>>);

/// Why a log does not go on from a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// It has lost what this reader has seen.
    Lost,
    /// It does not hold the record, or not any more.
    Missing(GapReason),
}

impl Witness {
    /// Notes the newest record of a snapshot.
    pub(super) fn note(&self, epoch: Epoch, newest: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, newest));
    }

    fn seen_in(&self, epoch: Epoch) -> Option<Step> {
        let witness = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        witness.and_then(|(of, seen)| (of == epoch).then_some(seen))
    }

    /// Returns whether the log holds the newest record that was seen of it, as it was, or has
    /// pruned it.
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

    /// Returns why what lies beyond a record cannot be told; none if it can.
    pub(super) async fn breaks(
        &self,
        link: &mut Link,
        pruned: u64,
        at: Step,
    ) -> Result<Option<Break>, SqliteLogError> {
        if !self.holds(link, pruned).await? {
            return Ok(Some(Break::Lost));
        }
        if self.seen_in(link.epoch) == Some(at) {
            return Ok(None);
        }

        let found = id_at(&mut link.connection, at.number).await?;
        Ok(match found {
            Some(id) if id == at.id => None,
            None if at.number <= pruned => Some(Break::Missing(GapReason::Trimmed)),
            Some(_) | None => Some(Break::Missing(GapReason::LostTail)),
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
