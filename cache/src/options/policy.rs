//! Named policies, rather than dozens of knobs.

/// A named set of options. Whatever is set beside it wins over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Revocable,
    Reference,
}

impl Policy {
    /// Returns the policy of what may be revoked: credentials, permissions.
    ///
    /// An absence is served for five seconds; nothing is ever served after its time, and a call
    /// that asks for that ([`resurrect_ttl`](crate::GetOptions::resurrect_ttl)) is refused.
    ///
    /// # How stale a value can be
    ///
    /// What the node is told of (its own invalidations and changes, and those of other nodes once
    /// they are [applied](crate::Cache::apply_invalidation)) is stale for no time at all: no later
    /// `get` sees the old value. What it is not told of it cannot know: a row that another program
    /// changed is served for as long as its entry lives, and this policy sets no ttl, so that is
    /// until it is evicted. On a node that is alone with its source that never happens, and a bound
    /// would cost a load of every key now and then for nothing. Where others write too, set one
    /// beside the policy: [`max_staleness`](crate::GetOptions::max_staleness), on the cache or the
    /// call.
    ///
    /// An absence lives five seconds for the same reason: a key that is created behind the node's
    /// back is refused for no longer. A `ttl`, `neg_ttl` or `max_staleness` set beside the policy
    /// wins over it.
    #[must_use]
    pub const fn revocable() -> Self {
        Self(Kind::Revocable)
    }

    /// Returns the policy of what may lag: settings, catalogues, routes.
    ///
    /// When a load fails, the expired value is served until thirty seconds after it expired,
    /// however often loads fail; an entry with a ttl is loaded again in the background once four
    /// fifths of it have passed, and each ttl is up to a tenth shorter.
    #[must_use]
    pub const fn reference() -> Self {
        Self(Kind::Reference)
    }

    pub(crate) fn never_stale(self) -> bool {
        self.0 == Kind::Revocable
    }
}
