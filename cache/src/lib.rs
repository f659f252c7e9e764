//! A two-level cache whose fenced loads never fill it with stale values.
//!
//! ```
//! use tidings_cache::{Cache, CacheKey, GetOptions, Policy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder().capacity(64 << 20).policy(Policy::revocable()).build()?;
//!
//! let key = CacheKey::new("api-keys", &["abcd"]);
//! // Asks the backing store; `None` is cached too.
//! let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
//! let owner = cache.get(&key, GetOptions::default(), load).await?;
//! assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
//!
//! // The row has changed. From here on no thread sees the old value, whatever is being loaded at
//! // the time.
//! cache.invalidate(&key);
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! - A load that began before an invalidation of its key, of one of its tags, or of everything,
//!   never fills the cache, and callers that arrive afterwards do not wait for it. That holds for
//!   background loads and bulk loads too.
//! - When `invalidate`, `invalidate_tag`, `purge` or `set` returns, no `get` that begins afterwards
//!   on any thread of this node sees the old value.
//! - However many callers miss a key at once, one load runs. It belongs to the node, not to its
//!   first caller. Its value, absence, error or panic reaches all callers that waited; an error is
//!   not cached, absence is.
//! - Every caller waits as long as its own deadline says, whichever caller started the load. A load
//!   that hangs keeps no permit beyond the deadlines of its callers, and is ended at last.
//! - Memory is bounded, in bytes, and keys that do not exist push out none that do, in either
//!   level.
//!
//! # How
//!
//! A node has one sequence of numbers. A load, and an L1 fill, notes it before it reads anything;
//! an invalidation takes the next number after it has removed what it found, and raises the key's
//! slot to it. An L1 entry below its slot is not valid. Loads in progress are in a table of our
//! own, and fill under the lock under which an invalidation takes them out. The whole of this is
//! model-checked: the crate's own source runs under shuttle's schedulers, with each step left out
//! in turn (`scripts/model`).
//!
//! # Two levels
//!
//! *L1* belongs to a thread. A thread gets one at its first use of the cache ([`Attach`]), or is
//! [attached](Cache::attach_thread) under a label of its own. A hit takes no lock, shares no
//! reference count, and writes nothing that another core reads; each thread holds its own clone of
//! a value, so memory grows with the number of threads, each bounded by
//! [`l1_bytes`](CacheBuilder::l1_bytes) and [`l1_entries`](CacheBuilder::l1_entries). *L2* belongs
//! to the node; a thread without an L1 goes there, and gets the shared value.
//!
//! # Time
//!
//! Zero is zero, and what has no end says so ([`Ttl::Never`]). By default a value never expires, an
//! absence expires after a minute, a caller waits ten seconds, and a load is ended after a minute.
//! An expired value is served only if [`resurrect_ttl`](GetOptions::resurrect_ttl) is set and a
//! load fails or is late, no longer than that after it expired; each such answer is
//! [`Outcome::Stale`].
//!
//! # Prices
//!
//! | what | costs |
//! |---|---|
//! | hit in L1 | a lookup in a thread-local table and one shared read; with a ttl also a read of the clock |
//! | hit in L1 that tells its age (`get_entry`, `cached`) | a second lookup and a read of the clock |
//! | hit in a [`View`] | the same, by the parts of the key: its text is not built |
//! | hit in L2 | one lock that is seldom contended, and a clone of the value on a thread with an L1 |
//! | miss | a task on the runtime, and whatever the load does |
//! | `invalidate` | two locks; keys that share the slot (one in 16,384) look into L2 once more |
//! | `invalidate_tag` | some 50 us for the slots, the tag's entries, and every L1 entry of the cache looks into L2 once more |
//! | `purge` | some 50 us for the slots, and a read of every entry of L2 |
//! | options per call | an allocation; options of the cache cost nothing |
//! | a bound on staleness per call | a lookup in L2, since L1 is not asked |
//! | an entry in L2 | [its size as serde sees it](Cacheable) and some 290 bytes |
//!
//! # What it does not do
//!
//! It knows neither a store nor other nodes. Callers pass a load; a [`Fills`] says whether what it
//! reads may be kept; a [`Propagate`] carries
//! invalidations away, and the carrier that receives one calls
//! [`apply_invalidation`](Cache::apply_invalidation). It does not write through, and nothing
//! refuses an entry for being new: a fresh value is always admitted. A value that a `get` handed
//! out before an invalidation stays what it was, for the caller that holds it.
//!
//! # Testing with it
//!
//! [`kit`] has what the crate's own tests use: a clock driven by hand, loads that wait at a gate,
//! several nodes in one process.

