//! PostgreSQL: the only folder that names it, its driver or its SQL. [`log`] is the log that
//! triggers write.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Errors of PostgreSQL, by what can be done about them.
mod codes;

// The address of a database. Holds the password, and never shows it.
pub(crate) mod address;

// The dialect of statements.
mod dialect;

// Converts between values and PostgreSQL's types.
mod values;

// The log that triggers write. Must not know the store.
pub mod log;

// One connection, checked when it is opened.
mod connection;

// The pool of connections. Must not know what they are used for.
mod pool;

// The lock that keeps other nodes away.
mod node_lock;

// Tables made from schemas.
mod layout;

// A database on a connection of its own, for a migration.
pub(crate) mod migrate;

// One transaction, and its outcome if the connection is lost.
mod session;

// The database, as the store sees it.
pub(crate) mod engine;
