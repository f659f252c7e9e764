//! The protocol by which changes travel between nodes.
//!
//! All nodes read one log of changes ([`tidings_core::log`]). A node's *tail* reads a record,
//! evicts the keys that it names, queues it for the handlers, and goes on. A *dispatcher* runs the
//! handlers. If the tail cannot read a record, that is a gap, and the node purges its cache. A node
//! that joins becomes a *member*: the other nodes wait for it when a caller asks whether a change
//! has reached all of them.
//!
//! [`Protocol::assemble`] puts the parts of one node together. It starts no thread and does no I/O.
//! The log does the I/O, [`Spawn`](tidings_core::spawn::Spawn) decides where tasks run, and the
//! caller passes in time and randomness. So the same code runs in a node and in the simulation of
//! [`kit`], which drives several nodes, their clocks and their links from one seed.
//!
//! # Layers
//!
//! The modules are in the order of the layers, lowest first. A module imports only from those above
//! it in this list.

// Rules that a simulation can leave out; constants in an ordinary build. Must not know the code
// that asks.
mod faults;

// Derives a key for each purpose from the cluster's key. Must not know any purpose.
mod derived;

// Signs wake-ups, and names keys by digests. Must not know how they travel.
mod seal;

// A log whose wake-ups are sealed, and may travel over a broker. Must not know the protocol.
mod sealed;

// Settings and their limits. Must not know what acts on them.
mod settings;

// Gives other tasks a turn. Must not know any executor.
mod turn;

// Limits how often hints make a node read. Must not know what it reads.
mod floor;

// Decides how often a node checks for the reports that it waits for. Must not know where it checks.
mod pace;

// Derives the cache keys that a record evicts. Must not know the cache.
mod keys;

// Remembers evictions and their numbers. Must not know what made them.
mod numbers;

// Finds the key of a digest in a wake-up. Must not know what is done with the key.
mod digests;

// Decides whether a load may fill and an entry may be served. Must not know the log.
mod gate;

// The cache asks this before it keeps a value. Must not know the tasks of a node.
mod intake;

// The interfaces to the handlers and to watchers. Must not know the bus.
mod announce;

// The positions that a node has reached. Must not know how it reaches them.
mod reached;

// Remembers the records that a node has read. Must not know who asks.
mod trail;

// The queue from the tail to a task that processes the changes. Must not know either.
mod queue;

// Evictions on their way to the log. Must not know their callers.
mod outbox;

// Between callers and the task that asks the members. Must not know either.
mod questions;

// The protocol of one node. Must not know any engine, nor the bus.
mod node;

// Handlers on worker events. Must not know the protocol.
mod bus;

// A model store with its log in two forms, and the simulation. The rest must not know it.
pub mod kit;

pub use self::{
    announce::{Announce, Change, Handling, Observe, Quiet, Told, Trace},
    bus::BusAnnouncer,
    derived::DerivedKey,
    gate::Gate,
    intake::Intake,
    node::{
        carry::Carrier,
        confirm::{Confirmed, Silence, Silent, Unconfirmed},
        parts::Parts,
        probe::Probe,
        protocol::Protocol,
        replay::{Replay, Replayed},
        shared::ClusterStats,
        view::{MemberState, MemberView, Standing, View},
        wake_link::{WakeLink, WakeLinkState},
    },
    sealed::SealedWakes,
    settings::{ClusterSettings, SettingError},
};
