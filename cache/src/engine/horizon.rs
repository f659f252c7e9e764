//! [`Horizon`]: until when the node's own bound lets entries be served.
//!
//! It is taken before a value is read. A proof that arrived between the read and the question could
//! be a proof of what has replaced the value.

use crate::{
    answer::{
        fills::{Proof, StalePolicy},
        ttl::Ttl,
    },
    engine::node::Node,
    fence::number::Moment,
    options::lifetime::limit,
};

/// The proof at the time when this was taken, and the node's bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    proof: Proof,
    ceiling: Ttl,
}

impl Horizon {
    /// Returns until when an entry that was read at this moment may be served.
    pub(crate) fn until(self, read: Moment) -> Moment {
        match self.proof {
            Proof::None => limit(read, self.ceiling),
            Proof::At(proven) => limit(read.max(proven.into()), self.ceiling),
            Proof::Withheld => Moment::START,
        }
    }

    /// Returns until when the proof itself holds, whatever entries there are.
    fn proven_until(self) -> Moment {
        match self.proof {
            Proof::None | Proof::Withheld => Moment::START,
            Proof::At(proven) => limit(proven.into(), self.ceiling),
        }
    }
}

impl Node {
    /// Takes the horizon. If the node has no bound, this asks no one; otherwise it runs user code,
    /// so no lock may be held.
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
