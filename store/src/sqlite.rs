//! SQLite: the only folder that names it, its driver or its SQL. [`log`] is the log that triggers
//! write.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Errors of SQLite, by what can be done about them.
mod codes;

// The location of a database, and its lock.
pub(crate) mod location;

// The queue of processes that write. Must not know what they write.
mod queue;

// The dialect of statements.
pub(crate) mod dialect;

// Converts between values and SQLite's storage classes.
mod values;

// Connections: the one that writes, and those that read. Must not know what a write does.
pub(crate) mod connection;

// The log that triggers write. Must not know the store.
pub mod log;

// Tables made from schemas.
mod layout;

// A database on a connection of its own, for a migration.
pub(crate) mod migrate;

// The table of starts.
mod start;

// One transaction.
mod session;

// The database, as the store sees it.
pub(crate) mod engine;
