//! Models of the fence: the production source under shuttle's schedulers.
//!
//! Each model is a few threads over one key. A source holds a version. A writer changes it,
//! invalidates the key in some way, and then publishes the version. A reader notes the published
//! version, calls `get`, and must not see an older one. Loads read the source and then take their
//! time.
//!
//! The locks inside quick_cache are invisible to shuttle: a call of L2 is one step. Its atomics are
//! sequentially consistent, so a model finds a wrong order and not a wrong `Ordering`.
//!
//! The last test removes each step of the order, or swaps it, and demands that a model fails.

mod bounds;
mod steps;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

use futures_util::FutureExt;
use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use tidings_core::clock::ManualClock;

use crate::{Cache, CacheKey, GetOptions, Loaded, Tag, View, faults, fence::number::Number};

/// Schedules of each model under each of the two schedulers; the environment may ask for more.
fn budget() -> usize {
    let asked = std::env::var("TIDINGS_SCHEDULES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(6_000)
}

/// Schedules within which a removed step must be noticed, under each scheduler.
const FAULT_BUDGET: usize = 60_000;

/// Tests take turns, because all of them note in [`FOUND`] what their models find.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a model has found. It is noted here and not raised as a panic, because a panic in one of
/// shuttle's threads also panics in the others.
static FOUND: Mutex<Option<String>> = Mutex::new(None);

fn found() -> MutexGuard<'static, Option<String>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) {
    if !holds {
        found().get_or_insert_with(otherwise);
    }
}

/// What the threads of a model share.
#[derive(Clone)]
struct Scene {
    cache: Cache,
    key: CacheKey,
    /// What a load reads.
    source: Arc<AtomicU64>,
    /// The published version: no get that begins now may see an older one.
    said: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
    tagged: bool,
    /// Used in place of the cache in models of views.
    view: Option<View<u64>>,
}

const TAG: &str = "all";

impl Scene {
    fn new(tagged: bool) -> Self {
        Self::with_slots(tagged, 1)
    }

    /// Reads through a view, with several slots, so that an entry can have a wrong one.
    fn of_view(tagged: bool) -> Self {
        let mut scene = Self::with_slots(tagged, 2);
        scene.view = Some(scene.cache.view("k").unwrap());
        scene
    }

    fn with_slots(tagged: bool, slots: usize) -> Self {
        let cache = Cache::builder()
            .small(slots)
            .no_deadline()
            .clock(Arc::new(ManualClock::new()))
            .build()
            .unwrap();
        Self {
            cache,
            key: CacheKey::new("k", &["1"]),
            source: Arc::new(AtomicU64::new(1)),
            said: Arc::new(AtomicU64::new(0)),
            loads: Arc::new(AtomicU64::new(0)),
            tagged,
            view: None,
        }
    }

    fn load(
        &self,
    ) -> impl Future<Output = Result<Loaded<u64>, std::io::Error>> + Send + 'static + use<> {
        let (source, loads, tagged) = (self.source.clone(), self.loads.clone(), self.tagged);
        async move {
            loads.fetch_add(1, Ordering::SeqCst);
            let version = source.load(Ordering::SeqCst);
            shuttle::future::yield_now().await;
            let loaded = Loaded::new(version);
            Ok(if tagged { loaded.tag(TAG) } else { loaded })
        }
    }

    fn get(&self) -> u64 {
        let load = || self.load();
        let version = match &self.view {
            Some(view) => shuttle::future::block_on(view.get("1", load)),
            None => {
                let get = self.cache.get(&self.key, GetOptions::default(), load);
                shuttle::future::block_on(get)
            }
        };
        *version.unwrap().expect("a load always gives a value")
    }

    /// Calls `get`, and drops the future after a few polls.
    fn get_and_leave(&self, polls: usize) {
        let get = self
            .cache
            .get(&self.key, GetOptions::default(), || self.load());
        let mut get = Box::pin(get);
        shuttle::future::block_on(async {
            for _ in 0..polls {
                if (&mut get).now_or_never().is_some() {
                    break;
                }
                shuttle::future::yield_now().await;
            }
        });
    }

    fn read(&self) {
        let said = self.said.load(Ordering::SeqCst);
        let seen = self.get();
        demand(seen >= said, || {
            format!("stale: saw version {seen} after {said} was said")
        });
    }

    /// Starts a thread with an L1 that calls `get` several times.
    fn reader(&self, gets: usize) -> thread::JoinHandle<()> {
        let scene = self.clone();
        thread::spawn(move || {
            let _guard = scene.cache.attach_thread("reader");
            for _ in 0..gets {
                scene.read();
            }
        })
    }

    fn writer(&self, write: impl FnOnce(&Scene) + Send + 'static) -> thread::JoinHandle<()> {
        let scene = self.clone();
        thread::spawn(move || {
            write(&scene);
        })
    }

    fn change(&self) {
        self.source.store(2, Ordering::SeqCst);
    }

    fn say(&self) {
        self.said.store(2, Ordering::SeqCst);
    }
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Two readers with warm or cold levels, a caller that goes away, and one write.
fn race(tagged: bool, warm: bool, write: fn(&Scene)) {
    race_in(Scene::new(tagged), warm, write);
}

