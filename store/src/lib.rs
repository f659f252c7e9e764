//! Data access objects over SQLite and PostgreSQL that end every write in a typed change.
//!
//! A [`Store`] is a database, opened for one process. [`Store::attach`] makes tables of the
//! entities' schemas and names the [`ChangeSink`] that hears of every commit; a node puts its cache
//! and its worker events there. [`Store::dao`] then gives the typed face of a table,
//! [`Store::table`] the untyped one that the admin API works with.
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
//! - It is one transaction: the row, and every row that it takes along (cascades at any depth), or
//!   nothing.
//! - The sink hears of each row once (up to a bound, see below), with its true predecessor, read
//!   and held in the same transaction; the commits of one row are heard of in their order, each
//!   before the caller learns of it.
//! - It runs in a task of its own: a caller that goes away at any point does not part the commit
//!   from what the sink makes of it. A commit whose end is not known is told as such.
//! - Once acknowledged it is on the disk: it survives a killed process and a loss of power
//!   (SQLite's `synchronous = FULL`; on PostgreSQL its own settings decide).
//! - A write that others stop by a deadlock is done again, up to eight times, unless it takes a
//!   closure, which runs once.
//!
//! Several calls, on any entities, are one commit in a [`Transaction`].
//!
//! # What a read promises
//!
//! It sees what was committed, and all that was committed before it began. It never waits for a
//! write, but for those of an in-memory database, which has one connection for all.
//!
//! # What it costs
//!
//! A read is one prepared statement. A write begins, reads its row, changes it and commits: four
//! messages to PostgreSQL, and one flush of the disk, which is most of its time. SQLite's writes
//! are done one after the other; each of its up to nine connections is a thread with a page cache.
//! PostgreSQL's writers wait for each other's rows alone.
//!
//! What a write holds in memory is bounded. A commit of more than 10,000 rows, or of more than 32
//! MiB of them, is not told row by row: the sink is told the entities ([`ChangeSet::touched`]) and
//! gives up all that is cached of them. Where the database keeps a log, that tells each row all the
//! same. A delete beyond that bound does not read rows that no row refers to.
//!
//! A transaction is open for at most [`OpenOptions::transaction_timeout`], and others wait for it
//! at most for [`OpenOptions::timeout`].
//!
//! # When the database goes away
//!
//! Calls fail with [`Error::Unreachable`] within their time limit, and succeed again once it is
//! back: lost connections are replaced, with pauses that grow and differ between nodes.
//! [`Store::health`] tells. A commit whose answer is lost is asked for on a new connection. If that
//! cannot be had, or the server may have crashed since, the write ends in doubt
//! ([`Error::Commit`]). A user who may not read `pg_stat_activity` cannot tell a crash, so such a
//! commit is always in doubt.
//!
//! # What it refuses
//!
//! A file that another store has open ([`Error::InUse`]); a database of PostgreSQL that another
//! node uses, unless both are of a cluster ([`Sharing`], [`Error::DatabaseInUse`]); tables that do
//! not fit the schemas and cannot be made to without touching their rows ([`Error::Incompatible`]);
//! a kind of database that it was not built for ([`Error::Unsupported`]); servers before PostgreSQL
//! 13, standbys and encodings other than UTF-8 ([`Error::Unfit`]). It does not hear of what other
//! programs change, unless the database keeps a log: PostgreSQL always, SQLite where
//! [`OpenOptions::logging`] says so.
//!
//! # Cargo features
//!
//! | feature | what |
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

// What a migration would take away.
mod loss;

// What can be refused or fail. Must not know any driver.
mod error;

// Values on their way into statements.
mod parameter;

// The time between attempts.
mod pauses;

// Which row a call means.
mod selector;

// Which rows a list means, and tokens.
mod page;

// Rows and how long they are still there.
mod live;

// Counts of calls, and their time. Must not know what a call does.
mod meter;

// Code that runs around calls. Must not know writes.
mod hook;

// Where commits are told.
mod sink;

// What the writes of a future wrote. Must not know how a write is done.
mod written;

// Changes recorded by an application's own SQL. Must not know any engine.
pub mod outbox;

// The log beside the tables, as a node follows it. Must not know any engine.
mod follow;

// A rule that can be left out, to show that this is noticed.
mod faults;

// What the logs of both engines share. Must not know any engine.
mod logs;

// How a database is used, where there is a choice.
mod settings;

// What a database keeps for the nodes that start on it. Must not know any engine.
mod start;

// Whether the database was let go of. Must not know what waits for it.
mod released;

// What a database has to be able to do. Must not know any of them.
mod engine;

// Tables beside their schemas. Must not know any engine.
mod layout;

// What a migration would do, and on what. Must not know any engine.
mod migration;

// SQLite. Must not know what a write does, nor another engine.
#[cfg(feature = "sqlite")]
pub mod sqlite;

// PostgreSQL. Must not know what a write does, nor another engine.
#[cfg(feature = "postgres")]
pub mod postgres;

// A store without tables, beside a log on a server of its own. Must not know which server.
mod apart;

// What a write does inside its transaction, and its path to the sink. Must not know handles.
mod write;

// The handles that users hold.
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
