//! Logs for nodes without a store: a Redis stream (feature `redis`), or a stream of NATS JetStream
//! (feature `nats`).
//!
//! A service that uses Tidings' cache and bus alone has no database whose log its nodes could read.
//! It gives each node a [`Stream`], and what one of them invalidates, purges or posts to all
//! reaches the others by a record:
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
//! Beside a store a broker carries wake-ups and is no log: see the crate `tidings-carriers`.
//!
//! # What is promised
//!
//! - A node that follows the stream hears of every record, in one order for all nodes, or of a gap
//!   in its place; at a gap it purges its cache.
//! - Whatever the server loses, forgets or hands out twice is a gap ([`Numbered`]). One thing no
//!   reader can see: a tail that was lost together with the node that had appended it.
//! - Receipts, members and the bound on staleness are those of a node with a store.
//! - Keys of entities with secrets leave the process as digests under the cluster's key
//!   ([`ClusterKey`]). All else that a record holds is in the clear: other cache keys, tags, and
//!   the events that the application posts.
//!
//! A stream is as durable as its server's settings make it: a server that acknowledges before it
//! writes to the disk can lose the newest records in a crash, and that is a gap for all.
//!
//! # Wire format
//!
//! See [`wire`].
//!
//! # Another server
//!
//! Implement [`engine::Engine`] and [`Server`] for it. `tidings_cluster::kit::conformance` is what
//! every log has to do, and [`kit::Memory`] a model to compare with.
//!
//! # Layers
//!
//! The modules below are in the order of the layers, lowest first; imports run upwards in this list
//! only.

// Rules that tests can leave out; constants in an ordinary build. Must not know the code that asks.
mod faults;

// What can go wrong when a stream is made. Must not know any server.
mod error;

// The cluster's key, and digests under it. Must not know a record.
mod secret;

// The bytes of a record. Must not know where it is kept.
pub mod wire;

// What a log needs of a server. Must not know what a record says.
pub mod engine;

// The members beside a stream. Must not know how the stream is read.
mod members;

// A log on any engine. Must not know which.
mod numbered;

// What a node is given. Must not know any server.
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
