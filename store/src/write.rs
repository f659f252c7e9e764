//! Writes: what each does inside its transaction, and the path that all of them take.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The entities: their statements, and the references between them.
pub(crate) mod catalog;

// The order in which commits are announced. Must not know what was written.
pub(crate) mod sequence;

// The state of an attached store.
pub(crate) mod attached;

// Collects the changes of a transaction. Must not know statements.
pub(crate) mod changes;

// Reads and writes rows, and collects the changes. Must not know which call requested it.
pub(crate) mod transaction;

// Finds the constraint that a row violates.
mod explain;

// Deletes of more rows than are reported one by one.
mod sweep;

// Deletes, with the rows that cascade.
pub(crate) mod cascade;

// The kinds of writes.
pub(crate) mod operation;

// Expired rows.
pub(crate) mod expiry;

// Commits a transaction and notifies the sink. Must not know what the transaction did.
pub(crate) mod commit;

// A transaction over several calls.
pub(crate) mod open_transaction;

// The path of every write, from the call to its answer.
pub(crate) mod route;
