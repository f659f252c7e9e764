//! The faults of the nodes, of the place where they meet, and of the broker that wakes them.

use std::time::Duration;

use tidings::core::entropy::{Entropy as _, SeededEntropy};
use tidings_testkit::Link;

/// A fault that is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A node is killed, and started again.
    Kill,
    /// A node is told to end, ends in order, and is started again.
    Restart,
    /// A node is stopped for a while, mostly for longer than its bound.
    Stop,
    /// A node is stopped until the log has forgotten what it had not read.
    Outlive,
    /// The time of day of a node jumps, and stays there.
    Jump,
    /// The database loses every connection (PostgreSQL), or is locked (SQLite).
    Cut,
    /// The server recovers from a crash: of one of its processes, or of all (PostgreSQL).
    Crash,
    /// The server ends in order, and is started again (PostgreSQL).
    Bounce,
    /// The log is deleted and made again.
    Recreate,
    /// The database gets the content of an earlier moment (SQLite).
    PutBack,
    /// The link of a node to its database fails for a while (PostgreSQL).
    Link(Trouble),
    /// The broker is killed, and started again.
    BrokerDown,
    /// The link of a node to the broker fails for a while.
    BrokerLink(Trouble),
}

/// How a link fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// It closes its connections and refuses new ones.
    Refuse,
    /// It is slow.
    Delay,
    /// Every other of its connections is slow.
    Uneven,
    /// The server's ends of its connections are gone, without notice to the node.
    HalfOpen,
    /// Nothing passes, mostly for longer than the bound.
    BlackHole,
}

/// Of every engine.
pub(super) const NODES_ALONE: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Restart,
    Fault::Restart,
    Fault::Stop,
    Fault::Stop,
    Fault::Jump,
    Fault::Jump,
];

pub(super) const POSTGRES: &[Fault] = &[
    Fault::Cut,
    Fault::Crash,
    Fault::Bounce,
    Fault::Recreate,
    Fault::Link(Trouble::Refuse),
    Fault::Link(Trouble::Delay),
    Fault::Link(Trouble::Uneven),
    Fault::Link(Trouble::Uneven),
    Fault::Link(Trouble::Uneven),
    Fault::Link(Trouble::HalfOpen),
    Fault::Link(Trouble::BlackHole),
];

/// Where commits do not wait for the disk.
pub(super) const CRASHES: &[Fault] = &[Fault::Crash, Fault::Crash, Fault::Crash];

pub(super) const SQLITE: &[Fault] = &[Fault::Cut, Fault::Cut, Fault::Recreate, Fault::PutBack];

pub(super) const BROKER: &[Fault] = &[
    Fault::BrokerDown,
    Fault::BrokerDown,
    Fault::BrokerLink(Trouble::Refuse),
    Fault::BrokerLink(Trouble::Delay),
    Fault::BrokerLink(Trouble::HalfOpen),
    Fault::BrokerLink(Trouble::BlackHole),
];

/// Of runs that are long enough for it.
pub(super) const LONG: &[Fault] = &[Fault::Outlive];

impl Trouble {
    /// Draws the state of the link, and for how long.
    pub(super) fn draw(self, chance: &SeededEntropy) -> (Link, Duration) {
        let millis = |least: u64, more: u64| Duration::from_millis(least + chance.below(more));
        match self {
            Self::Refuse => (Link::Refusing, millis(200, 2_500)),
            Self::Delay => (Link::Slow(millis(5, 100)), millis(500, 2_500)),
            Self::Uneven => (Link::Uneven(millis(5, 100)), millis(500, 2_500)),
            Self::HalfOpen => (Link::HalfOpen, millis(200, 2_500)),
            Self::BlackHole => (Link::Silent, millis(500, 3_500)),
        }
    }
}
