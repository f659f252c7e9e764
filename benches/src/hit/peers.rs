//! The peers of a hit: a bare map of the thread's own, and the caches that threads share.
//!
//! Each is built with room for everything, the hasher that passes the key's hash on (TinyUFO takes
//! none and hashes those eight bytes itself), and no expiry. A value is an `Arc`, except where the
//! cache's own handle counts references already (foyer).

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    hint::black_box,
    sync::Arc,
};

use quick_cache::{DefaultHashBuilder, UnitWeighter, sync::DefaultLifecycle};
use tidings_core::CacheKey;

use super::{Ask, Input, LookUp, UNTIMED, current_thread, shared};
use crate::{
    harness::{Contestant, Sample, Turn},
    workload::{Credential, PassOnBuilder},
};

type Map = HashMap<CacheKey, Arc<Credential>, PassOnBuilder>;
type QuickCache<K, B> = quick_cache::sync::Cache<K, Arc<Credential>, UnitWeighter, B>;
type Moka = moka::sync::Cache<CacheKey, Arc<Credential>, PassOnBuilder>;
type MiniMoka = mini_moka::sync::Cache<CacheKey, Arc<Credential>, PassOnBuilder>;
type Foyer = foyer_memory::Cache<CacheKey, Credential, PassOnBuilder>;
type TinyUfo = tinyufo::TinyUfo<CacheKey, Arc<Credential>>;

/// The peers that threads share, filled.
pub(super) struct Peers {
    quick_cache: QuickCache<CacheKey, PassOnBuilder>,
    quick_cache_by_str: QuickCache<Box<str>, DefaultHashBuilder>,
    quick_cache_by_str_sip: QuickCache<Box<str>, RandomState>,
    moka: Moka,
    mini_moka: MiniMoka,
    foyer: Foyer,
    tiny_ufo: TinyUfo,
}

impl Peers {
    pub(super) fn new(input: &Input) -> Self {
        // Sharded caches bound each shard by itself; four times the room keeps every entry.
        let room = 4 * input.keys.len().max(256);
        let peers = Self {
            quick_cache: quick_cache(room),
            quick_cache_by_str: quick_cache(room),
            quick_cache_by_str_sip: quick_cache(room),
            moka: moka::sync::Cache::builder()
                .max_capacity(room as u64)
                .build_with_hasher(PassOnBuilder::default()),
            mini_moka: mini_moka::sync::Cache::builder()
                .max_capacity(room as u64)
                .build_with_hasher(PassOnBuilder::default()),
            foyer: foyer_memory::CacheBuilder::new(room)
                .with_hash_builder(PassOnBuilder::default())
                .build(),
            tiny_ufo: TinyUfo::new(room, room),
        };
        for (key, credential) in input.entries() {
            let value = Arc::new(credential.clone());
            peers.quick_cache.insert(key.clone(), value.clone());
            peers
                .quick_cache_by_str
                .insert(credential.key.as_str().into(), value.clone());
            peers
                .quick_cache_by_str_sip
                .insert(credential.key.as_str().into(), value.clone());
            peers.moka.insert(key.clone(), value.clone());
            peers.mini_moka.insert(key.clone(), value.clone());
            peers.foyer.insert(key.clone(), credential.clone());
            peers.tiny_ufo.put(key.clone(), value, 1);
        }
        peers.moka.run_pending_tasks();
        peers
    }

    pub(super) fn contestants<'a>(&'a self, input: &'a Input) -> Vec<Contestant<'a>> {
        let mut contestants = vec![
            shared("quick_cache", input, &self.quick_cache),
            shared("moka", input, &self.moka),
            shared("mini-moka", input, &self.mini_moka),
            shared("foyer-memory", input, &self.foyer),
            shared("TinyUFO", input, &self.tiny_ufo),
        ];
        if input.ask == Ask::ApiKey {
            let (own, sip) = (&self.quick_cache_by_str, &self.quick_cache_by_str_sip);
            contestants.push(by_str("quick_cache by str", input, own));
            contestants.push(by_str("quick_cache by str, SipHash", input, sip));
        }
        contestants
    }
}

/// quick_cache without a cache key, as an application with a single kind of entity may use it.
fn by_str<'a, B>(name: &str, input: &'a Input, cache: &'a QuickCache<Box<str>, B>) -> Contestant<'a>
where
    B: BuildHasher + Clone + Send + Sync,
{
    let look_up = |picks: &[u32]| {
        picks.iter().fold(0_u64, |sum, pick| {
            let api_key = black_box(input.credentials[*pick as usize].key.as_str());
            let found = cache.get(api_key);
            sum.wrapping_add(found.map_or(0, |credential| credential.digest()))
        })
    };
    Contestant::new(name, move |_| {
        move |_: Turn| {
            black_box(look_up(&input.picks[..UNTIMED.min(input.picks.len())]));
            Sample::time(input.picks.len() as u64, || look_up(&input.picks))
        }
    })
}

fn quick_cache<K, B>(room: usize) -> QuickCache<K, B>
where
    K: Eq + std::hash::Hash + Clone,
    B: std::hash::BuildHasher + Clone + Default,
{
    QuickCache::with(
        room,
        room as u64,
        UnitWeighter,
        B::default(),
        DefaultLifecycle::default(),
    )
}

impl LookUp for QuickCache<CacheKey, PassOnBuilder> {
    type Answer = Option<Arc<Credential>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        self.get(key)
    }
}

impl LookUp for Moka {
    type Answer = Option<Arc<Credential>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        self.get(key)
    }
}

impl LookUp for MiniMoka {
    type Answer = Option<Arc<Credential>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        self.get(key)
    }
}

impl LookUp for Foyer {
    type Answer = Option<foyer_memory::CacheEntry<CacheKey, Credential, PassOnBuilder>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        self.get(key)
    }
}

impl LookUp for TinyUfo {
    type Answer = Option<Arc<Credential>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        self.get(key)
    }
}

thread_local! {
    static MAP: RefCell<Map> = RefCell::default();
}

/// The thread-local map of [`bare_map`].
struct BareMap;

impl LookUp for BareMap {
    type Answer = Option<Arc<Credential>>;

    async fn get(&self, key: &CacheKey) -> Self::Answer {
        MAP.with_borrow(|map| map.get(key).cloned())
    }
}

/// The floor: a map of the thread's own with the thread's own copy of each value. It is coherent
/// with nothing and bounded by nothing.
pub(super) fn bare_map(input: &Input) -> Contestant<'_> {
    Contestant::new("bare_map", move |_| {
        MAP.set(
            input
                .entries()
                .map(|(key, credential)| (key.clone(), Arc::new(credential.clone())))
                .collect(),
        );
        let runtime = current_thread();
        move |_: Turn| input.turn(&runtime, &BareMap)
    })
}
