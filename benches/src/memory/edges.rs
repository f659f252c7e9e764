//! Memory where it is attacked: keys of any length that do not exist, and a source that hangs.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tidings_benches::{
    harness::{Bench, BenchError},
    workload::Credential,
};
use tidings_cache::{Cache, GetOptions};
use tidings_core::{CacheKey, clock::ManualClock};
use tokio::{runtime, sync::watch};

/// How long each key that does not exist is.
const JUNK: usize = 60_000;
const CAPACITY: u64 = 16 << 20;
const LEVEL1: u64 = 4 << 20;

pub(crate) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    junk(bench)?;
    stall(bench)
}

/// Asks for keys that do not exist, on a thread with an L1, and takes the most that was live.
fn junk(bench: &mut Bench) -> Result<(), BenchError> {
    let count = bench.settings().scaled(100_000);
    eprintln!("memory: {count} junk keys of {JUNK} bytes");
    let runtime = current_thread()?;
    let before = resident();
    let mut failed = 0;
    let counted = allocation_counter::measure(|| {
        let cache = Cache::builder()
            .runtime(runtime.handle().clone())
            .capacity(CAPACITY)
            .l1_bytes(LEVEL1)
            .build()
            .expect("the settings are allowed");
        let attached = cache.attach_thread("bench");
        let padding = "x".repeat(JUNK);
        runtime.block_on(async {
            for number in 0..count {
                let key = CacheKey::new("keyauth_credentials", &[&format!("{number}{padding}")]);
                let absent = || async { Ok::<Option<Credential>, Infallible>(None) };
                let got = cache.get(&key, GetOptions::default(), absent).await;
                failed += usize::from(!matches!(got, Ok(None)));
            }
        });
        drop(attached);
    });
    if failed > 0 {
        return Err(BenchError::Failed(format!("{failed} look-ups failed")));
    }

    let grown = resident().saturating_sub(before);
    let percent = |bytes: u64| bytes as f64 / (CAPACITY + LEVEL1) as f64 * 100.0;
    bench.values(
        "junk_keys_of_budget",
        1,
        "%",
        &[
            ("tidings, live", percent(counted.bytes_max)),
            ("tidings, resident", percent(grown)),
        ],
    );
    Ok(())
}

/// Asks for two thousand new keys a second, for ten seconds of a manual clock, from a source that
/// never answers: how many loads are in progress at once, and how much memory each takes, with the
/// task of the caller that waits for it.
fn stall(bench: &mut Bench) -> Result<(), BenchError> {
    let keys = bench.settings().scaled(20_000);
    eprintln!("memory: a source that hangs, {keys} keys");
    let runtime = current_thread()?;
    let clock = ManualClock::new();
    let mut at_once = 0;
    let counted = allocation_counter::measure(|| {
        let cache = Cache::builder()
            .runtime(runtime.handle().clone())
            .clock(Arc::new(clock.clone()))
            .build()
            .expect("the settings are allowed");
        let (_hangs, source) = watch::channel(());
        runtime.block_on(async {
            for number in 0..keys {
                let (asked, mut source) = (cache.clone(), source.clone());
                tokio::spawn(async move {
                    let key = CacheKey::new("stalled", &[&number.to_string()]);
                    let hang = || async move {
                        drop(source.changed().await);
                        Ok::<Option<Credential>, Infallible>(None)
                    };
                    drop(asked.get(&key, GetOptions::default(), hang).await);
                });
                if number % 2 == 1 {
                    clock.advance(Duration::from_millis(1));
                }
                tokio::task::yield_now().await;
                at_once = at_once.max(cache.stats().in_flight);
            }
        });
    });
    drop(runtime);

    let per_load = counted.bytes_max as f64 / at_once.max(1) as f64;
    bench.values(
        "stalled_source_loads",
        1,
        "loads",
        &[("tidings", at_once as f64)],
    );
    bench.values(
        "stalled_source_per_load",
        1,
        "bytes",
        &[("tidings", per_load)],
    );
    Ok(())
}

fn current_thread() -> Result<runtime::Runtime, BenchError> {
    let built = runtime::Builder::new_current_thread().enable_time().build();
    built.map_err(|error| BenchError::Failed(error.to_string()))
}

/// Returns the resident bytes of this process; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split_whitespace().nth(1);
    pages
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4_096
}
