//! Subject group `hit`: everything that is asked for is cached.
//!
//! - `hit_zipf_N`: N credentials by primary key (56 bytes of text), Zipf 0.99. Every contestant is
//!   keyed by the prebuilt [`CacheKey`] and passes its carried hash on.
//! - `hit_one_hot_key`: one key, the worst case for whatever is shared between threads.
//! - `api_key_to_credential_zipf_N`: from the 32 characters of an API key to the credential, the
//!   cache key built and hashed (SipHash-1-3) on every call. Three have no cache key at all:
//!   `tidings view`, and `quick_cache by str` with its own default hasher (foldhash) and with the
//!   standard library's (SipHash-1-3); the peers can cache one entity only.
//!
//! Every contestant answers with an owned handle that may cross an `.await`, and is asked within an
//! async block on a current-thread runtime, as a handler of requests would.

// Our cache behind the one face of all contestants.
mod ours;
// The peers behind that face.
mod peers;

use std::{future::Future, hint::black_box, ops::Deref};

use tidings_core::CacheKey;
use tokio::runtime::{self, Runtime};

use crate::{
    harness::{Bench, BenchError, Contestant, Sample, Settings, Turn},
    workload::{self, Credential},
};

/// Look-ups of one turn.
const LOOK_UPS: usize = 1 << 16;
/// Look-ups before the clock of a turn starts: the contestant before had the processor's caches.
const UNTIMED: usize = 1 << 12;

/// Runs the group.
///
/// # Errors
///
/// When two contestants find different credentials.
pub fn run(settings: Settings) -> Result<Bench, BenchError> {
    let mut bench = Bench::new("hit", settings);
    for threads in [1, 2] {
        for population in [100, 1_000, 10_000] {
            let subject = format!("hit_zipf_{population}");
            group(&mut bench, &subject, threads, population, Ask::CacheKey)?;
        }
        group(&mut bench, "hit_one_hot_key", threads, 1, Ask::CacheKey)?;
        for population in [100, 1_000, 10_000] {
            let subject = format!("api_key_to_credential_zipf_{population}");
            group(&mut bench, &subject, threads, population, Ask::ApiKey)?;
        }
    }
    Ok(bench)
}

/// The form of the key that a caller has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    CacheKey,
    ApiKey,
}

/// A cache that is asked, on a hit only.
trait LookUp {
    type Answer: Answer;

    /// The cache's own call, and nothing around it: a future within a future would be on the bill.
    fn get(&self, key: &CacheKey) -> impl Future<Output = Self::Answer>;
}

/// A cache that is asked by API key, without a cache key.
trait LookUpStr {
    type Answer: Answer;

    /// As [`LookUp::get`].
    fn get(&self, api_key: &str) -> impl Future<Output = Self::Answer>;
}

/// The answer of a cache: it owns a handle that may be kept across an `.await`.
trait Answer {
    fn digest(self) -> u64;
}

impl<H: Deref<Target = Credential>> Answer for Option<H> {
    fn digest(self) -> u64 {
        self.map_or(0, |credential| credential.digest())
    }
}

impl<H: Deref<Target = Credential>, E> Answer for Result<Option<H>, E> {
    fn digest(self) -> u64 {
        self.map_or(0, Answer::digest)
    }
}

/// The input of one subject.
struct Input {
    credentials: Vec<Credential>,
    keys: Vec<CacheKey>,
    picks: Vec<u32>,
    ask: Ask,
}

impl Input {
    fn new(settings: &Settings, population: usize, ask: Ask) -> Self {
        let credentials = workload::credentials(population, settings.seed);
        let keys = credentials
            .iter()
            .map(|credential| match ask {
                Ask::CacheKey => workload::primary_key(credential),
                Ask::ApiKey => workload::key_of(&credential.key),
            })
            .collect();
        Self {
            picks: workload::zipf(population, 0.99, settings.scaled(LOOK_UPS), settings.seed),
            credentials,
            keys,
            ask,
        }
    }

    /// Each key with its credential.
    fn entries(&self) -> impl Iterator<Item = (&CacheKey, &Credential)> {
        self.keys.iter().zip(&self.credentials)
    }

    /// One turn of a contestant.
    fn turn<L: LookUp>(&self, runtime: &Runtime, cache: &L) -> Sample {
        runtime.block_on(async {
            let untimed = &self.picks[..UNTIMED.min(self.picks.len())];
            black_box(self.look_up(cache, untimed).await);
        });
        Sample::time(self.picks.len() as u64, || {
            runtime.block_on(self.look_up(cache, &self.picks))
        })
    }

    /// One turn of a contestant that has no cache key.
    fn turn_by_str<L: LookUpStr>(&self, runtime: &Runtime, cache: &L) -> Sample {
        runtime.block_on(async {
            let untimed = &self.picks[..UNTIMED.min(self.picks.len())];
            black_box(self.look_up_str(cache, untimed).await);
        });
        Sample::time(self.picks.len() as u64, || {
            runtime.block_on(self.look_up_str(cache, &self.picks))
        })
    }

    async fn look_up_str<L: LookUpStr>(&self, cache: &L, picks: &[u32]) -> u64 {
        let mut sum = 0_u64;
        for pick in picks {
            let api_key = black_box(self.credentials[*pick as usize].key.as_str());
            sum = sum.wrapping_add(cache.get(api_key).await.digest());
        }
        sum
    }

    async fn look_up<L: LookUp>(&self, cache: &L, picks: &[u32]) -> u64 {
        let mut sum = 0_u64;
        match self.ask {
            Ask::CacheKey => {
                for pick in picks {
                    let found = cache.get(black_box(&self.keys[*pick as usize])).await;
                    sum = sum.wrapping_add(found.digest());
                }
            }
            Ask::ApiKey => {
                for pick in picks {
                    let api_key = black_box(self.credentials[*pick as usize].key.as_str());
                    let found = cache.get(&workload::key_of(api_key)).await;
                    sum = sum.wrapping_add(found.digest());
                }
            }
        }
        sum
    }
}

fn current_thread() -> Runtime {
    runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing from the system")
}

/// Makes a contestant of a cache that every thread of the subject shares.
fn shared<'a, L: LookUp + Sync + 'a>(name: &str, input: &'a Input, cache: &'a L) -> Contestant<'a> {
    Contestant::new(name, move |_| {
        let runtime = current_thread();
        move |_: Turn| input.turn(&runtime, cache)
    })
}

fn group(
    bench: &mut Bench,
    subject: &str,
    threads: usize,
    population: usize,
    ask: Ask,
) -> Result<(), BenchError> {
    let input = Input::new(bench.settings(), population, ask);
    let peers = peers::Peers::new(&input);
    let ours = ours::Ours::new(&input);
    let mut contestants = vec![ours.contestant(&input), peers::bare_map(&input)];
    contestants.extend(peers.contestants(&input));
    if ask == Ask::ApiKey {
        contestants.push(ours.view(&input));
    }
    bench.subject(subject, threads, contestants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contestants_find_the_same_credentials() {
        let bench = run(Settings::quick()).expect("checksums agree");
        assert!(bench.rows().len() > 70, "{}", bench.rows().len());
    }
}
