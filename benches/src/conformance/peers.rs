//! The peers, each through its documented single-load call, in at most 40 lines.

use super::{Adapter, Change, Load};

/// One key is enough for every cell.
const KEY: u8 = 0;

/// moka: `try_get_with`; tags by `invalidate_entries_if`.
pub(super) struct Moka(moka::future::Cache<u8, u64>);

impl Moka {
    pub(super) fn new() -> Self {
        Self(
            moka::future::Cache::builder()
                .support_invalidation_closures()
                .build(),
        )
    }
}

impl Adapter for Moka {
    async fn get(&self, load: Load) -> Option<u64> {
        self.0.try_get_with(KEY, load).await.ok()
    }

    async fn change(&self, change: Change, version: u64) -> bool {
        match change {
            Change::InvalidateKey => self.0.invalidate(&KEY).await,
            Change::InvalidateTag => return self.0.invalidate_entries_if(|_, _| true).is_ok(),
            Change::Purge => self.0.invalidate_all(),
            Change::Set => self.0.insert(KEY, version).await,
        }
        true
    }
}

/// quick_cache: `get_or_insert_async`; tags by `retain`.
pub(super) struct QuickCache(quick_cache::sync::Cache<u8, u64>);

impl QuickCache {
    pub(super) fn new() -> Self {
        Self(quick_cache::sync::Cache::new(100))
    }
}

impl Adapter for QuickCache {
    async fn get(&self, load: Load) -> Option<u64> {
        self.0.get_or_insert_async(&KEY, load).await.ok()
    }

    async fn change(&self, change: Change, version: u64) -> bool {
        match change {
            Change::InvalidateKey => drop(self.0.remove(&KEY)),
            Change::InvalidateTag => self.0.retain(|_, _| false),
            Change::Purge => self.0.clear(),
            Change::Set => self.0.insert(KEY, version),
        }
        true
    }
}

/// foyer: `get_or_fetch`; it has no call that removes by a property of the value.
pub(super) struct Foyer(foyer_memory::Cache<u8, u64>);

impl Foyer {
    pub(super) fn new() -> Self {
        Self(foyer_memory::CacheBuilder::new(100).build())
    }
}

impl Adapter for Foyer {
    async fn get(&self, load: Load) -> Option<u64> {
        let entry = self.0.get_or_fetch(&KEY, || load).await.ok()?;
        Some(*entry.value())
    }

    async fn change(&self, change: Change, version: u64) -> bool {
        match change {
            Change::InvalidateKey => drop(self.0.remove(&KEY)),
            Change::InvalidateTag => return false,
            Change::Purge => self.0.clear(),
            Change::Set => drop(self.0.insert(KEY, version)),
        }
        true
    }
}
