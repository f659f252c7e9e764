//! The recent history of keys, for people who ask why a key holds its value.
//!
//! Written when something is loaded, set, invalidated or evicted, and when everything was purged;
//! never on a hit. Bounded by the cache's capacity: at most a fiftieth of it (8 KiB in a cache of
//! less than 400 KiB), and at most 4,096 records of keys, 256 that concern more than one key, and
//! 1,024 causes: about 1.1 MB with what they are due to, from a capacity of some 50 MiB on. It is
//! allocated as records come. A record holds the hash of its key and not its text, so nothing of
//! it is a secret. It decides nothing: whatever it lacks costs an answer, never a value.

// What an invalidation is due to. Must not know who asks.
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
