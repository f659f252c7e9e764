//! The handles that users hold.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The kinds of databases.
mod kind;

// What the handles of one store share.
pub(crate) mod shared;

// The rows of one entity without their type.
pub(crate) mod table;

// The rows of one entity.
pub(crate) mod dao;

// Reads that tell how long rows are still there.
mod live;

// Removing rows whose time has run out.
pub(crate) mod expired;

// Several calls, all of them or none.
pub(crate) mod transaction;

// The database.
pub(crate) mod store;

// From the tables that are there to those that the schemas ask for.
pub(crate) mod migrations;
