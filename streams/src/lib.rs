//! Logs for nodes without a store: a Redis stream (feature `redis`), or a stream of NATS JetStream
//! (feature `nats`).
//!
//! A service that uses only the cache and the bus of Tidings has no database whose log its nodes
//! could read. It gives each node a [`Stream`] instead. When a node invalidates, purges or posts to
//! all nodes, it appends a record to the stream, and the other nodes read the record:
//!
//! ```no_run
//! # #[cfg(feature = "redis")]
//! # async fn start() -> Result<(), tidings::BoxError> {
//! use tidings::Node;
//! use tidings_streams::Redis;
//!
//! let stream = Redis::new("redis://127.0.0.1:6379", "shop")?;
//! let node = Node::builder().stream(stream).start().await?;
//! # Ok(()) }
//! ```
//!
//! Beside a store, a broker only carries wake-ups and is no log: see the crate `tidings-carriers`.
//!
//! # What it promises
//!
//! - A node that follows the stream reads every record, in one order for all nodes, or finds a gap
//!   in its place. At a gap it purges its cache.
//! - If the server loses or removes records, or assigns their numbers twice, that is a gap
//!   ([`Numbered`]). There is one loss that no reader can see: the newest records, lost together
//!   with the node that appended them.
//! - Receipts, members and the bound on staleness work as on a node with a store.
//! - The keys of entities with secrets leave the process as digests under the cluster's key
//!   ([`ClusterKey`]). Everything else in a record is plain text: other cache keys, tags, and the
//!   events that the application posts.
//!
//! A stream is as durable as its server's settings make it. A server that acknowledges a record
//! before it writes it to the disk can lose the newest records in a crash. That is a gap for all
//! nodes.
//!
//! # Wire format
//!
//! See [`wire`].
//!
//! # Another server
//!
//! Implement [`engine::Engine`] and [`Server`] for it. `tidings_cluster::kit::conformance` tests
//! the behaviour that every log must have, and [`kit::Memory`] is a model for comparison.
//!
//! # Layers
//!
//! The modules are in the order of the layers, lowest first. A module imports only from those above
//! it in this list.

// Rules that tests can leave out; constants in an ordinary build. Must not know the code that asks.
mod faults;

// The errors of a stream's construction. Must not know any server.
mod error;

// The cluster's key, and digests under it. Must not know a record.
mod secret;

// The bytes of a record. Must not know where it is kept.
pub mod wire;

// The operations that a log needs from a server. Must not know the contents of a record.
pub mod engine;

// The members beside a stream. Must not know how the stream is read.
mod members;

// A log on any engine. Must not know which.
mod numbered;

// The stream that a node takes. Must not know any server.
mod stream;

// A server in memory, for tests.
pub mod kit;

#[cfg(feature = "nats")]
mod nats;

#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "nats")]
pub use self::nats::{JetStream, JetStreamServer};
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisServer};
pub use self::{
    error::StreamError,
    members::StreamMembers,
    numbered::Numbered,
    secret::ClusterKey,
    stream::{Needs, Server, Stream},
};
