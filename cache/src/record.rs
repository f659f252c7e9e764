//! The recent history of keys, for people who ask why a key holds its value.
//!
//! It is written when a value is loaded, set, invalidated or evicted, and when a cache is purged;
//! never on a hit. Its size is bounded by the cache's capacity: at most a fiftieth of it (8 KiB in
//! a cache of less than 400 KiB), and at most 4,096 records of keys, 256 of whole caches and 1,024
//! causes. With their reasons that is about 1.1 MB, reached at a capacity of some 50 MiB. It is
//! allocated as records come. A record holds the hash of its key and not its text, so it contains
//! no secret. It decides nothing: a missing record costs an explanation, never a value.

// The reason of an invalidation. Must not know who asks.
mod reason;

// A queue with two bounds. Must not know what a record says.
mod newest;

// The records. Must not know what they are read for.
mod recorder;

pub(crate) use self::recorder::{Record, RecordKind, Recorder};
pub use self::{
    reason::{ChangedRow, Reason, ReasonGuard},
    recorder::{Handlers, LoadedBy},
};
