//! Writes: what each does inside its transaction, and the one path that all of them take.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What is known of the entities: their statements, and who refers to whom.
pub(crate) mod catalog;

// The order in which commits are announced. Must not know what was written.
pub(crate) mod sequence;

// What a node makes of a store.
pub(crate) mod attached;

// What was changed, for those who hear of the commit. Must not know statements.
pub(crate) mod notes;

// What is done to rows, noted as changes. Must not know how a call asked for it.
pub(crate) mod transaction;

// Which constraint a row broke.
mod explain;

// Deletes of more rows than are told one by one.
mod sweep;

// Deletes, and what hangs on the deleted row.
pub(crate) mod cascade;

// The writes.
pub(crate) mod operation;

// Rows past their time.
pub(crate) mod expiry;

// From a transaction to the sink. Must not know what it did.
pub(crate) mod commit;

// A transaction over several calls.
pub(crate) mod within;

// The path of every write, from the call to its answer.
pub(crate) mod route;
