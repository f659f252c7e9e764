//! Named policies, in place of dozens of single options.

/// A named set of options. An option that you set yourself overrides the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Revocable,
    Reference,
}

impl Policy {
    /// Returns the policy for values that may be revoked: credentials, permissions.
    ///
    /// An absence is served for five seconds. No value is ever served after it has expired; a call
    /// that asks for that ([`resurrect_ttl`](crate::GetOptions::resurrect_ttl)) is refused.
    ///
    /// # How stale a value can be
    ///
    /// A value is never stale after a change that the node knows of: no later `get` sees the old
    /// value. Such changes are the node's own invalidations and changes, and those of other nodes
    /// once they are [applied](crate::Cache::apply_invalidation).
    ///
    /// The node cannot notice other changes. If another program changes a row, the cache serves the
    /// old value for as long as its entry lives. This policy sets no ttl, so that is until the
    /// entry is evicted. If only this node writes to the backing store, this never happens, and a
    /// bound would cost extra loads for nothing. If others write too, set a bound beside the
    /// policy: [`max_staleness`](crate::GetOptions::max_staleness), on the cache or the call.
    ///
    /// An absence lives for five seconds for the same reason: if another program creates a key, the
    /// node refuses it for no longer than that. A `ttl`, `neg_ttl` or `max_staleness` that you set
    /// overrides the policy.
    #[must_use]
    pub const fn revocable() -> Self {
        Self(Kind::Revocable)
    }

    /// Returns the policy for values that may lag behind: settings, catalogues, routes.
    ///
    /// If a load fails, the expired value is served until thirty seconds after it expired, however
    /// often loads fail. An entry with a ttl is reloaded in the background once four fifths of the
    /// ttl have passed. Each ttl is shortened by up to a tenth.
    #[must_use]
    pub const fn reference() -> Self {
        Self(Kind::Reference)
    }

    pub(crate) fn never_stale(self) -> bool {
        self.0 == Kind::Revocable
    }
}
