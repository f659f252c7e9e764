//! The test kit: a store that is a model, its log in two forms, and the simulation of several nodes
//! from one seed.
//!
//! [`ModelStore`] has rows, transactions that begin and commit apart, and a log that its
//! transactions write: *counted*, as SQLite's, or with *snapshots*, as PostgreSQL's. [`MemoryLog`]
//! is a node's connection to it. Both are plain values without a thread or a runtime, and both can
//! be made to fail: [`ModelStore::crash`] loses commits that were acknowledged before they were
//! durable and hands their marks out again, [`ModelStore::prune`] forgets records that readers may
//! still need.
//!
//! ```
//! use tidings_core::{Field, Row, Schema, log::{Log, Read}};
//! use tidings_cluster::kit::{Durability, Form, MemoryLog, ModelStore, Writing};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let schema: &'static Schema = Box::leak(Box::new(
//!     Schema::builder("flags").field(Field::of::<i64>("id").primary_key()).build(),
//! ));
//! let store = ModelStore::new(Form::Snapshot, 1);
//! let log = MemoryLog::new(store.clone());
//! let head = log.head(None).await?;
//!
//! // The first transaction commits after the second: a reader misses neither.
//! let (late, early) = (store.begin(), store.begin());
//! store.put(late, schema, Row(vec![1_i64.into()]), &Writing::default())?;
//! store.put(early, schema, Row(vec![2_i64.into()]), &Writing::default())?;
//! let early = store.commit(early, Durability::Synchronous)?;
//! let Read::Batch(first) = log.read(&head.cursor, 10, None).await? else {
//!     return Err("a gap".into());
//! };
//! assert!(first.cursor.covers(early));
//!
//! let late = store.commit(late, Durability::Synchronous)?;
//! assert!(!first.cursor.covers(late));
//! let Read::Batch(second) = log.read(&first.cursor, 10, None).await? else {
//!     return Err("a gap".into());
//! };
//! assert_eq!((first.records.len(), second.records.len()), (1, 1));
//! # Ok(()) }
//! ```

// The members' table. Must not know the store beside it.
mod members;

// The store and its log. Must not know who reads it.
mod model;

// A node's connection to the store. Must not know the simulation.
mod memory;

// What every log has to do. Must not know any of them.
pub mod conformance;

// Several nodes from one seed.
pub mod simulation;

pub use self::{
    memory::MemoryLog,
    model::{Durability, Form, ModelStore, TransactionError, TransactionId, Writing},
};
