//! [`Horizon`]: until when what the node holds may be served, by its own bound.
//!
//! Noted before a value is read. A proof that came between the value and the question would be of
//! what has replaced the value.

use crate::{
    answer::{
        fills::{Proof, StalePolicy},
        ttl::Ttl,
    },
    engine::node::Node,
    fence::number::Moment,
    options::lifetime::limit,
};

/// What was proven when it was noted, and the node's bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    proof: Proof,
    ceiling: Ttl,
}

impl Horizon {
    /// Returns until when something may be served that was read at a moment.
    pub(crate) fn until(self, read: Moment) -> Moment {
        match self.proof {
            Proof::None => limit(read, self.ceiling),
            Proof::At(proven) => limit(read.max(proven.into()), self.ceiling),
            Proof::Withheld => Moment::START,
        }
    }

    /// Returns until when a proof holds, whatever is held.
    fn proven_until(self) -> Moment {
        match self.proof {
            Proof::None | Proof::Withheld => Moment::START,
            Proof::At(proven) => limit(proven.into(), self.ceiling),
        }
    }
}

impl Node {
    /// Notes what is proven. Asks no one where the node has no bound. Code of others: not to be
    /// called with a lock held.
    pub(crate) fn horizon(&self) -> Horizon {
        let proof = match self.ceiling {
            Ttl::Never => Proof::None,
            Ttl::After(_) => Proof::ask(self.fills.as_ref()),
        };
        Horizon {
            proof,
            ceiling: self.ceiling,
        }
    }

    /// Returns whether no load may begin. Reads the clock only under a policy that could forbid it.
    pub(crate) fn refuses_loads(&self, horizon: Horizon) -> bool {
        match (self.stale_policy, self.ceiling) {
            (StalePolicy::Load, _) | (StalePolicy::Refuse, Ttl::Never) => false,
            (StalePolicy::Refuse, Ttl::After(_)) => !self.is_ahead(horizon.proven_until()),
        }
    }
}
