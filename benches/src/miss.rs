//! Subject group `miss`: loads, promotions and invalidations.
//!
//! - `cold_key_10000_tasks`: as many tasks ask for one key that is not cached; its load takes a
//!   millisecond. The figure is the time until the last has its answer; how many loads ran is
//!   beside it.
//! - `level2_hit`: the key is cached by the node, and not by the thread that asks: ours copies the
//!   value into the thread's own cache. The peers' row is a `get` and a copy of the value.
//! - `invalidate`: one key that is cached.
//! - `mixed_zipf_10000`: 64 tasks on two threads over 10,000 keys; every eighth operation changes
//!   the source and invalidates, the others get, with a load that suspends once. An answer counts
//!   as stale when its value was read before a change whose invalidation had returned before the
//!   `get` began.

// Lowest first: a module imports from lines above it alone.
// Our cache behind the one face of all contestants.
mod ours;
// The peers behind that face.
mod peers;
// Many callers, one cold key.
mod cold;
// Hits with every eighth operation an invalidation.
mod mixed;
// One operation at a time: a hit in L2, an invalidation.
mod single;

use std::{future::Future, ops::Deref};

use tidings_core::CacheKey;

use crate::{
    harness::{Bench, BenchError, Settings},
    workload::Credential,
};

/// Runs the group.
///
/// # Errors
///
/// When two contestants get different credentials.
pub fn run(settings: Settings) -> Result<Bench, BenchError> {
    let mut bench = Bench::new("miss", settings);
    cold::run(&mut bench)?;
    single::run(&mut bench)?;
    mixed::run(&mut bench)?;
    Ok(bench)
}

/// A cache with a single-load call.
trait Loading: Send + Sync + 'static {
    type Handle: Deref<Target = Credential> + Send;

    /// Gets the key's value, by the load where it is missing.
    fn get<L>(&self, key: &CacheKey, load: L) -> impl Future<Output = Self::Handle> + Send
    where
        L: Future<Output = Credential> + Send + 'static;

    /// Reports to the cache that the key's source has changed.
    fn invalidate(&self, key: &CacheKey) -> impl Future<Output = ()> + Send;
}

/// Room for every key of the group's subjects.
const ROOM: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contestants_answer_alike() {
        let bench = run(Settings::quick()).expect("checksums agree");
        for subject in ["cold_key_10000_tasks", "invalidate", "mixed_zipf_10000"] {
            let rows = bench.rows().iter().filter(|row| row.subject == subject);
            assert!(rows.count() >= 3, "{subject}");
        }
    }
}
