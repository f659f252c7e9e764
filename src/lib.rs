//! Typed worker events, and entity caches that stay coherent because of them.
//!
//! A row changes; every worker hears of it, with the old and the new entity; no stale read
//! survives. A [`Node`] ties the parts together: a store whose writes end in typed changes, a bus
//! that carries them to handlers, a two-level cache that evicts before anyone can read again, and
//! workers that each have an L1 and handlers of their own.
//!
//! # A write, from end to end
//!
//! 1. The DAO validates the row, reads its true predecessor and commits, in one owned task.
//! 2. Before the writer is released the cache evicts what the change touches
//!    ([`Cache::apply_change`]): from here on no `get` on any worker sees the old value.
//! 3. The change is queued in commit order. Inline handlers run, then those of each worker, on the
//!    worker's own thread.
//! 4. The write returns once they have run, or when [`NodeBuilder::handler_deadline`] has passed.
//!
//! # Examples
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidings::{CrudEvent, Entity, GetOptions, Node, Store};
//! use uuid::Uuid;
//!
//! #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
//! #[entity(name = "flags", endpoint_key = "name", cache_key("name"))]
//! struct Flag {
//!     #[entity(primary_key, auto)]
//!     id: Uuid,
//!     #[entity(unique)]
//!     name: String,
//!     on: bool,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder()
//!     .store(Store::open("sqlite::memory:").await?)
//!     .workers(2)
//!     .entity::<Flag>()
//!     .init_worker(|worker| {
//!         let id = worker.id();
//!         worker
//!             .worker_events()
//!             .register(
//!                 move |change: &CrudEvent<Flag>| println!("worker {id}: {change:?}"),
//!                 "crud",
//!                 "flags",
//!             )?
//!             .keep();
//!         Ok(())
//!     })
//!     .start()
//!     .await?;
//!
//! let flags = node.dao::<Flag>()?;
//! let flag = flags.insert(Flag { id: Uuid::nil(), name: "beta".into(), on: false }).await?;
//! let key = flags.cache_key(&["beta"])?;
//!
//! let load = || flags.select_by("name", "beta");
//! let cached = node.cache().get(&key, GetOptions::default(), load).await?;
//! assert!(cached.is_some_and(|flag| !flag.on));
//!
//! flags.update(flag.id, |flag| flag.on = true).await?;
//! let load = || flags.select_by("name", "beta");
//! let cached = node.cache().get(&key, GetOptions::default(), load).await?;
//! assert!(cached.is_some_and(|flag| flag.on));
//! # node.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

// The derive macro names this crate as its users do, in our own tests too.
extern crate self as tidings;

// The modules are in the order of the layers, lowest first. A module imports only from those above
// it in this list.

// Why a node did not start.
mod error;

// How many of its own commits a node has applied. Must not know what a commit does.
mod progress;

// Signed names of commits, for clients. Must not know what is done with them.
mod token;

// Issues tokens and checks them. Must not know the node.
mod positions;

// Changes in the form that watchers see, and the ring in which they wait. Must not know the node.
mod feed;

// Turns commits into evictions and events. Must not know the node.
mod changes;

// Events of an application that reach every node. Must not know the node.
mod cluster_channel;

// What a node reports about itself to the others. Must not know the node.
mod facts;

// Turns the store's log into evictions and events. Must not know the node.
mod follow;

// Turns rows that were read into values that a cache keeps. Must not know the node.
mod loads;

// Deletes expired rows. Must not know the node.
mod expiry;

// Lookups of rows through the cache. Must not know the node.
mod cached;

// Reads a page of rows into the cache. Must not know the node.
mod warm;

// Compares a cached entry with its row. Must not know the node.
mod compare;

// The settings and the results of audits. Must not know the node.
mod tally;

// One process's workers, cache, bus and store. Must not know how they are made.
mod node;

// The changes of a node as they happen. Must not know how a node is made.
mod change_feed;

// Waits until nodes have applied a write. Must not know how a node is made.
mod receipt;

// Measures how long each node takes to apply a record. Must not know how a node is made.
mod probe;

// Compares cached entries with the store. Must not know how a node is made.
mod audit;

// One thread with its own event loop. Must not know settings.
mod worker;

// The settings of a node, and its start.
mod builder;

// The listings of the guide, as documentation tests.
#[cfg(doctest)]
mod guide;

pub use tidings_cache as cache;
pub use tidings_cluster as cluster;
pub use tidings_core as core;
pub use tidings_events as events;
pub use tidings_store as store;

#[doc(hidden)]
pub use tidings_core::derive;

pub use tidings_cache::{Cache, GetOptions, Loaded, Outcome, Policy, Receipt, StalePolicy};
pub use tidings_core::{
    BoxError, CacheKey, CrudEvent, Entity, Field, FieldKind, FieldValue, Json, KeyPart, Operation,
    Patch, Ref, Row, RowError, Rule, Schema, Timestamp, TimestampMicros, Value, Violations, base64,
    clock,
};
pub use tidings_events::{LocalWorkerEvents, WorkerEvents};
pub use tidings_store::{Dao, Migrations, PageQuery, Store, Table, Transaction, WriteOptions};

pub use self::{
    builder::{LOG_RETENTIONS, NodeBuilder},
    cached::{Cached, CachedBy, CachedError, CachedRows, LookupValue},
    change_feed::{ChangeFeed, ChangeFeedOptions, Fed, FeedStart, NoFeedStart, TooManyFeeds},
    changes::ChangeStats,
    cluster_channel::{ClusterChannel, PostToAllError},
    error::StartError,
    feed::{FeedChange, FeedGap, Glob},
    follow::Hearing,
    loads::{LoadRows, loaded},
    node::{Ending, Node, ShutdownReport},
    probe::{ProbeError, Probed},
    receipt::{NoPosition, NotConfirmed, NotReached, WriteReceipt},
    tally::{AUDIT_TIMES, AuditError, AuditSettings, Audited, Skipped, Verdict},
    token::{Token, TokenError},
    warm::{WarmEnd, WarmProgress, Warmed},
    worker::Worker,
};
