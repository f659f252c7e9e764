//! A value as a caller gets it, and how it was obtained.

use std::{sync::Arc, time::Duration};

use crate::fence::number::Moment;

/// How a `get` was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// By this thread's L1.
    L1,
    /// By the node's L2.
    L2,
    /// By a load that this call started.
    Loaded,
    /// By a load that another call had started.
    Joined,
    /// A load failed or was late, and the expired value was served instead.
    Stale,
}

/// A value, or its absence, and how it was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    /// The value; `None` if there is none.
    pub value: Option<Arc<V>>,
    /// How the call was answered.
    pub outcome: Outcome,
    age: Duration,
}

impl<V> Entry<V> {
    /// Returns how long ago the value was read from its backing store, at the time of the call:
    /// counted from the start of its load, or from the [`set`](crate::Cache::set).
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }
}

/// An [`Entry`] whose age is not computed yet, which costs a read of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Answered<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) outcome: Outcome,
    /// When it was read from its backing store.
    pub(crate) read: Moment,
}

impl<V> Answered<V> {
    /// Returns the entry as it is at a moment.
    pub(crate) fn at(self, now: Moment) -> Entry<V> {
        Entry {
            value: self.value,
            outcome: self.outcome,
            age: now.since(self.read),
        }
    }
}
