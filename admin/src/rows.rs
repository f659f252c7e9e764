//! The rows that a path leads to, and what can be done to one of them by its name. Knows no HTTP.

// How a segment names a row.
mod names;
// The store's errors as clients see them.
mod store_error;
// References by another field than the primary key.
pub(crate) mod references;
// Fields that are stored as digests.
pub(crate) mod seal;
// A time to live, in place of the time at which a row expires.
pub(crate) mod ttl;
// The entity tag of a row.
mod tag;
// Rows of an entity or of one parent.
mod named;

pub(crate) use self::named::{Found, Owner, Rows};
