//! Data access objects over SQLite and PostgreSQL that end every write in a typed change.
//!
//! A [`Store`] is a database, opened for one process. [`Store::attach`] creates the tables from the
//! entities' schemas, and takes the [`ChangeSink`] that receives every commit. (A node's sink
//! evicts from its cache and posts to its worker events.) After that, [`Store::dao`] returns the
//! typed handle of a table, and [`Store::table`] the untyped one that the admin API uses.
//!
//! ```
//! use std::sync::Arc;
//!
//! use futures_util::future::BoxFuture;
//! use serde::{Deserialize, Serialize};
//! use tidings_core::{Entity, Operation, Ref, clock::SystemClock};
//! use tidings_store::{Attachment, ChangeSet, ChangeSink, Error, Store};
//! use uuid::Uuid;
//!
//! #[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
//! #[entity(name = "consumers")]
//! struct Consumer {
//!     #[entity(primary_key, auto)]
//!     id: Uuid,
//!     #[entity(unique)]
//!     username: String,
//! }
//!
//! #[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
//! #[entity(name = "credentials", cache_key("key"))]
//! struct Credential {
//!     #[entity(primary_key, auto)]
//!     id: Uuid,
//!     #[entity(foreign, on_delete = "cascade")]
//!     consumer: Ref<Consumer>,
//!     #[entity(unique, auto)]
//!     key: Option<String>,
//! }
//!
//! struct Print;
//!
//! impl ChangeSink for Print {
//!     fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()> {
//!         for change in &changes.changes {
//!             println!("{} {}", change.operation, change.schema.name());
//!         }
//!         Box::pin(std::future::ready(()))
//!     }
//!
//!     fn in_doubt(&self, _: &ChangeSet) {}
//! }
//!
//! # #[tokio::main] async fn main() -> Result<(), Error> {
//! let store = Store::open("sqlite::memory:").await?;
//! store
//!     .attach(Attachment {
//!         schemas: vec![Consumer::schema(), Credential::schema()],
//!         sink: Arc::new(Print),
//!         clock: Arc::new(SystemClock::new()),
//!         runtime: tokio::runtime::Handle::current(),
//!     })
//!     .await?;
//!
//! let consumers = store.dao::<Consumer>()?;
//! let credentials = store.dao::<Credential>()?;
//! let bob = consumers.insert(Consumer { id: Uuid::nil(), username: "bob".to_owned() }).await?;
//! let made = Credential { id: Uuid::nil(), consumer: Ref::to(&bob), key: None };
//! let credential = credentials.insert(made).await?;
//! let key = credential.key.clone().unwrap_or_default();
//! assert_eq!(credentials.select_by("key", key.as_str()).await?, Some(credential));
//!
//! // Prints `delete credentials`, then `delete consumers`.
//! consumers.delete(bob.id).await?;
//! assert_eq!(credentials.select_by("key", key).await?, None);
//! # Ok(()) }
//! ```
//!
//! # What a write promises
//!
//! - A write is one transaction. It changes its row and every row that depends on it (cascades at
//!   any depth), or nothing.
//! - The sink receives each changed row once (up to a bound, see below), with its true predecessor,
//!   which the write reads and locks in the same transaction. The sink receives the commits of one
//!   row in their order, each before its caller gets the result.
//! - A write runs in a task of its own. If its caller goes away, at any point, the sink still
//!   receives the commit. If the outcome of a commit is unknown, the sink receives that instead.
//! - An acknowledged write is on the disk. It survives a killed process and a power failure
//!   (SQLite's `synchronous = FULL`; on PostgreSQL the server's settings decide).
//! - If a deadlock aborts a write, the store repeats it, up to eight times. A write that takes a
//!   closure is not repeated, because the closure runs only once.
//!
//! A [`Transaction`] combines several calls, on any entities, into one commit.
//!
//! # What a read promises
//!
//! A read sees only committed rows, and every commit that ended before the read began. It never
//! waits for a write, except on an in-memory database, which has a single connection.
//!
//! # What it costs
//!
//! A read is one prepared statement. A write begins, reads its row, changes it and commits. That is
//! four messages to PostgreSQL, and one flush of the disk, which takes most of the time. SQLite
//! runs its writes one after the other; each of its connections, up to nine, is a thread with a
//! page cache. PostgreSQL's writers wait for each other only if they write the same row.
//!
//! The memory of a write is bounded. If a commit changes more than 10,000 rows, or more than 32 MiB
//! of rows, the sink does not receive each row. It receives the entities instead
//! ([`ChangeSet::touched`]), and a node purges everything that it has cached of them. If the
//! database keeps a log, the log still reports each row. A delete beyond that bound does not read
//! rows to which no other row refers.
//!
//! A transaction stays open for at most [`OpenOptions::transaction_timeout`]; other writers wait
//! for it for at most [`OpenOptions::timeout`].
//!
//! # When the database goes away
//!
//! Calls fail with [`Error::Unreachable`] within their time limit, and succeed again once the
//! database is back. The store replaces lost connections, with growing pauses that differ between
//! nodes; [`Store::health`] shows the state. If the answer to a commit is lost, the store asks for
//! the outcome on a new connection. If it cannot get one, or if the server may have crashed, the
//! write ends in doubt ([`Error::Commit`]). A database user without the right to read
//! `pg_stat_activity` cannot rule out a crash, so for that user such a commit is always in doubt.
//!
//! # What it refuses
//!
//! - A file that another store has open ([`Error::InUse`]).
//! - A PostgreSQL database that another node uses, unless both belong to a cluster ([`Sharing`],
//!   [`Error::DatabaseInUse`]).
//! - Tables that do not fit the schemas, if fitting them would touch their rows
//!   ([`Error::Incompatible`]).
//! - A kind of database that it was built without ([`Error::Unsupported`]).
//! - Servers older than PostgreSQL 13, standbys, and encodings other than UTF-8 ([`Error::Unfit`]).
//!
//! The store does not see the writes of other programs unless the database keeps a log. PostgreSQL
//! always does; SQLite does with [`OpenOptions::logging`].
//!
//! # Cargo features
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite` (default) | SQLite, built in |
//! | `postgres` | PostgreSQL, with TLS by rustls |

#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(
        dead_code,
        unused_variables,
        reason = "what only the engine that was left out would use"
    )
)]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(
        unused_imports,
        unreachable_pub,
        reason = "a node on a stream has no engine, and nothing uses what engines share"
    )
)]

// Layers, the lowest first: a module imports from those above it in this list alone.

// The methods of a DAO by name.
mod method;

// Values that a migration would delete.
mod loss;

// Errors. Must not know any driver.
mod error;

// The parameters of statements.
mod parameter;

// The pauses between attempts.
mod backoff;

// Selects the row of a call.
mod selector;

// Selects the rows of a list; page tokens.
mod page;

// Rows, each with the time that it has left.
mod live;

// Counts calls, and measures their time. Must not know what a call does.
mod meter;

// Code that runs around calls. Must not know writes.
mod hook;

// The receiver of commits.
mod sink;

// Records the names of the commits that a future makes. Must not know how a write is done.
mod written;

// Changes recorded by an application's own SQL. Must not know any engine.
pub mod outbox;

// The settings of the log beside the tables. Must not know any engine.
mod follow;

// A rule of the logs that the fault program can leave out, to show that it notices. A constant in
// an ordinary build.
mod faults;

// What the logs of both engines share. Must not know any engine.
mod logs;

// The settings of a store.
mod settings;

// What a database keeps for the nodes that start on it. Must not know any engine.
mod start;

// Whether the database was released. Must not know what waits for it.
mod released;

// The operations that every database engine provides. Must not know any engine.
mod engine;

// Compares tables with their schemas. Must not know any engine.
mod layout;

// The plan of a migration. Must not know any engine.
mod migration;

// SQLite. Must not know what a write does, nor another engine.
#[cfg(feature = "sqlite")]
pub mod sqlite;

// PostgreSQL. Must not know what a write does, nor another engine.
#[cfg(feature = "postgres")]
pub mod postgres;

// A store without tables, for a log on a server of its own. Must not know which server.
mod tableless;

// What a write does inside its transaction, and its path to the sink. Must not know handles.
mod write;

// The public handles.
mod api;

pub use tidings_core::{BoxError, log::KeptLog};

pub use self::{
    api::{
        dao::Dao,
        expired::Cleared,
        migrations::{Migrated, Migrations, StepStatements},
        store::{Attachment, Health, OpenOptions, Store},
        table::Table,
        transaction::{Transaction, TransactionOptions},
    },
    error::{DatabaseError, Error, ErrorKind, Holder},
    follow::LogNeeds,
    hook::{Call, Hook},
    live::Live,
    loss::Loss,
    method::Method,
    migration::{Plan, PlannedChange},
    page::{DEFAULT_SIZE, Direction, MAX_SIZE, Page, PageQuery, TagFilter},
    selector::{FieldInput, Selector, Upserted, WriteOptions},
    settings::{Logging, Pooler, Sharing},
    sink::{Begun, ChangeSet, ChangeSink, CommitName, RowChange},
    start::{DatabaseKey, Start},
    written::{Written, written},
};
