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
//! // Asks the backing store. The cache keeps `None`, an absence, too.
//! let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
//! let owner = cache.get(&key, GetOptions::default(), load).await?;
//! assert_eq!(owner.as_deref().map(String::as_str), Some("alice"));
//!
//! // The row has changed. From here on no thread sees the old value, even if a load is running.
//! cache.invalidate(&key);
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! - A load that began before an invalidation of its key, of one of its tags, or of everything,
//!   never fills the cache, and callers that arrive afterwards do not wait for it. The same is true
//!   of background loads and bulk loads.
//! - When `invalidate`, `invalidate_tag`, `purge` or `set` returns, no `get` that begins afterwards
//!   on any thread of this node sees the old value.
//! - However many callers miss a key at once, one load runs. It belongs to the node, not to its
//!   first caller. Its value, absence, error or panic reaches all waiting callers. The cache keeps
//!   an absence, but never an error.
//! - Every caller waits no longer than its own deadline, whichever caller started the load. A load
//!   that hangs gives up its permit once the deadlines of its callers have passed, and is ended
//!   later ([`abandon_after`](GetOptions::abandon_after)).
//! - Memory is bounded in bytes. Lookups of keys that do not exist push out no existing value, in
//!   either level.
//!
//! # How
//!
//! A node has one sequence of numbers. A load notes the current number before it reads anything,
//! and so does an L1 fill. An invalidation removes the entries that it finds, takes the next
//! number, and raises the key's slot to it. An L1 entry below its slot is not valid. Running loads
//! are in a table: an invalidation takes a load out of it, and a load fills the cache, under the
//! same lock. All of this is model-checked: the crate's own source runs under shuttle's schedulers,
//! with each step left out in turn (`scripts/model`).
//!
//! # Two levels
//!
//! *L1* belongs to a thread. A thread gets one at its first use of the cache ([`Attach`]), or when
//! you [attach](Cache::attach_thread) it under a label. A hit takes no lock, shares no reference
//! count, and writes nothing that another core reads. Each thread holds its own clone of a value,
//! so memory grows with the number of threads;
//! [`l1_bytes`](CacheBuilder::l1_bytes) and [`l1_entries`](CacheBuilder::l1_entries) bound each
//! thread's share. *L2* belongs to the node. A thread without an L1 asks L2 and gets the shared
//! value.
//!
//! # Time
//!
//! Zero means zero; [`Ttl::Never`] means that a value has no end. By default a value never expires,
//! an absence expires after a minute, a caller waits ten seconds, and a load is ended after a
//! minute. The cache serves an expired value only if
//! [`resurrect_ttl`](GetOptions::resurrect_ttl) is set, a load fails or is late, and the value
//! expired no longer ago than that. Each such answer is [`Outcome::Stale`].
//!
//! # Prices
//!
//! | operation | cost |
//! |---|---|
//! | hit in L1 | a lookup in a thread-local table and one shared read; with a ttl also a read of the clock |
//! | hit in L1 that reports its age (`get_entry`, `cached`) | a second lookup and a read of the clock |
//! | hit in a [`View`] | as a hit in L1, by the parts of the key, whose text is not built |
//! | hit in L2 | one lock that is seldom contended, and a clone of the value on a thread with an L1 |
//! | miss | a task on the runtime, and whatever the load does |
//! | `invalidate` | two locks; one L2 lookup for each L1 entry that shares the slot (one key in 16,384) |
//! | `invalidate_tag` | some 50 us for the slots, the tag's entries, and one L2 lookup for each L1 entry of the cache |
//! | `purge` | some 50 us for the slots, and a read of every entry of L2 |
//! | options per call | an allocation; options of the cache cost nothing |
//! | a bound on staleness per call | a lookup in L2, since the call skips L1 |
//! | an entry in L2 | [its size as serde measures it](Cacheable), plus some 290 bytes |
//!
//! # What it does not do
//!
//! The cache knows neither a store nor other nodes. Callers pass a load. A [`Fills`] decides
//! whether the cache may keep the loaded value. A [`Propagate`] sends invalidations to other nodes,
//! and the carrier that receives one calls [`apply_invalidation`](Cache::apply_invalidation).
//!
//! The cache does not write through. It has no admission filter: it always admits a fresh value. An
//! invalidation does not change a value that a `get` has already returned.
//!
//! # Testing with it
//!
//! [`kit`] has the tools of the crate's own tests: a clock that you drive by hand, loads that wait
//! at a gate, several nodes in one process.

// The modules are in the order of the layers, lowest first. A module imports only from modules
// above its own line.

// Locks, atomics, thread-locals and tasks: the machine's, or the model checker's. Must not know
// what is built on them.
mod sync;

// Steps that a checker can leave out; constants in an ordinary build. Must not know the code that
// asks.
mod faults;

// Whether a thread is inside a load. Must not know what is loaded.
mod loading;

// Runs user code: wakers, and the drop of values. Must not know why.
mod user_code;

// What can go wrong. Must not know what was being done.
mod error;

// Numbers, moments, the sequence and the slots. Must not know what they fence.
mod fence;

// Counters. Must not know what is counted.
mod stats;

// Arguments and results of calls: tags, loads, entries, receipts. Must not know how any of it is
// stored.
mod answer;

// Options, and the terms that result from them. Must not know what acts on them.
mod options;

// A thread's own tables. Must not know L2, loads or the node.
mod level1;

// The node's zones. Must not know flights, the tag index or threads.
mod level2;

// The recent history of keys. Must not know what decides it.
mod record;

// The fence: flights, fills, invalidations, the tag index. Must not know any handle of a user.
mod engine;

// The handle and its methods. Must not be known below.
mod api;

// Tools for our tests and users' tests. Must not know more than a user does.
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

/// Compiles and runs the examples of the README.
#[cfg(all(doctest, not(shuttle)))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