/// The same as [`race`], through a view.
fn race_of_views(tagged: bool, warm: bool, write: fn(&Scene)) {
    race_in(Scene::of_view(tagged), warm, write);
}

fn race_in(scene: Scene, warm: bool, write: fn(&Scene)) {
    if warm {
        scene.get();
    }

    let mut threads = vec![scene.reader(3), scene.writer(write), scene.reader(2)];
    if !warm {
        let leaver = scene.clone();
        threads.push(thread::spawn(move || leaver.get_and_leave(2)));
    }
    join(threads);
    scene.read();
}

fn invalidate(scene: &Scene) {
    scene.change();
    scene
        .cache
        .0
        .invalidate(std::slice::from_ref(&scene.key), None);
    scene.say();
}

fn purge(scene: &Scene) {
    scene.change();
    scene.cache.0.purge(None);
    scene.say();
}

fn invalidate_tag(scene: &Scene) {
    scene.change();
    scene.cache.0.invalidate_tag(&Tag::from(TAG), None);
    scene.say();
}

/// The flight that a late caller has joined is voided by something else.
fn invalidate_tag_then_all(scene: &Scene) {
    invalidate_tag(scene);
    scene.cache.0.purge(None);
}

/// The late caller came after an earlier number of the tag than its last one.
fn invalidate_tag_twice(scene: &Scene) {
    invalidate_tag(scene);
    scene.cache.0.invalidate_tag(&Tag::from(TAG), None);
}

/// The source does not change: the set is ahead of it.
fn set(scene: &Scene) {
    let value = Loaded::new(2_u64);
    scene
        .cache
        .set(&scene.key, value, GetOptions::default())
        .unwrap();
    scene.say();
}

/// A handler of a change of another entity invalidates by hand; and does so again, as a second
/// worker's would.
fn handle_change(scene: &Scene) {
    scene.change();
    let cause = scene
        .cache
        .apply_change(&[CacheKey::new("other", &["1"])], &[]);
    for _ in 0..2 {
        scene
            .cache
            .0
            .invalidate(std::slice::from_ref(&scene.key), Some(Number(cause)));
    }

    scene.say();
}

fn handle_change_of_tag(scene: &Scene) {
    scene.change();
    let cause = scene.cache.apply_change(&[], &[]);
    for _ in 0..2 {
        scene
            .cache
            .0
            .invalidate_tag(&Tag::from(TAG), Some(Number(cause)));
    }
    scene.say();
}

fn handle_change_of_all(scene: &Scene) {
    scene.change();
    let cause = scene.cache.apply_change(&[], &[]);
    scene.cache.0.purge(Some(Number(cause)));
    scene.say();
}

/// An expired value, a source that is down, and an invalidation: what was invalidated is not served
/// stale afterwards.
fn stale(write: fn(&Scene)) {
    let clock = ManualClock::new();
    let mut scene = Scene::new(false);
    scene.cache = Cache::builder()
        .small(1)
        .no_deadline()
        .resurrect_ttl(std::time::Duration::from_secs(60))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();

    let old = Loaded::new(1_u64)
        .tag(TAG)
        .ttl(std::time::Duration::from_secs(1));
    scene
        .cache
        .set(&scene.key, old, GetOptions::default())
        .unwrap();
    clock.advance(std::time::Duration::from_secs(1));

    let reader = |gets: usize| {
        let scene = scene.clone();
        thread::spawn(move || {
            for _ in 0..gets {
                let said = scene.said.load(Ordering::SeqCst);
                let load = || async { Err::<Option<u64>, _>(std::io::Error::other("down")) };
                let get = scene.cache.get(&scene.key, GetOptions::default(), load);
                if let Ok(Some(seen)) = shuttle::future::block_on(get) {
                    demand(*seen >= said, || {
                        format!("stale: saw version {seen} after {said} was said")
                    });
                }
            }
        })
    };
    join([reader(2), scene.writer(write), reader(2)]);
}

