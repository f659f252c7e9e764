//! [`Timestamp`] and [`TimestampMicros`]: wall-clock time, for display.
//!
//! With the feature `jiff` they come from, and become, `jiff::Timestamp`, which knows calendars and
//! time zones.

// Times of the crate jiff.
#[cfg(feature = "jiff")]
mod of_jiff;

use serde::{Deserialize, Serialize};

/// Unix seconds.
///
/// Zero, which is also the default, means "not set" in a field whose time is made.
///
/// # Examples
///
/// ```
/// use tidings_core::Timestamp;
///
/// let timestamp = Timestamp::from_unix(1_700_000_000);
/// assert_eq!(serde_json::to_string(&timestamp)?, "1700000000");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the time this many seconds after the epoch.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since the epoch.
    #[must_use]
    pub fn as_unix(self) -> i64 {
        self.0
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl From<i64> for Timestamp {
    fn from(seconds: i64) -> Self {
        Self(seconds)
    }
}

/// Unix microseconds: a time that is finer than seconds.
///
/// # Examples
///
/// ```
/// use tidings_core::{Timestamp, TimestampMicros};
///
/// let time = TimestampMicros::from_micros(1_700_000_000_250_000);
/// assert_eq!(time.seconds(), Timestamp::from_unix(1_700_000_000));
/// assert_eq!(serde_json::to_string(&time)?, "1700000000250000");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TimestampMicros(i64);

impl TimestampMicros {
    /// Returns the time this many microseconds after the epoch.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the second that it lies in.
    #[must_use]
    pub fn seconds(self) -> Timestamp {
        Timestamp(self.0.div_euclid(1_000_000))
    }
}

impl From<Timestamp> for TimestampMicros {
    /// Returns the beginning of the second; saturates if that is too far away to count in
    /// microseconds.
    fn from(second: Timestamp) -> Self {
        Self(second.0.saturating_mul(1_000_000))
    }
}

impl From<TimestampMicros> for i64 {
    fn from(time: TimestampMicros) -> Self {
        time.0
    }
}

impl From<i64> for TimestampMicros {
    fn from(micros: i64) -> Self {
        Self(micros)
    }
}
