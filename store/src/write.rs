//! Writes: what each does inside its transaction, and the one path that all of them take.

pub(crate) mod attached;
pub(crate) mod cascade;
pub(crate) mod catalog;
pub(crate) mod commit;
pub(crate) mod operation;
pub(crate) mod transaction;
