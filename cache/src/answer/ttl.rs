//! [`Ttl`]: a duration that may have no end, which has a variant of its own: zero is zero.

use std::time::Duration;

/// A time to live, or another limit in time.
///
/// Zero means zero: the cache does not keep such a value. A value that never expires has
/// [`Never`](Self::Never).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_cache::{GetOptions, Loaded, Ttl};
///
/// let kept = GetOptions::default().ttl(Duration::from_secs(30)).neg_ttl(Ttl::Never);
/// // A token that has expired already is served to the callers that wait, and not kept.
/// let token = Loaded::new("secret").ttl(Duration::ZERO);
/// # let _ = (kept, token);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// Without end.
    Never,
    /// Until this much time has passed.
    After(Duration),
}

impl From<Duration> for Ttl {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl Ttl {
    /// Returns the duration, if there is an end.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(after) => Some(after),
        }
    }

    /// Returns the shorter of the two.
    pub(crate) fn shorter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, end) | (end, Self::Never) => end,
            (Self::After(one), Self::After(other)) => Self::After(one.min(other)),
        }
    }

    /// Returns whether it is zero, so that nothing is kept.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        match self {
            Self::Never => false,
            Self::After(after) => after.is_zero(),
        }
    }
}
