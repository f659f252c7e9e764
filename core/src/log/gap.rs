//! [`Gap`]: reports to a reader of the log that records are missing, and why.

use std::{fmt, sync::Arc};

/// A gap in the log. Everything that may depend on the missing records must be evicted or rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Why they are missing.
    pub reason: GapReason,
    /// The rows that they may have concerned.
    pub scope: Scope,
}

impl Gap {
    /// Makes a gap of records that may have concerned any row.
    #[must_use]
    pub fn of_all(reason: GapReason) -> Self {
        let scope = Scope::All;
        Self { reason, scope }
    }

    /// Makes a gap of records of one entity.
    #[must_use]
    pub fn of_entity(reason: GapReason, entity: impl Into<Arc<str>>) -> Self {
        let scope = Scope::Entity(entity.into());
        Self { reason, scope }
    }

    /// Combines this gap with the next one into one gap, with the first reason and the scope of
    /// both.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        let scope = if self.scope == next.scope {
            self.scope
        } else {
            Scope::All
        };
        Self {
            reason: self.reason,
            scope,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => write!(f, "a gap in the log ({})", self.reason),
            Scope::Entity(entity) => write!(f, "a gap in the log of {entity} ({})", self.reason),
        }
    }
}

/// The rows that missing records may have concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Anything.
    All,
    /// The rows of one entity, by its schema's name.
    Entity(Arc<str>),
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// The log began another epoch: its server crashed, was promoted, or was restored.
    Epoch,
    /// The log no longer holds the records after the cursor.
    Trimmed,
    /// The log lost its newest records after it had acknowledged them.
    LostTail,
    /// The log was deleted and made again.
    Recreated,
    /// A record could not be read.
    Malformed,
    /// The reader was too far behind.
    Overflow,
    /// Changes were not recorded for a while: a trigger was missing or disabled.
    Capture,
    /// The reader joined after the records were made, or came back after it had been given up.
    JoinedLate,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Epoch,
        Self::Trimmed,
        Self::LostTail,
        Self::Recreated,
        Self::Malformed,
        Self::Overflow,
        Self::Capture,
        Self::JoinedLate,
    ];

    /// Returns its name in metrics, logs and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::LostTail => "lost_tail",
            Self::Recreated => "recreated",
            Self::Malformed => "malformed",
            Self::Overflow => "overflow",
            Self::Capture => "capture",
            Self::JoinedLate => "joined_late",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
