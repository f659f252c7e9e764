//! The handles that users hold.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The kinds of databases.
mod kind;

// The state that the handles of one store share.
pub(crate) mod shared;

// The rows of one entity without their type.
pub(crate) mod table;

// The rows of one entity.
pub(crate) mod dao;

// Reads that also return how long each row has left.
mod live;

// The removal of expired rows.
pub(crate) mod expired;

// Several calls, all of them or none.
pub(crate) mod transaction;

// The database.
pub(crate) mod store;

// Changes existing tables to fit the schemas.
pub(crate) mod migrations;
