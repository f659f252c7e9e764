//! What became of keys lately, for people who ask why one holds what it holds.
//!
//! Written when something is loaded, set, invalidated or evicted, and when everything was purged;
//! never on a hit. Bounded: 64 shares of 64 records each, by key, 256 that concern more than one
//! key, and 1,024 causes. A record holds the hash of its key and not its text, so nothing of it is
//! a secret. It decides nothing: whatever it lacks costs an answer, never a value.

// What an invalidation is due to. Must not know who asks.
mod reason;

// The records. Must not know what they are read for.
mod recorder;

pub(crate) use self::recorder::{Note, Recorder, What};
pub use self::{
    reason::{ChangedRow, Reason, ReasonGuard},
    recorder::{Handlers, LoadedBy},
};
