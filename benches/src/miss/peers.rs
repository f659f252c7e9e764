//! The peers' single-load calls.

use std::{future::Future, io, sync::Arc};

use quick_cache::{UnitWeighter, sync::DefaultLifecycle};
use tidings_core::CacheKey;

use super::{Loading, ROOM};
use crate::workload::{Credential, PassOnBuilder};

pub(super) type QuickCache =
    quick_cache::sync::Cache<CacheKey, Arc<Credential>, UnitWeighter, PassOnBuilder>;
pub(super) type Moka = moka::future::Cache<CacheKey, Arc<Credential>, PassOnBuilder>;
pub(super) type Foyer = foyer_memory::Cache<CacheKey, Credential, PassOnBuilder>;

pub(super) fn quick_cache() -> QuickCache {
    QuickCache::with(
        ROOM,
        ROOM as u64,
        UnitWeighter,
        PassOnBuilder::default(),
        DefaultLifecycle::default(),
    )
}

pub(super) fn moka() -> Moka {
    moka::future::Cache::builder()
        .max_capacity(ROOM as u64)
        .build_with_hasher(PassOnBuilder::default())
}

pub(super) fn foyer() -> Foyer {
    foyer_memory::CacheBuilder::new(ROOM)
        .with_hash_builder(PassOnBuilder::default())
        .build()
}

impl Loading for QuickCache {
    type Handle = Arc<Credential>;

    async fn get<L>(&self, key: &CacheKey, load: L) -> Self::Handle
    where
        L: Future<Output = Credential> + Send + 'static,
    {
        match self.get_value_or_guard_async(key).await {
            Ok(value) => value,
            Err(guard) => {
                let value = Arc::new(load.await);
                // Refused when the key was removed in between; the caller has its value all the
                // same.
                drop(guard.insert(value.clone()));
                value
            }
        }
    }

    async fn invalidate(&self, key: &CacheKey) {
        self.remove(key);
    }
}

impl Loading for Moka {
    type Handle = Arc<Credential>;

    async fn get<L>(&self, key: &CacheKey, load: L) -> Self::Handle
    where
        L: Future<Output = Credential> + Send + 'static,
    {
        self.get_with_by_ref(key, async { Arc::new(load.await) })
            .await
    }

    async fn invalidate(&self, key: &CacheKey) {
        self.invalidate(key).await;
    }
}

impl Loading for Foyer {
    type Handle = foyer_memory::CacheEntry<CacheKey, Credential, PassOnBuilder>;

    async fn get<L>(&self, key: &CacheKey, load: L) -> Self::Handle
    where
        L: Future<Output = Credential> + Send + 'static,
    {
        self.get_or_fetch(key, || async { Ok::<_, io::Error>(load.await) })
            .await
            .expect("the load does not fail")
    }

    async fn invalidate(&self, key: &CacheKey) {
        self.remove(key);
    }
}