/// An older change of two keys, and a handler of another change of the first of them.
fn two_changes() {
    let scene = Scene::new(false);
    let older = |scene: &Scene| {
        let keys = [scene.key.clone(), CacheKey::new("other", &["1"])];
        scene.cache.apply_change(&keys, &[]);
    };
    join([
        scene.reader(1),
        scene.writer(older),
        scene.writer(handle_change),
    ]);
    scene.read();
}

fn renew(scene: &Scene) {
    scene.change();
    let renewed = scene
        .cache
        .renew(&scene.key, GetOptions::default(), || scene.load());
    let version = shuttle::future::block_on(renewed).unwrap().unwrap();
    // A renewal that joined an older load may return an older version: nothing was invalidated.
    scene.said.store(*version, Ordering::SeqCst);
}

/// Without a write, any number of callers cause one load.
fn one_load() {
    let scene = Scene::new(false);
    join([scene.reader(2), scene.reader(1), scene.reader(1)]);
    let loads = scene.loads.load(Ordering::SeqCst);
    demand(loads == 1, || format!("{loads} loads"));
}

type Model = (&'static str, fn());

fn models() -> impl Iterator<Item = Model> {
    FENCE.into_iter().chain(bounds::MODELS)
}

const FENCE: [Model; 27] = [
    ("invalidate, cold", || race(false, false, invalidate)),
    ("invalidate, warm", || race(false, true, invalidate)),
    ("invalidate, tagged", || race(true, true, invalidate)),
    ("purge, cold", || race(false, false, purge)),
    ("purge, warm", || race(true, true, purge)),
    ("tag, cold", || race(true, false, invalidate_tag)),
    ("tag, warm", || race(true, true, invalidate_tag)),
    ("tag and all, cold", || {
        race(true, false, invalidate_tag_then_all)
    }),
    ("tag twice, cold", || {
        race(true, false, invalidate_tag_twice)
    }),
    ("set, cold", || race(false, false, set)),
    ("set, warm", || race(false, true, set)),
    ("cause, cold", || race(false, false, handle_change)),
    ("cause, warm", || race(false, true, handle_change)),
    ("cause of a tag, warm", || {
        race(true, true, handle_change_of_tag)
    }),
    ("cause of all, warm", || {
        race(true, true, handle_change_of_all)
    }),
    ("two changes", two_changes),
    ("renew, warm", || race(false, true, renew)),
    ("view, cold", || race_of_views(false, false, invalidate)),
    ("view, warm", || race_of_views(false, true, invalidate)),
    ("view, purge", || race_of_views(true, true, purge)),
    ("view, tag", || race_of_views(true, true, invalidate_tag)),
    ("view, set", || race_of_views(false, true, set)),
    ("view, cause", || race_of_views(false, true, handle_change)),
    ("one load", one_load),
    ("stale", || stale(invalidate)),
    ("stale, all", || stale(purge)),
    ("stale, tag", || stale(invalidate_tag)),
];

fn model(name: &str) -> fn() {
    models().find(|(other, _)| *other == name).unwrap().1
}

fn config() -> Config {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
}

/// Runs a model until it finds something. Returns the number of schedules that were run, and what
/// was found.
fn run(model: fn(), schedules: usize, pct: bool) -> (usize, Option<String>) {
    *found() = None;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let body = move || {
        let none = found().is_none();
        if none {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model();
        }
    };

    // Some steps prevent deadlocks, and shuttle panics when no thread can go on.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if pct {
            Runner::new(PctScheduler::new(3, schedules), config()).run(body);
        } else {
            Runner::new(RandomScheduler::new(schedules), config()).run(body);
        }
    }));
    if let Err(panic) = ran {
        let text = tidings_core::panic_text(&*panic).to_owned();
        found().get_or_insert_with(|| text.lines().next().unwrap_or("a panic").to_owned());
    }

    let count = count.load(std::sync::atomic::Ordering::Relaxed);
    (count, found().take())
}

// G1, G2, G11, G14, ML25, ML26
#[test]
fn no_schedule_serves_a_stale_value() {
    let _turn = turn();
    faults::remove(None);

    let mut total = 0;
    for (name, model) in models() {
        for pct in [false, true] {
            let (schedules, found) = run(model, budget(), pct);
            assert_eq!(found, None, "{name}, PCT {pct}, schedule {schedules}");
            total += schedules;
        }
    }

    println!("{total} schedules in {} models", models().count());
    assert!(total >= 100_000 || budget() < 4_000);
}
