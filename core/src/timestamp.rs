//! [`Timestamp`]: wall-clock time, for display.

use serde::{Deserialize, Serialize};

/// Unix seconds.
///
/// Zero, which is also the default, stands for "not set" in a field whose time is made.
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

    /// Seconds since the epoch.
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
