//! [`Mark`]: names one commit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Epoch, PositionError, text};

/// Names one commit of one epoch. Marks are equal or not; only
/// [`Cursor::covers`](super::Cursor::covers) orders them with anything.
///
/// On PostgreSQL it is the id of the top transaction. On a counted log it is the number of the
/// transaction's last record, or, for a write that changed nothing, of the last record that its
/// transaction saw. A log that can lose its newest records may hand their numbers out again before
/// a node has noticed and the epoch has ended. There a number alone names no commit, so the mark
/// also has that record's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    epoch: Epoch,
    number: u64,
    id: Option<Uuid>,
}

impl Mark {
    /// Names a commit; for engines.
    #[must_use]
    pub fn new(epoch: Epoch, number: u64) -> Self {
        Self {
            epoch,
            number,
            id: None,
        }
    }

    /// Adds the id of the record with the commit's number; for engines that have ids.
    #[must_use]
    pub fn with_id(self, id: impl Into<Option<Uuid>>) -> Self {
        Self {
            id: id.into(),
            ..self
        }
    }

    /// Returns the id of the record with its number, if that is known.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// Returns the epoch in which the commit was made.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the engine's number; it means nothing to others.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.m.{}.{}", text::VERSION, self.epoch, self.number)?;
        match self.id {
            Some(id) => write!(f, ".{}", id.simple()),
            None => Ok(()),
        }
    }
}

impl FromStr for Mark {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut parts = text::Parts::new(text)?;
        parts.kind(&["m"], "expected a mark")?;
        let mark = Self::new(parts.epoch()?, parts.number()?);
        let id = parts.last_id()?;
        Ok(mark.with_id(id))
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}
