//! What the random checker cannot see as an impossible read: callers that wait indefinitely,
//! because a permit was lost or is held by a load that waits for another.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_cache::{Cache, GetError, GetOptions, ManualClock, Ttl};
use tokio::runtime::Runtime;

use crate::kit::key;

const DEADLINE: Duration = Duration::from_millis(20);

/// Far longer than any of these loads takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Loads that hang, are left, and use the cache themselves, with two permits and a clock that
/// jumps. Tells how many callers that have all the time there is are still waiting in the end, if
/// any.
pub(super) fn round(runtime: &Runtime) -> Option<String> {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .clock(Arc::new(clock.clone()))
        .max_loads(2)
        .no_deadline()
        .abandon_after(Ttl::Never)
        .build()
        .unwrap();
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for index in 0..12 {
        let (cache, waiting) = (cache.clone(), Arc::clone(&waiting));
        let name = key(&index.to_string());
        match index % 4 {
            // Hangs.
            0 => tasks.push(runtime.spawn(async move {
                let load = || std::future::pending::<Result<Option<u8>, io::Error>>();
                let options = GetOptions::default().deadline(DEADLINE);
                drop(cache.get(&name, options, load).await);
            })),
            // Is left while it waits for its turn, or runs.
            1 => tasks.push(runtime.spawn(async move {
                let options = GetOptions::default().deadline(DEADLINE);
                drop(cache.get(&name, options, quick).await);
            })),
            // Uses the cache.
            2 => tasks.push(runtime.spawn(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                let inner = cache.clone();
                let load = || async move {
                    let name = key("inner");
                    let got = inner.get(&name, GetOptions::default(), quick);
                    Ok::<_, GetError>(got.await?.map(|got| *got))
                };
                assert!(cache.get(&name, GetOptions::default(), load).await.is_ok());
                waiting.fetch_sub(1, Ordering::SeqCst);
            })),
            _ => tasks.push(runtime.spawn(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                assert!(cache.get(&name, GetOptions::default(), quick).await.is_ok());
                waiting.fetch_sub(1, Ordering::SeqCst);
            })),
        }
    }

    let began = Instant::now();
    while tasks.iter().any(|task| !task.is_finished()) && began.elapsed() < PATIENCE {
        clock.advance(DEADLINE / 16);
        std::thread::yield_now();
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let stuck = waiting.load(Ordering::SeqCst);
    (stuck > 0).then(|| format!("{stuck} callers wait indefinitely"))
}

async fn quick() -> io::Result<Option<u8>> {
    tokio::task::yield_now().await;
    Ok(Some(1))
}
