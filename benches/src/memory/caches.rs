//! The contestants: bounded caches that remember absence.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use quick_cache::{UnitWeighter, sync::DefaultLifecycle};
use tidings_benches::workload::{Credential, PassOnBuilder};
use tidings_core::CacheKey;

/// A value, or a cached absence.
type Value = Option<Arc<Credential>>;

/// A cache that can be filled and asked.
pub(crate) trait Bounded {
    /// Puts an entry in.
    fn set(&self, key: &CacheKey, credential: &Credential);

    /// Whether the cache answers for a key; a load does not run.
    fn has(&self, key: &CacheKey) -> bool;

    /// Asks for a key, by its source where it is missing, and tells whether the cache had it.
    fn look_up(&self, key: &CacheKey, source: Option<&Credential>) -> bool;
}

/// A contestant's name, and what makes its cache with room for a number of entries.
pub(crate) type Entry = (&'static str, fn(usize) -> Box<dyn Bounded>);

/// Everyone.
pub(crate) const CACHES: &[Entry] = &[
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
    |map, key| map.lock().expect("nobody panics with it").get(key).cloned(),
    |map, key, value| map
        .lock()
        .expect("nobody panics with it")
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
