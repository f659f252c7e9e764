//! Ours on a hit: [`Cache::get`] as its users call it, with a load that would answer "absent".

use std::{convert::Infallible, future::Future, sync::Arc};

use tidings_cache::{Cache, GetError, GetOptions, View};
use tidings_core::CacheKey;
use tokio::runtime::Runtime;

use super::{Input, LookUp, LookUpStr, current_thread};
use crate::{
    harness::{Contestant, Turn},
    workload::{self, Credential},
};

/// The node's cache. Each thread that asks is attached: after the warm-up, its L1 holds all that it
/// asks for.
pub(super) struct Ours {
    cache: Cache,
    /// The runtime that loads would run on.
    _loads: Runtime,
}

impl Ours {
    pub(super) fn new(input: &Input) -> Self {
        let loads = current_thread();
        let cache = Cache::builder()
            .runtime(loads.handle().clone())
            .capacity(1 << 30)
            .l1_entries(4 * input.keys.len())
            .l1_bytes(1 << 30)
            .build()
            .expect("the settings are allowed");
        for (key, credential) in input.entries() {
            cache
                .set(key, Some(credential.clone()), GetOptions::default())
                .expect("a credential is smaller than the cache");
        }
        Self {
            cache,
            _loads: loads,
        }
    }

    pub(super) fn contestant<'a>(&'a self, input: &'a Input) -> Contestant<'a> {
        Contestant::new("tidings", move |thread| {
            let attached = self.cache.attach_thread(format!("bench {thread}"));
            let runtime = current_thread();
            move |_: Turn| {
                // The thread stays attached for as long as the runner lives.
                let _ = &attached;
                input.turn(&runtime, self)
            }
        })
    }

    /// Makes a contestant of the typed view of the same cache.
    pub(super) fn view<'a>(&'a self, input: &'a Input) -> Contestant<'a> {
        let view = self.cache.view(workload::NAME);
        let view: View<Credential> = view.expect("the name has no other type");
        Contestant::new("tidings view", move |thread| {
            let attached = self.cache.attach_thread(format!("bench {thread}"));
            let runtime = current_thread();
            let view = view.clone();
            move |_: Turn| {
                // The thread stays attached for as long as the runner lives.
                let _ = &attached;
                input.turn_by_str(&runtime, &view)
            }
        })
    }
}

impl LookUpStr for View<Credential> {
    type Answer = Result<Option<Arc<Credential>>, GetError>;

    fn get(&self, api_key: &str) -> impl Future<Output = Self::Answer> {
        self.get(api_key, || async {
            Ok::<Option<Credential>, Infallible>(None)
        })
    }
}

impl LookUp for Ours {
    type Answer = Result<Option<Arc<Credential>>, GetError>;

    fn get(&self, key: &CacheKey) -> impl Future<Output = Self::Answer> {
        self.cache.get(key, GetOptions::default(), || async {
            Ok::<Option<Credential>, Infallible>(None)
        })
    }
}
