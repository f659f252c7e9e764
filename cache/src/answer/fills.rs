//! [`Fills`]: the seam by which a node says whether what is read may be kept.
//!
//! A cache alone may keep whatever the fence lets in. A node that does not hear of every change
//! (the log is out of reach, a trigger is missing) must answer its callers and keep nothing: no
//! invalidation would ever come for it. A hit asks nothing.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tidings_core::{CacheKey, clock::Tick};

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

    /// Returns whether others may have given the node up, and have confirmed changes since of which
    /// it has not heard. Then a call is not answered by a load that may not be kept and began
    /// before the call: it waits until that has ended, or is late, and shares the next one with all
    /// that have waited. Asked whenever [`begin`](Self::begin) has said so of the call's own load.
    fn is_given_up(&self) -> bool {
        false
    }

    /// Returns what is proven of what the cache holds.
    ///
    /// Asked where the node has a [`staleness_ceiling`](crate::CacheBuilder::staleness_ceiling):
    /// before L2 is looked into, before a load is joined or begun, and when one has ended. Hits in
    /// L1 ask nothing: see [`Cache::recheck_node`](crate::Cache::recheck_node). It should cost no
    /// more than a read of an atomic.
    fn proof(&self) -> Proof {
        Proof::None
    }
}

/// What is proven of what a node's cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: each entry counts from the start of its load.
    None,
    /// Every change from before this moment, on the cache's clock, was applied: what is older
    /// counts from then.
    At(Tick),
    /// Nothing that is held may be served.
    Withheld,
}

/// What a cache does once an entry is older than the node's bound and nothing is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StalePolicy {
    /// It loads the entry again; callers at the same time share one load, or the next where others
    /// may have [given the node up](Fills::is_given_up).
    #[default]
    Load,
    /// It refuses with [`GetError::Unproven`](crate::GetError::Unproven), a miss too, and asks the
    /// backing store nothing until there is a proof. Background refreshes wait as well.
    Refuse,
}

impl Proof {
    /// Asks for what is proven. One that panics withholds.
    pub(crate) fn ask(fills: Option<&Arc<dyn Fills>>) -> Self {
        let Some(fills) = fills else {
            return Self::None;
        };
        catch_unwind(AssertUnwindSafe(|| fills.proof())).unwrap_or(Self::Withheld)
    }
}

/// Whether others count on what the node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Counted,
    GivenUp,
}

impl Standing {
    /// Asks, for a load that may be kept or not. One that panics is given up.
    pub(crate) fn ask(fills: Option<&Arc<dyn Fills>>, allowed: Allowed) -> Self {
        let (Some(fills), Allowed::Never) = (fills, allowed) else {
            return Self::Counted;
        };
        match catch_unwind(AssertUnwindSafe(|| fills.is_given_up())) {
            Ok(false) => Self::Counted,
            Ok(true) | Err(_) => Self::GivenUp,
        }
    }
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
