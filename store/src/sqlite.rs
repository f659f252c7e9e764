//! SQLite: the only folder that names it, its driver or its SQL.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What SQLite says, sorted.
mod codes;

// Where a database is, and its lock.
pub(crate) mod location;

// How statements are written.
pub(crate) mod dialect;

// Between values and SQLite's storage classes.
mod values;

// Connections: the one that writes, those that read. Must not know what a write does.
pub(crate) mod connection;

// Tables made from schemas.
mod layout;

// The database, as the store sees it.
pub(crate) mod engine;
