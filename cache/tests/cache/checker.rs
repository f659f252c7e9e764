//! Random operations on real threads, each stamped at its begin and end from one counter;
//! afterwards no read may be impossible: of a version that was replaced, for every caller, before
//! the read began. Nor may two loads of a key run with nothing between them that could have asked
//! for the second.
//!
//! A few thousand rounds by default; `TIDINGS_CHECK_SECONDS=60` runs for that long. Built with
//! `--cfg tidings_faults` (`scripts/check-guards`), it also leaves out each step of the fence in
//! turn and says how soon it notices.

mod beside;
mod places;
mod proven;
mod queued;
mod stuck;
mod writes;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tidings_cache::{Attach, Cache, GetOptions, ManualClock, Ttl, View};
use tokio::runtime::{Handle, Runtime};

use self::places::{PLACES, Place, Places};

const THREADS: u64 = 4;

/// How long to look.
#[derive(Clone, Copy)]
enum Until {
    Rounds(u64),
    Time(Duration),
}

/// What a run has seen.
struct Seen {
    reads: u64,
    after: Duration,
    impossible: Option<String>,
}

/// xorshift: a check that is run again asks the same questions, if at other moments.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Once in this many times.
    pub(crate) fn seldom(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What all threads of a run share.
struct Check {
    cache: Cache,
    /// Of the same keys.
    view: View<u64>,
    clock: ManualClock,
    runtime: Handle,
    places: Places,
    reads: AtomicU64,
    found: AtomicBool,
    impossible: Mutex<Option<String>>,
}

impl Check {
    fn demand(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.found.store(true, Ordering::Relaxed);
            self.impossible
                .lock()
                .unwrap()
                .get_or_insert_with(otherwise);
        }
    }

    /// Notes what may be read from now on, reads, and compares. A load may fail.
    fn read(&self, place: &Place, read: impl FnOnce() -> Option<u64>) {
        let promised = place.promised();
        if let Some(got) = read() {
            self.demand(got >= promised, || {
                format!(
                    "stale: read {got} of {} after {promised} was promised",
                    place.name
                )
            });
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        self.demand(!place.loaded_twice(), || {
            format!("two loads of {} with nothing between them", place.name)
        });
    }

    fn step(&self, random: &mut Random) {
        let place = &self.places.all[random.below(PLACES) as usize];
        let key = &place.key;
        match random.below(64) {
            0..6 => self.write(place, random),
            6..8 => {
                // The caller may go away before the answer.
                let get = self
                    .cache
                    .get(key, place.options(random), place.load(random));
                drop(get.now_or_never());
            }
            8..11 => self.read(place, || {
                let load = self.places.bulk_load();
                let keys = &self.places.keys();
                let options = GetOptions::default()
                    .no_deadline()
                    .abandon_after(Ttl::Never);
                let got = self
                    .runtime
                    .block_on(self.cache.get_bulk(keys, options, load));
                let at = keys.iter().position(|other| other == key)?;
                got.ok().map(|got| *got[at].as_deref().unwrap())
            }),
            11 => self.cache.sweep(),
            12..16 => self.clock.advance(places::TTL / 2),
            16..18 => self.read(place, || {
                let got = self.cache.cached::<u64>(key).unwrap();
                got.map(|got| *got.value.unwrap())
            }),
            18..22 if !place.counts_loads() => self.set_late(place, random),
            22..24 => self.read(place, || {
                let got = self.view.peek(place.part.as_str());
                got.map(|got| *got.unwrap())
            }),
            24..40 => self.read(place, || {
                let view = self
                    .view
                    .clone()
                    .with_options(place.options(random))
                    .unwrap();
                let got = view.get(place.part.as_str(), place.load(random));
                self.runtime.block_on(got).ok().map(|got| *got.unwrap())
            }),
            _ => self.read(place, || {
                let got = self
                    .cache
                    .get_blocking(key, place.options(random), place.load(random));
                got.ok().map(|got| *got.unwrap())
            }),
        }
    }

    fn thread(&self, thread: u64, until: Until, began: Instant) {
        let mut random = Random(0x5EED_1234_ABCD + (thread << 40));
        // One thread has no L1.
        let _guard = (thread > 0).then(|| self.cache.attach_thread(format!("thread {thread}")));
        for round in 0.. {
            let ended = match until {
                Until::Rounds(rounds) => round >= rounds,
                Until::Time(time) => began.elapsed() >= time,
            };
            if ended || self.found.load(Ordering::Relaxed) {
                break;
            }
            self.step(&mut random);
        }
    }
}

fn check(runtime: &Runtime, until: Until) -> (Seen, Cache) {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .clock(std::sync::Arc::new(clock.clone()))
        .attach(Attach::ByHand)
        .l1_entries(2)
        .resurrect_ttl(places::TTL)
        .refresh_early(0.5)
        .deadline(3 * places::TTL)
        .build()
        .unwrap();
    let check = Check {
        cache: cache.clone(),
        view: cache.view("test").unwrap(),
        clock,
        runtime: runtime.handle().clone(),
        places: Places::new(),
        reads: AtomicU64::new(0),
        found: AtomicBool::new(false),
        impossible: Mutex::new(None),
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let check = &check;
            scope.spawn(move || check.thread(thread, until, began));
        }
    });
    let seen = Seen {
        reads: check.reads.into_inner(),
        after: began.elapsed(),
        impossible: check.impossible.into_inner().unwrap(),
    };
    (seen, cache)
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

