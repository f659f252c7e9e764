//! SQLite: the only folder that names it, its driver or its SQL. [`log`] is the log that triggers
//! write.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What SQLite says, sorted.
mod codes;

// Where a database is, and its lock.
pub(crate) mod location;

// The line of several processes that write. Must not know what they write.
mod queue;

// How statements are written.
pub(crate) mod dialect;

// Between values and SQLite's storage classes.
mod values;

// Connections: the one that writes, those that read. Must not know what a write does.
pub(crate) mod connection;

// The log that triggers write. Must not know the store.
pub mod log;

// Tables made from schemas.
mod layout;

// A database on a connection of its own, for a migration.
pub(crate) mod migrate;

// What a file keeps for the nodes that start on it.
mod start;

// A transaction.
mod session;

// The database, as the store sees it.
pub(crate) mod engine;
