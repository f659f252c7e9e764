//! Wake-ups between the nodes of a cluster over a broker: NATS (feature `nats`) or Redis (feature
//! `redis`).
//!
//! The nodes of a cluster read one log, which is in their database. A wake-up tells a node that the
//! log has something to read, so that a change arrives within a millisecond or two and not at the
//! next poll. PostgreSQL can carry wake-ups itself, but then it keeps a listener for each node and
//! wakes all of them at every commit. A broker takes that work off it. Give a carrier to
//! `NodeBuilder::wake_by` of the crate `tidings`, the same on all nodes.
//!
//! No promise depends on the broker. If it loses, repeats, delays or invents a wake-up, this costs
//! a read of the log, or a wait for the next poll. So a broker that is down delays changes, and a
//! hostile broker cannot make a node serve an old value. Keys and values never reach it, only
//! digests.
//!
//! If a listener does not take its wake-ups, a Redis connection stops reading at 128 KiB, so a
//! flood of wake-ups waits at the server.
//!
//! A node disconnects at once from a Redis server whose answer exceeds 64 KiB or 1,024 parts, or
//! announces that it will. For NATS there is no such bound: the client library buffers a message
//! until it is complete. So a NATS server can fill the memory of its nodes, and you have to trust
//! it.
//!
//! # Wire format
//!
//! A wake-up is published under the subject (NATS) or channel (Redis) `tidings.NAME`, where `NAME`
//! is the cluster's name. Its payload is text: `1`, a space, and 32 hexadecimal digits that
//! identify the sender, so that a node can ignore its own wake-ups. Its readers read the log. It
//! may continue with another space and one of these:
//!
//! - `reported`: a node has reported what it has applied. The log has nothing new; only nodes that
//!   wait for a report read the members' rows. Earlier versions of the program send this word. This
//!   version does not, because the word reaches every node and concerns only one.
//! - One or more commits, separated by spaces, of at most 7,000 bytes together. Each is `c1.` and
//!   base64: digests of the changed keys, and a signature, both made with keys that are derived
//!   from the cluster's (`tidings_core::log::Sealed`). A node evicts the keys that an authentic
//!   commit names, then reads the log.
//!
//! Any other payload or word, from a later version or from another program, makes its readers read
//! the log. Earlier versions of the program do the same.
//!
//! A listener sends the word `probe` to test itself. It counts as listening once its own probe has
//! come back, because a broker may silently ignore a user without the right to subscribe or to
//! publish. Other nodes ignore the word; earlier versions of the program read the log.
//!
//! # Layers
//!
//! The modules are in the order of the layers, lowest first. A module imports only from those above
//! it in this list.

#![cfg_attr(
    not(any(feature = "nats", feature = "redis")),
    allow(
        dead_code,
        reason = "what the brokers share is used by none of them then"
    )
)]

// The errors. Must not know any broker.
mod error;

// The bytes of a wake-up, and its subject. Must not know any broker.
mod wire;

// The operations that a carrier needs from a broker. Must not know any broker.
mod broker;

// A task that sends. Must not know the broker.
mod sender;

// A carrier over any broker.
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