// G1, G2, G11, G14
#[test]
fn no_read_is_impossible() {
    let seconds = std::env::var("TIDINGS_CHECK_SECONDS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let until = match seconds {
        Some(seconds) => Until::Time(Duration::from_secs(seconds)),
        None => Until::Rounds(10_000),
    };
    let (seen, cache) = check(&runtime(), until);
    assert_eq!(seen.impossible, None, "after {:?}", seen.after);
    let stats = cache.stats();
    println!(
        "{} reads in {:?}, none impossible; {stats:?}",
        seen.reads, seen.after
    );
    assert!(
        stats.l1_hits > 0 && stats.l2_hits > 0 && stats.loads > 0 && stats.joined > 0,
        "{stats:?}"
    );
    assert!(stats.refused_void > 0 && stats.load_errors > 0, "{stats:?}");
    assert!(seen.reads > 1_000);
}

/// The steps whose absence keeps callers waiting, and shows no old value.
#[cfg(tidings_faults)]
const STUCK: [&str; 4] = [
    "PermitsPassOn",
    "LeaversPassOn",
    "NestedGoAhead",
    "OverdueGivesBack",
];

/// The steps that a node needs that keeps and proves nothing.
#[cfg(tidings_faults)]
const QUEUED: [&str; 2] = ["QueuedJoinLater", "LaterCallersQueue"];

/// The steps that matter where a renewal and another load of its key run at once.
#[cfg(tidings_faults)]
const BESIDE: [&str; 2] = ["RenewOutdates", "DisplacedGivesNothing"];

/// Makes rounds until one finds something, or the time is over.
#[cfg(tidings_faults)]
fn rounds(mut round: impl FnMut() -> Option<String>, limit: Duration) -> Seen {
    let began = Instant::now();
    let mut impossible = None;
    while impossible.is_none() && began.elapsed() < limit {
        impossible = round();
    }
    Seen {
        reads: 0,
        after: began.elapsed(),
        impossible,
    }
}

#[test]
fn callers_on_a_node_that_proves_nothing_share_loads_that_began_after_they_called() {
    let runtime = runtime();
    for _ in 0..10 {
        assert_eq!(queued::round(&runtime), None);
    }
}

#[test]
fn no_caller_waits_for_ever() {
    let runtime = runtime();
    for _ in 0..10 {
        assert_eq!(stuck::round(&runtime), None);
    }
}

#[test]
fn what_a_renewal_gives_is_what_is_read_from_then_on() {
    let (runtime, mut random) = (runtime(), Random(0x5eed));
    for _ in 0..10 {
        assert_eq!(beside::round(&runtime, &mut random), None);
    }
}

/// A node's proofs, and what it may serve because of them.
#[test]
fn nothing_is_served_that_was_proven_too_late() {
    let (runtime, mut random) = (runtime(), Random(0x5eed));
    for _ in 0..50 {
        assert_eq!(proven::round(&runtime, &mut random), None);
    }
}

/// The step whose absence shows only where a node has a bound.
#[cfg(tidings_faults)]
const PROVEN: &str = "ProofNotedFirst";

/// Each absence is seen within ten seconds.
#[cfg(tidings_faults)]
#[test]
fn each_removed_guard_is_found() {
    let (runtime, mut random) = (runtime(), Random(0x5eed));
    let only = std::env::var("TIDINGS_GUARD").ok();
    let mut missed = Vec::new();
    for guard in tidings_cache::guards() {
        if only.as_deref().is_some_and(|only| only != guard) {
            continue;
        }
        tidings_cache::remove_guard(Some(guard));
        let limit = Duration::from_secs(10);
        let seen = match guard {
            PROVEN => rounds(|| proven::round(&runtime, &mut random), limit),
            _ if BESIDE.contains(&guard) => rounds(|| beside::round(&runtime, &mut random), limit),
            _ if STUCK.contains(&guard) => rounds(|| stuck::round(&runtime), limit),
            _ if QUEUED.contains(&guard) => rounds(|| queued::round(&runtime), limit),
            _ => check(&runtime, Until::Time(limit)).0,
        };
        tidings_cache::remove_guard(None);
        let reads = seen.reads;
        match seen.impossible {
            Some(what) => println!(
                "| {guard} | {:.2} s | {reads} | {what} |",
                seen.after.as_secs_f64()
            ),
            None => {
                println!("| {guard} | not found | {reads} | |");
                missed.push(guard);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
