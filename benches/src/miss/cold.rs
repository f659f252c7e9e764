//! Many tasks ask for one key that is not cached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::CacheKey;
use tokio::{runtime::Runtime, task, time};

use super::{Loading, ours, peers};
use crate::{
    harness::{Bench, BenchError, Contestant, Sample, Turn},
    workload::{self, Credential},
};

const TASKS: usize = 10_000;

/// One contestant's cache and how often it loaded.
struct Entrant<C> {
    cache: Arc<C>,
    loads: Arc<AtomicU64>,
    turns: AtomicU64,
}

impl<C: Loading> Entrant<C> {
    fn new(cache: C) -> Self {
        Self {
            cache: Arc::new(cache),
            loads: Arc::default(),
            turns: AtomicU64::new(0),
        }
    }

    fn contestant<'a>(
        &'a self,
        name: &str,
        runtime: &'a Runtime,
        credentials: &'a [Credential],
        tasks: usize,
    ) -> Contestant<'a> {
        Contestant::new(name, move |_| {
            move |turn: Turn| {
                // Every turn has a key of its own: no peer is slowed by removing the one before.
                let credential = &credentials[turn.number % credentials.len()];
                let key = CacheKey::builder(workload::NAME)
                    .part(&credential.id)
                    .part(&(turn.number as i64))
                    .finish();
                self.turns.fetch_add(1, Ordering::Relaxed);
                Sample::time(1, || {
                    runtime.block_on(self.stampede(&key, credential, tasks))
                })
            }
        })
    }

    async fn stampede(&self, key: &CacheKey, credential: &Credential, tasks: usize) -> u64 {
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let (cache, key) = (Arc::clone(&self.cache), key.clone());
                let (credential, loads) = (credential.clone(), Arc::clone(&self.loads));
                task::spawn(async move {
                    let load = async move {
                        loads.fetch_add(1, Ordering::Relaxed);
                        time::sleep(Duration::from_millis(1)).await;
                        credential
                    };
                    cache.get(&key, load).await.digest()
                })
            })
            .collect();
        let mut sum = 0_u64;
        for task in tasks {
            sum = sum.wrapping_add(task.await.expect("no contestant panics"));
        }
        sum
    }

    fn loads_per_turn(&self) -> f64 {
        self.loads.load(Ordering::Relaxed) as f64 / self.turns.load(Ordering::Relaxed).max(1) as f64
    }
}

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let (runtime, ours) = ours::attached();
    let tasks = bench.settings().scaled(TASKS);
    let credentials = workload::credentials(64, bench.settings().seed);
    let ours = Entrant::new(ours);
    let quick_cache = Entrant::new(peers::quick_cache());
    let moka = Entrant::new(peers::moka());
    let foyer = Entrant::new(peers::foyer());
    bench.subject_with_own_threads(
        "cold_key_10000_tasks",
        2,
        vec![
            ours.contestant("tidings", &runtime, &credentials, tasks),
            quick_cache.contestant("quick_cache", &runtime, &credentials, tasks),
            moka.contestant("moka", &runtime, &credentials, tasks),
            foyer.contestant("foyer-memory", &runtime, &credentials, tasks),
        ],
    )?;
    bench.values(
        "cold_key_10000_tasks_loads",
        2,
        "loads",
        &[
            ("tidings", ours.loads_per_turn()),
            ("quick_cache", quick_cache.loads_per_turn()),
            ("moka", moka.loads_per_turn()),
            ("foyer-memory", foyer.loads_per_turn()),
        ],
    );
    Ok(())
}
