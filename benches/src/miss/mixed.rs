//! Gets with loads, and every eighth operation an invalidation, from many tasks on two threads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidings_core::CacheKey;
use tokio::{runtime::Runtime, task};

use super::{Loading, ours, peers};
use crate::{
    harness::{Bench, BenchError, Contestant, Sample, Turn},
    workload::{self, Credential},
};

const POPULATION: usize = 10_000;
const TASKS: usize = 64;
const OPERATIONS: usize = 1 << 15;
/// Every operation whose number this divides is an invalidation.
const INVALIDATE: usize = 8;

/// The keys, and which of them are asked for.
struct Input {
    keys: Vec<CacheKey>,
    credentials: Vec<Credential>,
    picks: Vec<u32>,
}

/// One contestant: its cache, its source, and the counts of stale answers and loads.
struct Entrant<C> {
    cache: C,
    input: Arc<Input>,
    /// The version of each key in the source.
    source: Vec<AtomicU64>,
    /// The newest version of each key whose invalidation has returned.
    told: Vec<AtomicU64>,
    gets: AtomicU64,
    loads: AtomicU64,
    stale: AtomicU64,
}

impl<C: Loading> Entrant<C> {
    fn new(cache: C, input: &Arc<Input>) -> Arc<Self> {
        let versions = || (0..POPULATION).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            cache,
            input: Arc::clone(input),
            source: versions(),
            told: versions(),
            gets: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        })
    }

    fn contestant<'a>(self: &'a Arc<Self>, name: &str, runtime: &'a Runtime) -> Contestant<'a> {
        Contestant::new(name, move |_| {
            move |turn: Turn| {
                Sample::time(self.input.picks.len() as u64, || {
                    runtime.block_on(self.turn(turn.number))
                })
            }
        })
    }

    /// Which answers are right depends on the order of the threads; the checksum counts the answers
    /// of other keys, and must be zero.
    async fn turn(self: &Arc<Self>, number: usize) -> u64 {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let entrant = Arc::clone(self);
                task::spawn(async move { entrant.operations(task, number).await })
            })
            .collect();
        let mut wrong = 0;
        for task in tasks {
            wrong += task.await.expect("no contestant panics");
        }
        wrong
    }

    async fn operations(self: &Arc<Self>, task: usize, number: usize) -> u64 {
        let input = &self.input;
        let (mut wrong, mut gets, mut stale) = (0, 0, 0);
        for at in (task..input.picks.len()).step_by(TASKS) {
            let pick = input.picks[(at + number * 31) % input.picks.len()] as usize;
            let key = &input.keys[pick];
            if (at / TASKS + task).is_multiple_of(INVALIDATE) {
                let version = self.source[pick].fetch_add(1, Ordering::SeqCst) + 1;
                self.cache.invalidate(key).await;
                self.told[pick].fetch_max(version, Ordering::SeqCst);
            } else {
                let told = self.told[pick].load(Ordering::SeqCst);
                let entrant = Arc::clone(self);
                let credential = self.cache.get(key, entrant.load(pick)).await;
                gets += 1;
                stale += u64::from(credential.created_at.cast_unsigned() < told);
                wrong += u64::from(credential.id != input.credentials[pick].id);
            }
        }
        self.gets.fetch_add(gets, Ordering::Relaxed);
        self.stale.fetch_add(stale, Ordering::Relaxed);
        wrong
    }

    /// Reads the source, and suspends once before it answers, as a database does.
    async fn load(self: Arc<Self>, pick: usize) -> Credential {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let version = self.source[pick].load(Ordering::SeqCst);
        task::yield_now().await;
        Credential {
            created_at: version.cast_signed(),
            ..self.input.credentials[pick].clone()
        }
    }

    fn per_million(&self, count: &AtomicU64) -> f64 {
        count.load(Ordering::Relaxed) as f64 * 1e6 / self.gets.load(Ordering::Relaxed).max(1) as f64
    }
}

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let (runtime, ours) = ours::attached();
    let seed = bench.settings().seed;
    let credentials = workload::credentials(POPULATION, seed);
    let input = Arc::new(Input {
        keys: credentials.iter().map(workload::primary_key).collect(),
        credentials,
        picks: workload::zipf(POPULATION, 0.99, bench.settings().scaled(OPERATIONS), seed),
    });
    let ours = Entrant::new(ours, &input);
    let quick_cache = Entrant::new(peers::quick_cache(), &input);
    let moka = Entrant::new(peers::moka(), &input);
    let foyer = Entrant::new(peers::foyer(), &input);
    bench.subject_with_own_threads(
        "mixed_zipf_10000",
        2,
        vec![
            ours.contestant("tidings", &runtime),
            quick_cache.contestant("quick_cache", &runtime),
            moka.contestant("moka", &runtime),
            foyer.contestant("foyer-memory", &runtime),
        ],
    )?;
    bench.values(
        "mixed_zipf_10000_stale",
        2,
        "per million gets",
        &[
            ("tidings", ours.per_million(&ours.stale)),
            ("quick_cache", quick_cache.per_million(&quick_cache.stale)),
            ("moka", moka.per_million(&moka.stale)),
            ("foyer-memory", foyer.per_million(&foyer.stale)),
        ],
    );
    bench.values(
        "mixed_zipf_10000_loads",
        2,
        "per million gets",
        &[
            ("tidings", ours.per_million(&ours.loads)),
            ("quick_cache", quick_cache.per_million(&quick_cache.loads)),
            ("moka", moka.per_million(&moka.loads)),
            ("foyer-memory", foyer.per_million(&foyer.loads)),
        ],
    );
    Ok(())
}
