//! Ours, with loads on the runtime of the callers.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, OnceLock},
};

use tidings_cache::{Cache, GetOptions};
use tidings_core::CacheKey;
use tokio::runtime::{self, Runtime};

use super::{Loading, ROOM};
use crate::workload::Credential;

/// What callers and loads of all contestants run on, and ours with an L1 on each of its threads:
/// two workers, as the machine that the figures are for has cores.
pub(super) fn attached() -> (Runtime, Cache) {
    let cache = Arc::new(OnceLock::<Cache>::new());
    let started = Arc::clone(&cache);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .on_thread_start(move || {
            // The workers start with the runtime, and the cache needs the runtime.
            started.wait().attach_thread("bench").keep();
        })
        .build()
        .expect("a runtime needs two threads and a timer, which the system does not refuse");
    let cache = cache.get_or_init(|| build(&runtime, ROOM)).clone();
    (runtime, cache)
}

/// A cache for one thread, whose loads would run on that thread.
pub(super) fn on_this_thread(l1_entries: usize) -> (Runtime, Cache) {
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing from the system");
    let cache = build(&runtime, l1_entries);
    (runtime, cache)
}

fn build(runtime: &Runtime, l1_entries: usize) -> Cache {
    Cache::builder()
        .runtime(runtime.handle().clone())
        .capacity(1 << 30)
        .l1_entries(l1_entries)
        .build()
        .expect("the settings are allowed")
}

pub(super) fn set(cache: &Cache, key: &CacheKey, credential: &Credential) {
    cache
        .set(key, Some(credential.clone()), GetOptions::default())
        .expect("a credential is smaller than the cache");
}

/// A `get` whose load would answer "absent".
pub(super) async fn cached(cache: &Cache, key: &CacheKey) -> Option<Arc<Credential>> {
    let load = || async { Ok::<Option<Credential>, Infallible>(None) };
    let found = cache.get(key, GetOptions::default(), load).await;
    found.ok().flatten()
}

impl Loading for Cache {
    type Handle = Arc<Credential>;

    async fn get<L>(&self, key: &CacheKey, load: L) -> Self::Handle
    where
        L: Future<Output = Credential> + Send + 'static,
    {
        let load = || async { Ok::<_, Infallible>(Some(load.await)) };
        self.get(key, GetOptions::default(), load)
            .await
            .expect("the load does not fail")
            .expect("the load gives a value")
    }

    async fn invalidate(&self, key: &CacheKey) {
        drop(self.invalidate(key));
    }
}
