//! [`Fills`]: the seam by which a node says whether what is read may be kept.
//!
//! A cache alone may keep whatever the fence lets in. A node that does not hear of every change
//! (the log is out of reach, a trigger is missing) must answer its callers and keep nothing: no
//! invalidation would ever come for it. A hit asks nothing.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tidings_core::CacheKey;

use crate::sync::Arc;

/// Says whether what loads read may be kept.
///
/// Asked twice for each load: before it reads anything, and when it has ended. Whatever was refused
/// either time answers the callers that wait for it and enters neither level; what L2 held of the
/// key goes, since the callers have seen something newer.
///
/// Called with no lock held. One that panics refuses.
pub trait Fills: fmt::Debug + Send + Sync + 'static {
    /// Notes that a load of a key begins. `None`: nothing that is read now may be kept.
    fn begin(&self, key: &CacheKey) -> Option<Pass>;

    /// Returns whether what was read under a pass may be kept.
    fn holds(&self, pass: Pass) -> bool;
}

/// Names the time in which a load began, for the [`Fills`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass(pub u64);

/// What is known of a load's pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// The cache asks no one.
    Always,
    Never,
    While(Pass),
}

impl Allowed {
    /// Asks before anything is read.
    pub(crate) fn begin(fills: Option<&Arc<dyn Fills>>, key: &CacheKey) -> Self {
        let Some(fills) = fills else {
            return Self::Always;
        };
        match catch_unwind(AssertUnwindSafe(|| fills.begin(key))) {
            Ok(Some(pass)) => Self::While(pass),
            Ok(None) | Err(_) => Self::Never,
        }
    }

    /// Asks again, once something was read.
    pub(crate) fn judge(self, fills: Option<&Arc<dyn Fills>>) -> Heard {
        match (self, fills) {
            (Self::Always, _) => Heard::Yes,
            (Self::Never, _) | (Self::While(_), None) => Heard::No,
            (Self::While(pass), Some(fills)) => {
                match catch_unwind(AssertUnwindSafe(|| fills.holds(pass))) {
                    Ok(true) => Heard::Yes,
                    Ok(false) | Err(_) => Heard::No,
                }
            }
        }
    }
}

/// Whether the node hears of every change of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Yes,
    No,
}