// The order of these lines is the order of layers, lowest first: a module imports only those above
// its own line.

// Locks, atomics, thread-locals and tasks: the machine's, or the model checker's. Must not know
// what is built of them.
mod sync;

// Steps that a checker can leave out; constants in an ordinary build. Must not know the code that
// asks.
mod faults;

// Whether a thread is inside of a load. Must not know what is loaded.
mod loading;

// Code of others that we run: wakers, and the drop of values. Must not know why.
mod outside;

// What can go wrong. Must not know what was being done.
mod error;

// Numbers, moments, the sequence and the slots. Must not know what they fence.
mod fence;

// Counters. Must not know what is counted.
mod stats;

// What callers give and get: tags, loads, results, receipts. Must not know how any of it is stored.
mod answer;

// What may be set, and what results. Must not know what acts on it.
mod options;

// A thread's own tables. Must not know L2, loads or the node.
mod level1;

// The node's zones. Must not know flights, the tag index or threads.
mod level2;

// What became of keys lately. Must not know what decides it.
mod record;

// The fence: flights, fills, invalidations, the tag index. Must not know any handle of a user's.
mod engine;

// The handle and its verbs. Must not be known below.
mod api;

// For tests, our own and those of users. Must not know more than a user does.
#[cfg(not(shuttle))]
pub mod kit;

#[cfg(all(test, shuttle))]
mod models;

pub use tidings_core::{
    CacheKey, Cause, KeyBuilder, KeyPart, Origin,
    clock::{Clock, ManualClock, SystemClock},
};

pub use self::{
    answer::{
        entry::{Entry, Outcome},
        fills::{Fills, Pass, Proof, StalePolicy},
        load::{Load, LoadMany, blocking},
        loaded::Loaded,
        parts::Parts,
        receipt::{Confirmation, Invalidation, Propagate, Receipt, Unconfirmed},
        tag::Tag,
        ttl::Ttl,
    },
    api::{
        builder::{CacheBuilder, LARGEST_CAPACITY, SMALLEST_CAPACITY},
        cache::Cache,
        decoded::Decoded,
        explain::{Event, Explanation, Happened, HeldNow},
        invalidate::Keys,
        probe::{Level, Probe, ProbeJson},
        sample::Sampled,
        view::View,
        walk::{Listed, Walk},
    },
    error::{
        BoxError, ConfigError, GetError, Late, LoadError, OptionError, Panicked, RefusedOption,
        SetError, Unasked, Unloaded, Unproven, ViewError, WrongType,
    },
    level1::{table::Attach, thread::ThreadGuard},
    level2::stored::Cacheable,
    options::{call::GetOptions, policy::Policy, settings::CacheSettings, terms::LONGEST_DURATION},
    record::{ChangedRow, Handlers, LoadedBy, Reason, ReasonGuard},
    stats::{CacheStats, ThreadStats},
};

/// For the random checker, in a build with `--cfg tidings_faults`.
#[cfg(all(tidings_faults, not(shuttle)))]
#[doc(hidden)]
pub use self::faults::{guards, remove_guard};

/// The examples of the README are compiled and run.
#[cfg(all(doctest, not(shuttle)))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
