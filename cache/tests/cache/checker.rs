//! Random operations on real threads, each stamped at its begin and end from one counter; afterwards no read may be
//! impossible: of a version that was replaced, for everybody, before the read began.
//!
//! A few thousand rounds by default; `TIDINGS_CHECK_SECONDS=60` runs for that long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_cache::{Cache, Cause, GetOptions, Loaded, Origin};

use crate::kit::{Failure, key};

const KEYS: usize = 3;
const THREADS: usize = 4;

/// One key's source, and what has been promised about it.
#[derive(Default)]
struct Place {
    version: AtomicU64,
    /// Below this version nothing may be read by who begins now.
    promised: AtomicU64,
    writing: AtomicBool,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn load(
    place: &Arc<Place>,
    slow: u64,
) -> impl FnOnce() -> futures_util::future::BoxFuture<'static, Result<Loaded<u64>, Failure>> + Send + use<>
{
    let place = Arc::clone(place);
    move || {
        Box::pin(async move {
            let version = place.version.load(Ordering::SeqCst);
            for _ in 0..slow {
                tokio::task::yield_now().await;
            }
            Ok(Loaded::new(version).tag("all"))
        })
    }
}

fn write(cache: &Cache, place: &Place, index: usize, random: &mut Random) {
    // One writer a key at a time: versions grow.
    if place.writing.swap(true, Ordering::SeqCst) {
        return;
    }
    let key = key(&index.to_string());
    let version = place.version.fetch_add(1, Ordering::SeqCst) + 1;
    match random.below(6) {
        0 => drop(cache.invalidate(&key)),
        1 => drop(cache.invalidate_tag("all")),
        2 => drop(cache.purge()),
        3 => {
            cache.apply_change(std::slice::from_ref(&key), &[]);
        }
        4 => {
            let number = cache.apply_change(&[], &[]);
            let _cause = Cause {
                number,
                origin: Origin::Local,
            }
            .enter();
            drop(cache.invalidate(&key));
        }
        _ => cache
            .set(&key, Loaded::new(version).tag("all"), GetOptions::default())
            .unwrap(),
    }
    place.promised.store(version, Ordering::SeqCst);
    place.writing.store(false, Ordering::SeqCst);
}

/// G1, G2
#[test]
fn no_read_is_impossible() {
    let seconds = std::env::var("TIDINGS_CHECK_SECONDS").ok();
    let seconds = seconds
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .l1_entries(2)
        .build()
        .unwrap();
    let places: [Arc<Place>; KEYS] = Default::default();
    let began = Instant::now();
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, places, reads) = (&cache, &places, &reads);
            scope.spawn(move || {
                let mut random = Random(0x5EED + thread as u64);
                let _guard = (thread > 0).then(|| cache.attach_thread(format!("thread {thread}")));
                for round in 0.. {
                    if seconds.map_or(round >= 3_000, |seconds| began.elapsed() >= seconds) {
                        break;
                    }
                    let index = random.below(KEYS as u64) as usize;
                    let place = &places[index];
                    if random.below(8) == 0 {
                        write(cache, place, index, &mut random);
                        continue;
                    }
                    let promised = place.promised.load(Ordering::SeqCst);
                    let load = load(place, random.below(4));
                    let got =
                        cache.get_blocking(&key(&index.to_string()), GetOptions::default(), load);
                    let got = *got.unwrap().unwrap();
                    assert!(
                        got >= promised,
                        "read {got} of key {index} after {promised} was promised"
                    );
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let stats = cache.stats();
    assert!(
        stats.l1_hits > 0 && stats.l2_hits > 0 && stats.loads > 0,
        "{stats:?}"
    );
    assert!(reads.load(Ordering::Relaxed) > 1_000);
}
