//! Bytes per entry, and allocations per look-up.

use tidings_benches::{
    harness::{Bench, BenchError},
    workload::{self, Credential},
};
use tidings_core::CacheKey;

use crate::caches::{Bounded, CACHES, Ours};

/// Look-ups whose allocations are counted.
const LOOK_UPS: usize = 10_000;

pub(crate) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    for count in [100_000, 1_000_000] {
        eprintln!("memory: bytes per entry, {count} entries");
        let entries = entries(bench.settings().scaled(count), bench.settings().seed);
        let figures: Vec<_> = CACHES
            .iter()
            .map(|(name, make)| (*name, bytes_per_entry(&entries, *make)))
            .collect();
        bench.values(&format!("bytes_per_entry_{count}"), 1, "bytes", &figures);
    }
    bound(bench);
    let entries = entries(100, bench.settings().seed);
    let mut figures = Vec::new();
    for (name, make) in CACHES {
        figures.push((*name, allocations_per_look_up(name, &entries, *make)?));
    }
    bench.values(
        "api_key_to_credential_allocations",
        1,
        "per look-up",
        &figures,
    );
    Ok(())
}

/// Puts in four times what there is room for, and takes the most that was live at any time.
fn bound(bench: &mut Bench) {
    const ROOM: usize = 50_000;
    let room = bench.settings().scaled(ROOM);
    let entries = entries(4 * room, bench.settings().seed);
    let mut kept = None;
    let counted = allocation_counter::measure(|| {
        let ours = Ours::new(room, 0);
        for (key, credential) in &entries {
            ours.set(key, credential);
        }
        kept = Some(ours);
    });
    let capacity = kept.map_or(1, |ours| ours.capacity());
    let percent = counted.bytes_max as f64 / capacity as f64 * 100.0;
    bench.values("live_bytes_of_capacity", 1, "%", &[("tidings", percent)]);
}

fn entries(count: usize, seed: u64) -> Vec<(CacheKey, Credential)> {
    workload::credentials(count, seed)
        .into_iter()
        .map(|credential| (workload::key_of(&credential.key), credential))
        .collect()
}

fn bytes_per_entry(entries: &[(CacheKey, Credential)], make: fn(usize) -> Box<dyn Bounded>) -> f64 {
    let mut kept = None;
    let counted = allocation_counter::measure(|| {
        let cache = make(entries.len());
        for (key, credential) in entries {
            cache.set(key, credential);
        }
        kept = Some(cache);
    });
    // A cache that threw entries out to stay within its room is not cheaper for it.
    let held = kept.map_or(0, |cache| held(&*cache, entries));
    counted.bytes_current as f64 / held.max(1) as f64
}

/// How many of the entries a cache holds.
fn held(cache: &dyn Bounded, entries: &[(CacheKey, Credential)]) -> usize {
    entries.iter().filter(|(key, _)| cache.has(key)).count()
}

fn allocations_per_look_up(
    name: &str,
    entries: &[(CacheKey, Credential)],
    make: fn(usize) -> Box<dyn Bounded>,
) -> Result<f64, BenchError> {
    // Room to spare, so that each shard of a sharded cache has enough, and an L1 for a tenth of it.
    let cache = make(64 * entries.len());
    for (key, credential) in entries {
        cache.set(key, credential);
        cache.look_up(key, Some(credential));
    }
    let mut missed = 0;
    let counted = allocation_counter::measure(|| {
        for at in 0..LOOK_UPS {
            let credential = &entries[at % entries.len()].1;
            let key = workload::key_of(std::hint::black_box(&credential.key));
            missed += usize::from(!cache.look_up(&key, Some(credential)));
        }
    });
    if missed > 0 {
        return Err(BenchError::Failed(format!(
            "{name}: {missed} look-ups of cached keys missed"
        )));
    }
    Ok(counted.count_total as f64 / LOOK_UPS as f64)
}
