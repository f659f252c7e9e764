//! Durations that may be without end, with a word of their own for that: zero is zero.

use std::time::Duration;

/// A time to live, or another limit in time.
///
/// Zero is zero: what lives for no time is not kept. What never expires says
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

    /// Returns the one that ends first.
    pub(crate) fn shorter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, end) | (end, Self::Never) => end,
            (Self::After(one), Self::After(other)) => Self::After(one.min(other)),
        }
    }

    /// Returns whether nothing lives under it.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        match self {
            Self::Never => false,
            Self::After(after) => after.is_zero(),
        }
    }
}
