//! The test kit: a clock driven by hand, loads that wait at a gate, and several nodes in one
//! process.
//!
//! Bugs in caches are bugs of order: a load that was still running, a message that came late. So a
//! test does not need a sleep; it needs control over the order of events. This module has the three
//! tools of the crate's own tests.
//!
//! # A clock driven by hand
//!
//! Pass a [`ManualClock`](crate::ManualClock) to the builder. It moves only when the test moves it.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use tidings_cache::{Cache, CacheKey, GetOptions, ManualClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::new();
//! let cache = Cache::builder()
//!     .clock(Arc::new(clock.clone()))
//!     .ttl(Duration::from_secs(10))
//!     .build()?;
//! let key = CacheKey::new("api-keys", &["abcd"]);
//! cache.set(&key, Some("alice".to_owned()), GetOptions::default())?;
//!
//! clock.advance(Duration::from_secs(9));
//! assert!(cache.cached::<String>(&key)?.is_some());
//! clock.advance(Duration::from_secs(1));
//! assert!(cache.cached::<String>(&key)?.is_none());
//! # Ok(()) }
//! ```
//!
//! # Loads that wait at a gate
//!
//! A [`Source`] makes loads and counts them. A load made [`behind`](Source::behind) a [`Gate`]
//! stops there, so a test can hold it in the middle of its work.
//!
//! ```
//! use tidings_cache::{Cache, CacheKey, GetOptions, kit::{Gate, Source}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder().build()?;
//! let key = CacheKey::new("api-keys", &["abcd"]);
//! let (source, gate) = (Source::default(), Gate::new());
//!
//! let caller = tokio::spawn({
//!     let load = source.behind(&gate, Some("alice".to_owned()));
//!     let (cache, key) = (cache.clone(), key.clone());
//!     async move { cache.get(&key, GetOptions::default(), load).await }
//! });
//! gate.reached().await;          // the load has read its source, and has not returned
//! cache.invalidate(&key);        // the key is revoked while it loads
//! gate.open();
//!
//! assert!(caller.await??.is_some());                   // the caller that asked before is answered
//! assert!(cache.cached::<String>(&key)?.is_none());    // and nothing stale was kept
//! assert_eq!((source.loads(), cache.stats().refused_void), (1, 1));
//! # Ok(()) }
//! ```
//!
//! # Several nodes
//!
//! [`Nodes`] are caches that send each other their invalidations, over [`Wire`]s that deliver
//! nothing by themselves. A test holds a message back, delivers it, delivers it again, loses it, or
//! lets a later one overtake it.
//!
//! ```
//! use tidings_cache::{CacheKey, GetOptions, kit::{Delivery, Nodes}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let nodes = Nodes::two(|builder| builder.l1_entries(100))?;
//! let (a, b) = (nodes.cache("a"), nodes.cache("b"));
//! let key = CacheKey::new("api-keys", &["abcd"]);
//! for cache in [a, b] {
//!     cache.set(&key, Some("alice".to_owned()), GetOptions::default())?;
//! }
//!
//! a.invalidate(&key);
//! assert!(a.cached::<String>(&key)?.is_none());    // at once on its own node
//! assert!(b.cached::<String>(&key)?.is_some());    // still on its way to the other
//! nodes.wire("a", "b").deliver();
//! assert!(b.cached::<String>(&key)?.is_none());
//!
//! // The loss of a message goes unnoticed until the next one arrives, which proves the gap.
//! b.set(&key, Some("alice".to_owned()), GetOptions::default())?;
//! a.invalidate(&key);
//! nodes.wire("a", "b").lose();
//! assert!(b.cached::<String>(&key)?.is_some());
//! a.invalidate(&CacheKey::new("api-keys", &["other"]));
//! assert!(matches!(nodes.wire("a", "b").deliver(), Some(Delivery::Gap { lost: 1, .. })));
//! assert!(b.cached::<String>(&key)?.is_none());    // so everything went
//! # Ok(()) }
//! ```
//!
//! # The order of messages
//!
//! The messages of one sender are numbered without holes. To the receiver, a message that overtakes
//! another looks like one that follows a lost one: it purges, and recognizes the late message when
//! it arrives. Messages of different senders have no order; a test delivers them in any. A message
//! that arrives twice is applied twice, the second time under the number of the first
//! ([`Cache::apply_invalidation`](crate::Cache::apply_invalidation)).
//!
//! # What it is not
//!
//! It has no store and no bus. [`Nodes::change`] plays a committed change, and a test runs its
//! handlers by hand, under the [`Cause`](crate::Cause) that the change and its delivery return. The
//! wires behave as an ideal log would; they do not test a real one.

// Loads that wait at a gate. Must not know a node.
mod loads;

// What travels between two nodes. Must not know a node.
mod wire;

// Several nodes in one process, tied by wires.
mod nodes;

pub use self::{
    loads::{Gate, Source},
    nodes::Nodes,
    wire::{Delivery, Wire},
};
