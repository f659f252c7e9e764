//! A thread's own level: a table that no other thread reads or writes, and the threads that have
//! one.
//!
//! A hit takes no lock and writes nothing that another core reads: the table is a thread-local, the
//! value is this thread's own clone, and the only thing shared is one read of the key's slot. An
//! entry is valid while its number is not below its slot; its ttl, if it has one, costs a read of
//! the clock.

// The secrets with which views' tables hash.
mod seed;

// Which hits are sampled. Must not know what for.
pub(crate) mod sampling;

// A table whose lookup is bounded by construction. Must not know its use.
pub(crate) mod window;

// The tables of one view. Must not know that there are threads, or other tables.
pub(crate) mod view;

// The table of one named cache, by text. Must not know that there are threads.
pub(crate) mod table;

// The tables of a thread, and its guards.
pub(crate) mod thread;
