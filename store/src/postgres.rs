//! PostgreSQL: the only folder that names it, its driver or its SQL. [`log`] is the log that
//! triggers write.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What PostgreSQL says, sorted.
mod codes;

// Where a database is. Holds the password, and shows it to no one.
pub(crate) mod address;

// How statements are written.
mod dialect;

// Between values and PostgreSQL's types.
mod values;

// The log that triggers write. Must not know the store.
pub mod log;

// One connection, looked over when it is opened.
mod connection;

// Connections that are lent. Must not know what they are lent for.
mod pool;

// The lock that keeps a second node away.
mod keeper;

// Tables made from schemas.
mod layout;

// A database on a connection of its own, for a migration.
pub(crate) mod migrate;

// One transaction, and what became of it when the connection was lost.
mod session;

// The database, as the store sees it.
pub(crate) mod engine;
