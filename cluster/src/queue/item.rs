//! [`Item`]: an entry of a queue, and how two adjacent ones merge.

use tidings_core::{
    clock::Tick,
    log::{Cursor, Demand, Extent, Gap, Incarnation, Record},
};

use super::Episode;
use crate::{gate::Generation, reached::Pass};

/// An entry that the tail leaves for the dispatcher.
#[derive(Debug)]
pub(crate) enum Item {
    /// The tail took a new cursor at the head; a gap unless this is the beginning.
    Head { cursor: Cursor, gap: Option<Gap> },
    /// Records that were applied.
    Batch(Applied),
    /// Handlers missed something, and the tail goes on from where it is.
    Gap(Gap),
    /// Records that did not fit: to be read from the log, from this cursor on.
    Behind(Cursor, Episode),
}

impl Item {
    /// Returns whether it only says how far the tail is.
    pub(super) fn is_position(&self) -> bool {
        match self {
            Self::Batch(batch) => batch.records.is_empty(),
            Self::Head { .. } | Self::Gap(_) | Self::Behind(..) => false,
        }
    }

    /// Returns whether a new cursor replaces it, and takes over its gap.
    pub(super) fn is_gap(&self) -> bool {
        match self {
            Self::Head { .. } | Self::Gap(_) => true,
            Self::Batch(_) | Self::Behind(..) => false,
        }
    }

    pub(super) fn into_gap(self) -> Option<Gap> {
        match self {
            Self::Head { gap, .. } => gap,
            Self::Gap(gap) => Some(gap),
            Self::Batch(_) | Self::Behind(..) => None,
        }
    }
}

/// Returns one gap in place of two adjacent ones.
pub(super) fn merged(before: Option<Gap>, gap: Option<Gap>) -> Option<Gap> {
    match (before, gap) {
        (Some(before), Some(gap)) => Some(before.and(gap)),
        (before, gap) => before.or(gap),
    }
}

/// A batch whose evictions were made.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    /// Each with the number of its eviction.
    pub(crate) records: Vec<(Record, u64)>,
    pub(crate) pages: Pages,
    pub(crate) cursor: Cursor,
    pub(crate) after: After,
}

/// Whether a batch may hold parts of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    Whole,
    Cut,
}

impl Pages {
    /// Returns whether the next batch begins within a transaction.
    pub(crate) fn up_to(extent: Extent) -> Self {
        match extent {
            Extent::All => Self::Whole,
            Extent::More => Self::Cut,
        }
    }
}

/// A demand for a report, and the join of this node that it is addressed to: the demands of each
/// join are counted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) of: Incarnation,
    pub(crate) demand: Demand,
}

impl Asked {
    /// Returns the demand that a read has found, addressed to the member that has read.
    pub(crate) fn of(incarnation: Option<Incarnation>, demand: Option<Demand>) -> Option<Self> {
        let (of, demand) = incarnation.zip(demand)?;
        Some(Self { of, demand })
    }
}

/// What follows once a batch is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    pub(crate) generation: Generation,
    /// The node was fresh at this moment.
    pub(crate) proof: Option<Tick>,
    /// The node serves again.
    pub(crate) resume: bool,
    /// Others have asked for a report.
    pub(crate) asked: Option<Asked>,
    /// The read that has found nothing beyond this.
    pub(crate) pass: Option<Pass>,
}

impl After {
    /// Combines what follows this batch with what follows one before it, for when both are applied.
    pub(super) fn and(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.generation == self.generation => Self {
                generation: self.generation,
                proof: self.proof.max(before.proof),
                resume: self.resume || before.resume,
                asked: self.asked.max(before.asked),
                pass: self.pass.max(before.pass),
            },
            Some(_) | None => self,
        }
    }
}
