//! What the random checker's node, which keeps what it loads, cannot show: callers on a node that
//! keeps and proves nothing, each of which may take no load that began before its call.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_cache::{Cache, CacheKey, Fills, GetOptions, Pass, Proof};
use tokio::runtime::Runtime;

use crate::kit::key;

/// Keeps nothing and proves nothing: others may have given it up.
#[derive(Debug)]
struct GivenUp;

impl Fills for GivenUp {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        None
    }

    fn holds(&self, _: Pass) -> bool {
        false
    }

    fn is_given_up(&self) -> bool {
        true
    }

    fn proof(&self) -> Proof {
        Proof::None
    }
}

/// What loads read, and how many of them run.
#[derive(Default)]
struct Source {
    version: AtomicUsize,
    running: AtomicUsize,
    /// How often one began while another ran.
    beside: AtomicUsize,
}

impl Source {
    async fn read(self: Arc<Self>) -> io::Result<Option<usize>> {
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        self.beside.fetch_add(others, Ordering::SeqCst);
        let version = self.version.load(Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(Some(version))
    }
}

/// Callers of one key, alone and in bulk, some of which change its source first. Tells of a version
/// that was read before a call, and of two loads at once.
pub(super) fn round(runtime: &Runtime) -> Option<String> {
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .staleness_ceiling(Duration::from_secs(10))
        .fills(Arc::new(GivenUp))
        .build()
        .unwrap();
    let source = Arc::new(Source::default());
    let callers: Vec<_> = (0..16)
        .map(|caller| runtime.spawn(call(cache.clone(), Arc::clone(&source), caller)))
        .collect();
    let ended = callers.into_iter().map(|caller| runtime.block_on(caller));
    let too_old = ended
        .filter_map(|old| old.expect("no caller panics"))
        .last();
    let beside = source.beside.load(Ordering::SeqCst);
    too_old.or((beside > 0).then(|| format!("{beside} loads ran beside another")))
}

async fn call(cache: Cache, source: Arc<Source>, caller: usize) -> Option<String> {
    let name = [key("queued")];
    for _ in 0..20 {
        if caller.is_multiple_of(4) {
            source.version.fetch_add(1, Ordering::SeqCst);
        }
        let known = source.version.load(Ordering::SeqCst);
        let seen = if caller.is_multiple_of(2) {
            let load = || Arc::clone(&source).read();
            let got = cache.get(&name[0], GetOptions::default(), load);
            got.await.unwrap()
        } else {
            let load = |_: Vec<CacheKey>| {
                let (read, [name]) = (Arc::clone(&source).read(), name.clone());
                async move { Ok::<_, io::Error>(vec![(name, read.await?)]) }
            };
            let found = cache.get_bulk(&name, GetOptions::default(), load);
            found.await.unwrap().remove(0)
        };
        let seen = seen.map_or(0, |seen| *seen);
        if seen < known {
            return Some(format!(
                "version {seen} came to a caller that knew of {known}"
            ));
        }
    }
    None
}
