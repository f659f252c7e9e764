//! Ours, through `get`.

use tidings_cache::{Cache, GetOptions};
use tidings_core::CacheKey;

use super::{Adapter, Change, Load};

/// Every value carries this tag.
const TAG: &str = "tag";

/// The node's cache, and its one key.
pub(super) struct Tidings(Cache, CacheKey);

impl Tidings {
    /// Makes one with an L1 on the calling thread, or with L2 alone.
    pub(super) fn new(attached: bool) -> Self {
        let cache = Cache::builder().build().expect("called in a runtime");
        if attached {
            cache.attach_thread("asks").keep();
        }
        Self(cache, CacheKey::new("key", &["0"]))
    }
}

impl Adapter for Tidings {
    async fn get(&self, load: Load) -> Option<u64> {
        let options = GetOptions::default().tags([TAG]);
        let got = self
            .0
            .get(&self.1, options, || async { load.await.map(Some) });
        got.await.ok().flatten().map(|version| *version)
    }

    async fn change(&self, change: Change, version: u64) -> bool {
        match change {
            Change::InvalidateKey => drop(self.0.invalidate(&self.1)),
            Change::InvalidateTag => drop(self.0.invalidate_tag(TAG)),
            Change::Purge => drop(self.0.purge()),
            Change::Set => self
                .0
                .set(&self.1, Some(version), GetOptions::default().tags([TAG]))
                .expect("a number is smaller than the cache"),
        }
        true
    }
}
