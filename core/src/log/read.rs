//! What a read of the log returns: records and the cursor after them, or a gap; and what was seen
//! besides them.

use uuid::Uuid;

use super::{Cursor, Demand, Gap, MemberSight, Record};

/// The answer to a read.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a read may be a gap"]
pub enum Read {
    /// Records, perhaps none, and where to go on.
    Batch(Batch),
    /// The cursor cannot be followed: take a new one at the head and purge.
    Gap(Gap),
}

/// Records beyond a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The records, in the log's order.
    pub records: Vec<Record>,
    /// How many more records the engine has read and left out, because they are its own or belong
    /// to entities that the reader does not declare.
    pub passed_over: usize,
    /// The records that were read, in the log's order, including those that were left out: all that
    /// lies between the cursors of the question and the answer. Empty for a log whose records have
    /// no ids.
    pub trail: Vec<Step>,
    /// The cursor after them: beyond the last record, and for an engine with snapshots also beyond
    /// transactions that wrote none.
    pub cursor: Cursor,
    /// Whether there was more when the question was answered.
    pub extent: Extent,
    /// What the same statement saw.
    pub sight: Sight,
}

impl Batch {
    /// Returns whether this batch proves its reader fresh, as of the moment before the question was
    /// sent and once the records of this batch and all earlier ones are applied.
    ///
    /// It does if no record was left to read, changes are recorded, and the reader still counts as
    /// a member (if it asked as one).
    #[must_use]
    pub fn proves(&self) -> bool {
        let complete = match self.extent {
            Extent::All => true,
            Extent::More => false,
        };
        complete && self.sight.is_sound()
    }
}

/// A record that was read, by its number and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Its number.
    pub number: u64,
    /// Its id. It differs from the ids of all other records that ever had the number.
    pub id: Uuid,
}

/// Whether a batch ends at the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Nothing was left when the question was answered.
    All,
    /// The limit was reached: ask again at once.
    More,
}

/// A cursor at the head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Everything that is committed from now on lies beyond it.
    pub cursor: Cursor,
    /// What the same statement saw.
    pub sight: Sight,
}

/// What a cursor statement sees besides the records.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Whether changes are recorded.
    pub capture: Capture,
    /// The row of the member that asked.
    pub member: MemberSight,
    /// The latest report that others have demanded of this member, if any.
    pub demand: Option<Demand>,
}

impl Sight {
    /// Returns the sight of a reader that is no member, in a log that records by itself.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            capture: Capture::InPlace,
            member: MemberSight::NotAsked,
            demand: None,
        }
    }

    /// Returns whether what was read can be relied on: changes are recorded, and the reader is
    /// counted if it asked as a member.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.capture.is_in_place() && self.member.counts()
    }
}

/// Whether every change that a reader relies on is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// All of them are.
    InPlace,
    /// Some are not: what a reader holds is unproven until this is mended and purged.
    Missing {
        /// What is wrong, and the command that mends it; one line for each table.
        faults: Vec<String>,
    },
}

impl Capture {
    /// Returns whether nothing is missing.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        matches!(self, Self::InPlace)
    }
}
