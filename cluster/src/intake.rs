//! [`Intake`]: the part that a node's cache asks when a load begins and when it has ended, and how
//! fresh its entries are proven to be.
//!
//! A load fills only while the [gate](Gate) is open; and since wake-ups name keys by their digests,
//! the digest of each key is noted when a load of it begins.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tidings_cache::{Fills, Pass, Proof};
use tidings_core::{
    CacheKey,
    clock::Clock,
    log::{Digest, Log},
};

use crate::{digests::Index, gate::Gate, settings::ClusterSettings};

/// Lets a node's cache keep what it loads, as long as the node learns of its changes. Given to the
/// cache when it is built ([`CacheBuilder::fills`](tidings_cache::CacheBuilder::fills)), and to the
/// protocol.
pub struct Intake {
    pub(crate) log: Arc<dyn Log>,
    gate: Arc<Gate>,
    digests: Mutex<Index>,
}

impl Intake {
    /// Makes an intake that lets nothing in yet.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, settings: &ClusterSettings) -> Arc<Self> {
        Arc::new(Self {
            log,
            gate: Arc::new(Gate::new(clock, settings.bound)),
            digests: Mutex::new(Index::new(settings.remembered)),
        })
    }

    /// Returns the gate.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Returns the keys of these digests that this node may hold.
    pub(crate) fn keys_of(&self, digests: &[Digest]) -> Vec<CacheKey> {
        let index = self.digests.lock();
        let known = digests.iter().filter_map(|digest| index.key(*digest));
        known.cloned().collect()
    }
}

impl Fills for Intake {
    fn begin(&self, key: &CacheKey) -> Option<Pass> {
        self.log.note_load(key);
        if let Some(digest) = self.log.digest(key) {
            self.digests.lock().enter(digest, key);
        }
        self.gate.begin_load()
    }

    fn holds(&self, pass: Pass) -> bool {
        self.gate.fills(pass)
    }

    fn is_given_up(&self) -> bool {
        self.gate.is_given_up()
    }

    fn proof(&self) -> Proof {
        self.gate.proof()
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
