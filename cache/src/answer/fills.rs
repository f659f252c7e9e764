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
/// The cache asks twice for each load: before the load reads anything, and after it has ended. If
/// either answer is no, the waiting callers get the value, but it enters neither level. L2 also
/// drops its entry of the key, since the callers have seen something newer.
///
/// The cache holds no lock during the call. A panic counts as no.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// use tidings_cache::{Cache, CacheKey, Fills, GetOptions, Pass};
///
/// /// Keeps nothing while the source of invalidations is out of reach.
/// #[derive(Debug, Default)]
/// struct Connected(AtomicBool);
///
/// impl Fills for Connected {
///     fn begin(&self, _: &CacheKey) -> Option<Pass> {
///         self.0.load(Ordering::SeqCst).then_some(Pass(0))
///     }
///
///     fn holds(&self, _: Pass) -> bool {
///         self.0.load(Ordering::SeqCst)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connected = Arc::new(Connected::default());
/// let cache = Cache::builder().fills(Arc::clone(&connected) as _).build()?;
/// let key = CacheKey::new("api-keys", &["abcd"]);
/// let load = || async { Ok::<_, std::io::Error>(Some("alice")) };
///
/// assert!(cache.get(&key, GetOptions::default(), load).await?.is_some());
/// assert!(cache.cached::<&str>(&key)?.is_none()); // answered, and not kept
///
/// connected.0.store(true, Ordering::SeqCst);
/// cache.get(&key, GetOptions::default(), load).await?;
/// assert!(cache.cached::<&str>(&key)?.is_some());
/// # Ok(()) }
/// ```
pub trait Fills: fmt::Debug + Send + Sync + 'static {
    /// Notes that a load of a key begins. `None` means that the cache may keep nothing that is read
    /// now.
    fn begin(&self, key: &CacheKey) -> Option<Pass>;

    /// Returns whether the cache may keep a value that was read under this pass.
    fn holds(&self, pass: Pass) -> bool;

    /// Returns whether other nodes may have given this one up, and so may have confirmed changes
    /// that it has not received.
    ///
    /// In that case a load that may not be kept does not answer calls that came after it began.
    /// Such a call waits until that load has ended or is late, and shares the next load with all
    /// other calls that have waited. The cache asks this only if [`begin`](Self::begin) has refused
    /// the call's own load.
    fn is_given_up(&self) -> bool {
        false
    }

    /// Returns what is proven of what the cache holds.
    ///
    /// The cache asks this if the node has a
    /// [`staleness_ceiling`](crate::CacheBuilder::staleness_ceiling): before a lookup in L2, before
    /// it joins or begins a load, and when a load has ended. Hits in L1 do not ask: see
    /// [`Cache::recheck_node`](crate::Cache::recheck_node). The call should cost no more than a
    /// read of an atomic.
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
    /// No entry may be served.
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
    /// Asks for the proof. A panic withholds everything.
    pub(crate) fn ask(fills: Option<&Arc<dyn Fills>>) -> Self {
        let Some(fills) = fills else {
            return Self::None;
        };
        catch_unwind(AssertUnwindSafe(|| fills.proof())).unwrap_or(Self::Withheld)
    }
}

/// Whether other nodes still count on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Counted,
    GivenUp,
}

impl Standing {
    /// Asks, if the load may not be kept. A panic counts as given up.
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

/// Identifies the period in which a load began, for the [`Fills`] that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass(pub u64);

/// What a [`Fills`] said when a load began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// There is no `Fills` to ask.
    Always,
    Never,
    While(Pass),
}

impl Allowed {
    /// Asks before the read.
    pub(crate) fn begin(fills: Option<&Arc<dyn Fills>>, key: &CacheKey) -> Self {
        let Some(fills) = fills else {
            return Self::Always;
        };
        match catch_unwind(AssertUnwindSafe(|| fills.begin(key))) {
            Ok(Some(pass)) => Self::While(pass),
            Ok(None) | Err(_) => Self::Never,
        }
    }

    /// Asks again, after the read.
    pub(crate) fn judge(self, fills: Option<&Arc<dyn Fills>>) -> Decision {
        match (self, fills) {
            (Self::Always, _) => Decision::Keep,
            (Self::Never, _) | (Self::While(_), None) => Decision::Discard,
            (Self::While(pass), Some(fills)) => {
                match catch_unwind(AssertUnwindSafe(|| fills.holds(pass))) {
                    Ok(true) => Decision::Keep,
                    Ok(false) | Err(_) => Decision::Discard,
                }
            }
        }
    }
}

/// Whether the cache may keep what was read, once it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Keep,
    Discard,
}
