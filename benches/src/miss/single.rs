//! One operation at a time: a hit in the node's cache, and an invalidation.

use std::sync::Arc;

use tidings_core::CacheKey;

use super::{ours, peers};
use crate::{
    harness::{Bench, BenchError, Contestant, Sample, Turn},
    workload::{self, Credential},
};

const POPULATION: usize = 10_000;

/// The keys with their credentials. A small cache hits none of them if they are asked for in turn.
struct Input {
    entries: Vec<(CacheKey, Credential)>,
}

impl Input {
    fn new(bench: &Bench) -> Self {
        let count = bench.settings().scaled(POPULATION);
        let entries = workload::credentials(count, bench.settings().seed)
            .into_iter()
            .map(|credential| (workload::primary_key(&credential), credential))
            .collect();
        Self { entries }
    }

    fn time(&self, mut operation: impl FnMut(&CacheKey) -> u64) -> Sample {
        Sample::time(self.entries.len() as u64, || {
            self.entries
                .iter()
                .fold(0_u64, |sum, (key, _)| sum.wrapping_add(operation(key)))
        })
    }

    /// Runs one turn: fills a cache, untimed, then times the removal of each key.
    fn removal(
        &self,
        insert: impl Fn(&CacheKey, &Credential),
        remove: impl Fn(&CacheKey),
        holds: impl Fn(&CacheKey) -> bool,
    ) -> Sample {
        for (key, credential) in &self.entries {
            insert(key, credential);
        }
        let mut sample = self.time(|key| {
            remove(key);
            0
        });
        let left = self.entries.iter().filter(|(key, _)| holds(key));
        sample.checksum = left.count() as u64;
        sample
    }
}

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let input = Input::new(bench);
    bench.subject(
        "level2_hit",
        1,
        vec![promotion(&input), get_and_clone(&input)],
    )?;
    bench.subject("invalidate", 1, removals(&input))
}

/// Makes our contestant. Its L1 holds a hundredth of what is asked for in turn, so every `get` is
/// answered by L2, copies the value into L1 and drops another one there.
fn promotion(input: &Input) -> Contestant<'_> {
    Contestant::new("tidings", move |_| {
        let (runtime, cache) = ours::on_this_thread((input.entries.len() / 100).max(1));
        for (key, credential) in &input.entries {
            ours::set(&cache, key, credential);
        }
        let attached = cache.attach_thread("bench");
        move |_: Turn| {
            let _ = &attached;
            Sample::time(input.entries.len() as u64, || {
                runtime.block_on(async {
                    let mut sum = 0_u64;
                    for (key, _) in &input.entries {
                        let own = ours::cached(&cache, key).await;
                        sum = sum.wrapping_add(own.map_or(0, |own| own.digest()));
                    }
                    sum
                })
            })
        }
    })
}

/// Makes quick_cache's contestant: a `get`, and a copy of the value for the caller's thread alone.
fn get_and_clone(input: &Input) -> Contestant<'_> {
    Contestant::new("quick_cache", move |_| {
        let cache = peers::quick_cache();
        for (key, credential) in &input.entries {
            cache.insert(key.clone(), Arc::new(credential.clone()));
        }
        move |_: Turn| {
            input.time(|key| {
                cache.get(key).map_or(0, |shared| {
                    let own = Arc::new(Credential::clone(&shared));
                    std::hint::black_box(&own).digest()
                })
            })
        }
    })
}

fn removals(input: &Input) -> Vec<Contestant<'_>> {
    vec![
        Contestant::new("tidings", move |_| {
            let (runtime, cache) = ours::on_this_thread(input.entries.len());
            move |_: Turn| {
                let _ = &runtime;
                input.removal(
                    |key, credential| ours::set(&cache, key, credential),
                    |key| drop(cache.invalidate(key)),
                    |key| {
                        cache
                            .probe::<Credential>(key)
                            .is_ok_and(|probe| probe.is_some())
                    },
                )
            }
        }),
        Contestant::new("quick_cache", move |_| {
            let cache = peers::quick_cache();
            move |_: Turn| {
                input.removal(
                    |key, credential| cache.insert(key.clone(), Arc::new(credential.clone())),
                    |key| drop(cache.remove(key)),
                    |key| cache.peek(key).is_some(),
                )
            }
        }),
        Contestant::new("moka", move |_| {
            let cache = moka::sync::Cache::builder()
                .max_capacity(super::ROOM as u64)
                .build_with_hasher(workload::PassOnBuilder::default());
            move |_: Turn| {
                input.removal(
                    |key, credential| cache.insert(key.clone(), Arc::new(credential.clone())),
                    |key| cache.invalidate(key),
                    |key| cache.contains_key(key),
                )
            }
        }),
        Contestant::new("foyer-memory", move |_| {
            let cache = peers::foyer();
            move |_: Turn| {
                input.removal(
                    |key, credential| drop(cache.insert(key.clone(), credential.clone())),
                    |key| drop(cache.remove(key)),
                    |key| cache.contains(key),
                )
            }
        }),
    ]
}
