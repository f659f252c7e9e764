//! How changes travel between nodes, and what is proven about it.
//!
//! Every node reads one log of changes ([`tidings_core::log`]). Its *tail* evicts what a record
//! names, puts the record in line for the handlers, and goes on; a *dispatcher* runs the handlers.
//! What cannot be read is a gap: the node purges. A node that joins is a *member*: others wait for
//! it when they ask whether a change has reached everyone.
//!
//! [`Protocol::assemble`] puts the parts of one node together. It starts no thread and does no I/O:
//! the log does, tasks run where [`Spawn`](tidings_core::spawn::Spawn) puts them, and time and
//! chance are passed in. So the same code runs in a node and under the simulation of [`kit`], which
//! drives several nodes, their clocks and their links from one seed.
//!
//! # Layers
//!
//! The modules below are in the order of the layers, lowest first; imports run upwards in this list
//! only.

// Rules that a simulation can leave out; constants in an ordinary build. Must not know the code
// that asks.
mod faults;

// Keys for one purpose each, made of the cluster's. Must not know any purpose.
mod derived;

// Signs wake-ups, and names keys by digests. Must not know how they travel.
mod seal;

// A log whose wake-ups are sealed, and may go by a broker. Must not know the protocol.
mod sealed;

// What can be set, and its limits. Must not know what acts on it.
mod settings;

// Gives other tasks a turn. Must not know any executor.
mod turn;

// How soon hints make a node read. Must not know what it reads.
mod floor;

// How soon a node that waits for reports looks for them. Must not know where it looks.
mod pace;

// From a record to the cache keys that it evicts. Must not know the cache.
mod keys;

// Which evictions are remembered, and under which number. Must not know who made them.
mod numbers;

// From the digest in a wake-up to the key. Must not know what is done with it.
mod digests;

// Whether a load may fill and an entry may be served. Must not know the log.
mod gate;

// What the cache asks before it keeps anything. Must not know the tasks of a node.
mod intake;

// The seams to the handlers and to watchers. Must not know the bus.
mod announce;

// How far a node has got. Must not know how it gets there.
mod reached;

// Which records a node has read. Must not know what is asked of it.
mod trail;

// Between the tail and the tasks that go through the changes. Must not know either.
mod queue;

// Evictions on their way to the log. Must not know who asked for them.
mod outbox;

// Between callers and the task that asks the members. Must not know either.
mod questions;

// The protocol of one node. Must not know any engine, nor the bus.
mod node;

// Handlers on worker events. Must not know the protocol.
mod bus;

// A model store with its log in two forms, and the simulation. Must not be known by the rest.
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
        probe::Probe,
        protocol::{Parts, Protocol},
        replay::{Replay, Replayed},
        shared::ClusterStats,
        view::{MemberState, MemberView, Standing, View},
        wake_link::{WakeLink, WakeLinkState},
    },
    sealed::SealedWakes,
    settings::{ClusterSettings, SettingError},
};
