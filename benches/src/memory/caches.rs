//! The contestants: bounded caches that remember absence.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
};

use quick_cache::{UnitWeighter, sync::DefaultLifecycle};
use tidings_benches::workload::{self, Credential, PassOnBuilder};
use tidings_cache::{Cache, GetOptions, Outcome, ThreadGuard};
use tidings_core::CacheKey;
use tokio::runtime::{self, Runtime};

/// A value, or a cached absence.
type Value = Option<Arc<Credential>>;

/// A cache that can be filled and asked.
pub(crate) trait Bounded {
    /// Puts an entry in.
    fn set(&self, key: &CacheKey, credential: &Credential);

    /// Whether the cache answers for a key; a load does not run.
    fn has(&self, key: &CacheKey) -> bool;

    /// Asks for a key, by its source where it is missing, and returns whether the cache had it.
    fn look_up(&self, key: &CacheKey, source: Option<&Credential>) -> bool;
}

/// A contestant's name, and what makes its cache with room for a number of entries.
pub(crate) type Entry = (&'static str, fn(usize) -> Box<dyn Bounded>);

/// All contestants.
pub(crate) const CACHES: &[Entry] = &[
    ("tidings", |room| Box::new(Ours::new(room, 0))),
    // With an L1 on the thread that asks, for a tenth of what L2 has room for.
    ("tidings (both levels)", |room| {
        Box::new(Ours::new(room, (room / 10).max(1)))
    }),
    ("bare_map", |_| Box::<Map>::default()),
    ("quick_cache", |room| Box::new(quick_cache(room))),
    ("moka", |room| {
        Box::new(
            moka::sync::Cache::builder()
                .max_capacity(room as u64)
                .build_with_hasher(PassOnBuilder::default()),
        )
    }),
    ("mini-moka", |room| {
        Box::new(
            mini_moka::sync::Cache::builder()
                .max_capacity(room as u64)
                .build_with_hasher(PassOnBuilder::default()),
        )
    }),
    ("foyer-memory", |room| {
        Box::new(
            foyer_memory::CacheBuilder::new(room)
                .with_hash_builder(PassOnBuilder::default())
                .build(),
        )
    }),
    ("TinyUFO", |room| {
        Box::new(tinyufo::TinyUfo::new(room, room))
    }),
];

type Map = Mutex<HashMap<CacheKey, Value, PassOnBuilder>>;
type QuickCache = quick_cache::sync::Cache<CacheKey, Value, UnitWeighter, PassOnBuilder>;
type Moka = moka::sync::Cache<CacheKey, Value, PassOnBuilder>;
type MiniMoka = mini_moka::sync::Cache<CacheKey, Value, PassOnBuilder>;
type Foyer = foyer_memory::Cache<CacheKey, Option<Credential>, PassOnBuilder>;
type TinyUfo = tinyufo::TinyUfo<CacheKey, Value>;

fn quick_cache(room: usize) -> QuickCache {
    QuickCache::with(
        room,
        room as u64,
        UnitWeighter,
        PassOnBuilder::default(),
        DefaultLifecycle::default(),
    )
}

fn shared(credential: Option<&Credential>) -> Value {
    credential.cloned().map(Arc::new)
}

/// Ours. L2 is bounded in bytes, so the room for a number of entries is that many times what a
/// credential weighs.
pub(crate) struct Ours {
    cache: Cache,
    loads: Runtime,
    _attached: Option<ThreadGuard>,
}

impl Ours {
    pub(crate) fn new(room: usize, l1_entries: usize) -> Self {
        let loads = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime needs a timer only, which the system does not refuse");
        // Absences have an eighth of the capacity for themselves.
        let capacity = room as u64 * weight_of_one() * 8 / 7;
        let cache = Cache::builder()
            .runtime(loads.handle().clone())
            .capacity(capacity.max(64 << 10))
            .l1_entries(l1_entries)
            .build()
            .expect("the settings are allowed");
        let attached = (l1_entries > 0).then(|| cache.attach_thread("bench"));
        Self {
            cache,
            loads,
            _attached: attached,
        }
    }

    /// The bound, in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.cache.stats().capacity
    }
}

/// Returns the weight of one credential in L2.
fn weight_of_one() -> u64 {
    static WEIGHT: LazyLock<u64> = LazyLock::new(|| {
        let loads = runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing from the system");
        let cache = Cache::builder()
            .runtime(loads.handle().clone())
            .build()
            .expect("the settings are allowed");
        let credential = &workload::credentials(1, 1)[0];
        let key = workload::primary_key(credential);
        cache
            .set(&key, Some(credential.clone()), GetOptions::default())
            .expect("a credential is smaller than the cache");
        cache.stats().bytes
    });
    *WEIGHT
}

impl Bounded for Ours {
    fn set(&self, key: &CacheKey, credential: &Credential) {
        self.cache
            .set(key, Some(credential.clone()), GetOptions::default())
            .expect("a credential is smaller than the cache");
    }

    fn has(&self, key: &CacheKey) -> bool {
        self.cache
            .probe::<Credential>(key)
            .is_ok_and(|probe| probe.is_some())
    }

    fn look_up(&self, key: &CacheKey, source: Option<&Credential>) -> bool {
        // What is cloned for a load is cloned on a miss only.
        let load = || {
            let answer = source.cloned();
            async { Ok::<_, Infallible>(answer) }
        };
        let got = self.cache.get_entry(key, GetOptions::default(), load);
        let entry = self.loads.block_on(got).expect("the load does not fail");
        matches!(entry.outcome, Outcome::L1 | Outcome::L2)
    }
}

/// The usual way to use a cache without loads: ask, and put in what was missing.
macro_rules! ask_then_insert {
    ($cache:ty, $value:expr, |$this:ident, $key:ident| $get:expr, |$into:ident, $entry:ident, $new:ident| $insert:expr) => {
        impl Bounded for $cache {
            fn set(&self, key: &CacheKey, credential: &Credential) {
                let ($into, $entry, $new) = (self, key.clone(), $value(Some(credential)));
                let _ = $insert;
            }

            fn has(&self, key: &CacheKey) -> bool {
                let ($this, $key) = (self, key);
                $get.is_some()
            }

            fn look_up(&self, key: &CacheKey, source: Option<&Credential>) -> bool {
                let hit = self.has(key);
                if !hit {
                    let ($into, $entry, $new) = (self, key.clone(), $value(source));
                    let _ = $insert;
                }
                hit
            }
        }
    };
}

ask_then_insert!(
    Map,
    shared,
    |map, key| map
        .lock()
        .expect("no thread panics with it")
        .get(key)
        .cloned(),
    |map, key, value| map
        .lock()
        .expect("no thread panics with it")
        .insert(key, value)
);
ask_then_insert!(
    QuickCache,
    shared,
    |cache, key| cache.get(key),
    |cache, key, value| cache.insert(key, value)
);
ask_then_insert!(
    Moka,
    shared,
    |cache, key| cache.get(key),
    |cache, key, value| cache.insert(key, value)
);
ask_then_insert!(
    MiniMoka,
    shared,
    |cache, key| cache.get(key),
    |cache, key, value| cache.insert(key, value)
);
ask_then_insert!(
    Foyer,
    Option::<&Credential>::cloned,
    |cache, key| cache.get(key),
    |cache, key, value| cache.insert(key, value)
);
ask_then_insert!(
    TinyUfo,
    shared,
    |cache, key| cache.get(key),
    |cache, key, value| cache.put(key, value, 1)
);
