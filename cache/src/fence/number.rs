//! Sequence numbers and moments, each a type of its own, because the promise of the crate depends
//! on comparing the right two.

use std::time::Duration;

use tidings_core::clock::Tick;

/// A number of a node's sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    /// Above every number of a sequence, so everything is below it.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// The smallest number: nothing is below it.
    pub(crate) const ZERO: Self = Self(0);

    /// Returns the number that comes right after this one.
    pub(crate) fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A moment on the node's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// A moment that is never reached.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The first moment of any clock.
    pub(crate) const START: Self = Self(0);

    /// Returns the moment `after` later, or [`NEVER`](Self::NEVER) if that overflows.
    pub(crate) fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(after)))
    }

    /// Returns the moment on the clock's own scale.
    pub(crate) fn tick(self) -> Tick {
        Tick(self.0)
    }

    /// Returns the time since `earlier`; zero if that is in the future.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Tick> for Moment {
    fn from(tick: Tick) -> Self {
        Self(tick.0)
    }
}

/// The number and the time that a load notes before it reads the backing store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    /// The sequence at that time.
    pub(crate) number: Number,
    /// The time itself.
    pub(crate) read: Moment,
}

/// Returns a duration in nanoseconds, saturating after some five hundred years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
