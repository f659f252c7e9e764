//! Wake-ups between the nodes of a cluster over a broker: NATS (feature `nats`) or Redis (feature
//! `redis`).
//!
//! Nodes of a cluster read one log, the one in their database. A wake-up says that there is
//! something to read, so that a change arrives within a millisecond or two and not at the next
//! poll. PostgreSQL can carry wake-ups itself; a broker spares it a listener for each node, each of
//! which it wakes for every commit. Give one to `NodeBuilder::wake_by` of the crate `tidings`, the
//! same on all nodes.
//!
//! The broker is no part of any promise. What it loses, doubles, delays or makes up costs a read
//! of the log, or a wait for the next poll. So a broker that is down makes changes slower, and a
//! hostile one cannot make a node serve anything old. No key and no value reaches it, only digests.
//!
//! A listener that takes nothing makes a Redis connection stop reading at 128 KiB, so that a flood
//! of wake-ups waits at the server.
//!
//! A Redis server whose answer is larger than 64 KiB, or says that it will be, is left at once. Of
//! NATS the client library keeps what the server sends of a message until the message is whole,
//! with no bound of its own: a NATS server is trusted with the memory of its nodes.
//!
//! # Wire format
//!
//! A wake-up is published under the subject (NATS) or channel (Redis) `tidings.NAME`, with the
//! cluster's name. Its payload is text: `1`, a space, and 32 hexadecimal digits that tell which
//! node sent it, so that a node passes over its own. It makes its readers read the log. What may
//! follow, behind a space:
//!
//! - `reported`: a node has reported what it has applied. The log has nothing new, and only nodes
//!   that wait for a report read the members' rows. Programs of earlier versions send it; since it
//!   reaches every node and concerns one, this one does not.
//! - One or more commits, each `c1.` and base64, with a space between them, of at most 7,000 bytes
//!   together: what they have changed, as digests under a signature, both with keys derived from
//!   the cluster's (`tidings_core::log::Sealed`). A node evicts what an authentic one names, then
//!   reads the log.
//!
//! Any other payload or word, of a later version or of another program, makes its readers read the
//! log; programs of earlier versions treat these so.
//!
//! The word `probe` is a listener's test of itself: it counts as listening once its own has come
//! back to it, since a broker may be silent towards a user without the right to subscribe or to
//! publish. Others pass over it; a program of before reads the log.
//!
//! # Layers
//!
//! The modules below are in the order of the layers, lowest first; imports run upwards in this list
//! only.

#![cfg_attr(
    not(any(feature = "nats", feature = "redis")),
    allow(
        dead_code,
        reason = "what the brokers share is used by none of them then"
    )
)]

// What can go wrong. Must not know any broker.
mod error;

// The bytes of a wake-up, and where it is published. Must not know any broker.
mod wire;

// What a carrier needs of a broker. Must not know any.
mod broker;

// A task that sends. Must not know what it sends with.
mod sender;

// A carrier, whatever its broker.
mod carrier;

#[cfg(feature = "nats")]
mod nats;

#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "nats")]
pub use self::nats::Nats;
#[cfg(feature = "redis")]
pub use self::redis::Redis;
pub use self::{carrier::Carrier, error::CarrierError};
