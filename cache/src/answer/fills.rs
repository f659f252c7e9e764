//! [`Fills`]: the seam through which a node decides whether the cache may keep loaded values.
//!
//! A cache without a node may keep every value that the fence admits. A node that does not see
//! every change (because it cannot reach the log, or a trigger is missing) must answer its callers
//! and keep nothing, because no invalidation would ever arrive. A hit does not ask.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tidings_core::{CacheKey, clock::Tick};

use crate::sync::Arc;

/// Decides whether the cache may keep loaded values.
///
/// The cache asks twice for each load: before the load reads anything, and after the load has
/// ended. If either answer is no, the value answers the waiting callers but enters neither level.
/// L2 also drops its entry of the key, since the callers have seen something newer.
///
/// The cache holds no lock during the call. A panic counts as no.
pub trait Fills: fmt::Debug + Send + Sync + 'static {
    /// Notes that a load of a key begins. `None` means that the cache may keep nothing that is read
    /// now.
    fn begin(&self, key: &CacheKey) -> Option<Pass>;

    /// Returns whether the cache may keep a value that was read under this pass.
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

/// What the cache does with a lookup once an entry is older than the node's bound and there is no
/// proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StalePolicy {
    /// Load the entry again. Concurrent callers share one load, or the next one if the other nodes
    /// may have [given the node up](Fills::is_given_up).
    #[default]
    Load,
    /// Refuse the lookup with [`GetError::Unproven`](crate::GetError::Unproven), even for a miss.
    /// The cache does not ask the backing store until there is a proof; background refreshes wait
    /// as well.
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
