//! How many look-ups hit: under a skewed load in a small cache, and during a flood of keys that do
//! not exist.

use std::{panic::resume_unwind, thread};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tidings_benches::{
    harness::{Bench, Settings},
    workload::{self, Credential},
};
use tidings_core::CacheKey;

use crate::caches::{Bounded, CACHES};

const POPULATION: usize = 100_000;
const LOOK_UPS: usize = 1_000_000;

const FLOODED: usize = 10_000;
const FLOOD: usize = 10_000_000;
/// Keys that do not exist for each look-up of one that does.
const FLOOD_PER_LOOK_UP: usize = 10;

pub(crate) fn run(bench: &mut Bench) {
    for exponent in [0.9, 1.0, 1.1] {
        let input = Input::new(bench.settings(), POPULATION, LOOK_UPS, exponent);
        for percent in [5, 10, 25] {
            let subject = format!("hit_ratio_zipf_{exponent:.1}_at_{percent}");
            eprintln!("memory: {subject}");
            let room = input.entries.len() * percent / 100;
            figures(bench, &subject, |make| input.hit_ratio(&*make(room)));
        }
    }
    eprintln!("memory: flood_hit_ratio");
    let settings = bench.settings().clone();
    let input = Input::new(&settings, FLOODED, FLOOD / FLOOD_PER_LOOK_UP, 0.99);
    figures(bench, "flood_hit_ratio", |make| {
        input.flooded(&*make(2 * input.entries.len()), settings.seed)
    });
}

/// The contestants share nothing but the input, and a ratio is no time: each has a thread, so that
/// all cores are at work.
fn figures(
    bench: &mut Bench,
    subject: &str,
    ratio: impl Fn(fn(usize) -> Box<dyn Bounded>) -> f64 + Sync,
) {
    let ratio = &ratio;
    let figures: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = CACHES
            .iter()
            // An unbounded map hits whatever it has seen once.
            .filter(|(name, _)| *name != "bare_map")
            .map(|(name, make)| (*name, scope.spawn(move || ratio(*make))))
            .collect();
        running
            .into_iter()
            .map(|(name, thread)| {
                let figure = thread.join();
                (name, figure.unwrap_or_else(|panic| resume_unwind(panic)))
            })
            .collect()
    });
    bench.values(subject, 1, "%", &figures);
}

struct Input {
    entries: Vec<(CacheKey, Credential)>,
    picks: Vec<u32>,
}

impl Input {
    fn new(settings: &Settings, population: usize, look_ups: usize, exponent: f64) -> Self {
        let population = settings.scaled(population);
        let entries = workload::credentials(population, settings.seed)
            .into_iter()
            .map(|credential| (workload::primary_key(&credential), credential))
            .collect();
        Self {
            entries,
            picks: workload::zipf(
                population,
                exponent,
                settings.scaled(look_ups),
                settings.seed,
            ),
        }
    }

    fn look_up(&self, cache: &dyn Bounded, pick: u32) -> bool {
        let (key, credential) = &self.entries[pick as usize];
        cache.look_up(key, Some(credential))
    }

    /// In per cent, from an empty cache on.
    fn hit_ratio(&self, cache: &dyn Bounded) -> f64 {
        let hits = self.picks.iter().filter(|pick| self.look_up(cache, **pick));
        hits.count() as f64 / self.picks.len() as f64 * 100.0
    }

    /// In per cent of the look-ups of keys that exist.
    fn flooded(&self, cache: &dyn Bounded, seed: u64) -> f64 {
        for (key, credential) in &self.entries {
            cache.set(key, credential);
        }
        for pick in &self.picks {
            self.look_up(cache, *pick);
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 1);
        let hits = self.picks.iter().filter(|pick| {
            for _ in 0..FLOOD_PER_LOOK_UP {
                let junk = CacheKey::builder(workload::NAME)
                    .part(&random.random_range(0..i64::MAX))
                    .finish();
                cache.look_up(&junk, None);
            }
            self.look_up(cache, **pick)
        });
        hits.count() as f64 / self.picks.len() as f64 * 100.0
    }
}
