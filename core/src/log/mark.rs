//! [`Mark`]: names one commit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Epoch, PositionError, text};

/// Names one commit of one epoch. Marks are equal or not; only
/// [`Cursor::covers`](super::Cursor::covers) orders them with anything.
///
/// On PostgreSQL it is the id of the top transaction. On a counted log it is the number of the
/// transaction's last record, or, for a write that changed nothing, of the last record that its
/// transaction saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    epoch: Epoch,
    number: u64,
}

impl Mark {
    /// Names a commit; for engines.
    #[must_use]
    pub fn new(epoch: Epoch, number: u64) -> Self {
        Self { epoch, number }
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
        write!(f, "{}.m.{}.{}", text::VERSION, self.epoch, self.number)
    }
}

impl FromStr for Mark {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut parts = text::Parts::new(text)?;
        parts.kind(&["m"], "expected a mark")?;
        let mark = Self::new(parts.epoch()?, parts.number()?);
        parts.end()?;
        Ok(mark)
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
