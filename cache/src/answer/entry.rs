//! A value as a caller gets it, and how it was obtained.

use std::sync::Arc;

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
    /// The load failed or was late, and the expired value was served instead.
    Stale,
}

/// A value, or its absence, and how it was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    /// The value; `None` if there is none.
    pub value: Option<Arc<V>>,
    /// How the call was answered.
    pub outcome: Outcome,
}
