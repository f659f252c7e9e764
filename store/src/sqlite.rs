//! SQLite: the only folder that names it, its driver or its SQL.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Where a database is, and its lock.
pub(crate) mod location;

// The SQL of one table.
pub(crate) mod statements;

// Between values and SQLite's storage classes.
pub(crate) mod values;

// Connections: the one that writes, those that read.
pub(crate) mod connection;

// Tables made from schemas.
pub(crate) mod layout;
