//! Models of what the fence's own models keep constant: positions, permits, time, nested loads, and
//! how loads end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use shuttle::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use tidings_core::clock::ManualClock;

use super::{Scene, demand, invalidate, invalidate_tag, join, purge, renew, set};
use crate::{Cache, CacheBuilder, CacheKey, Fills, GetOptions, Loaded, Pass, Proof};

fn key(name: &str) -> CacheKey {
    CacheKey::new("k", &[name])
}

/// A value and its position are read first, as by a lagging replica, and loaded later. The cache
/// must not hold anything older than what the writer has published.
fn positions(tagged: bool, write: fn(&Scene)) {
    let scene = Scene::new(tagged);
    let replica = {
        let scene = scene.clone();
        thread::spawn(move || {
            let position = scene.cache.number();
            let version = scene.source.load(Ordering::SeqCst);
            let loaded = Loaded::new(version).read_at(position);
            let loaded = if scene.tagged {
                loaded.tag(super::TAG)
            } else {
                loaded
            };
            let load = || async move { Ok::<_, std::io::Error>(loaded) };
            let got = scene.cache.get(&scene.key, GetOptions::default(), load);
            drop(shuttle::future::block_on(got));
        })
    };
    let finder = {
        let scene = scene.clone();
        thread::spawn(move || find(&scene))
    };
    join([replica, scene.writer(write), finder]);
    find(&scene);
}

/// The same for a caller that sets what it has read.
fn late_set(write: fn(&Scene)) {
    let scene = Scene::new(false);
    let setter = {
        let scene = scene.clone();
        thread::spawn(move || {
            let position = scene.cache.number();
            let version = scene.source.load(Ordering::SeqCst);
            let loaded = Loaded::new(version).read_at(position);
            drop(scene.cache.set(&scene.key, loaded, GetOptions::default()));
        })
    };
    join([setter, scene.writer(write)]);
    find(&scene);
}

fn find(scene: &Scene) {
    let said = scene.said.load(Ordering::SeqCst);
    if let Ok(Some(entry)) = scene.cache.cached::<u64>(&scene.key) {
        let seen = *entry.value.expect("only values are loaded");
        demand(seen >= said, || {
            format!("stale: found version {seen} after {said} was said")
        });
    }
}

/// The backing store first: a caller that reads it later may set what it read.
fn change_and_set(scene: &Scene) {
    scene.change();
    set(scene);
}

fn invalidate_many(scene: &Scene) {
    scene.change();
    let keys = [scene.key.clone(), key("another")];
    scene.cache.invalidate_local(&keys);
    scene.say();
}

fn bounded(loads: usize, build: impl FnOnce(CacheBuilder) -> CacheBuilder) -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    let builder = Cache::builder()
        .small(1)
        .max_loads(loads)
        .no_deadline()
        .clock(Arc::new(clock.clone()));
    (build(builder).build().unwrap(), clock)
}

/// A load that yields once or twice.
async fn short() -> Result<Option<u64>, std::io::Error> {
    shuttle::future::yield_now().await;
    Ok(Some(1))
}

fn caller(cache: &Cache, name: &str, options: GetOptions) -> thread::JoinHandle<()> {
    let (cache, key) = (cache.clone(), key(name));
    thread::spawn(move || {
        let got = cache.get::<u64, _>(&key, options, short);
        drop(shuttle::future::block_on(got));
    })
}

/// One permit for three loads, one of which is dropped by its caller as time passes. The others
/// still end, and never two of them run at once.
fn permits() {
    let (cache, clock) = bounded(1, |builder| builder);
    let running = Arc::new(AtomicBool::new(false));
    let exclusive = |name: &'static str| {
        let (cache, running) = (cache.clone(), Arc::clone(&running));
        thread::spawn(move || {
            let load = || async move {
                let before = running.swap(true, Ordering::SeqCst);
                demand(!before, || "two loads ran with one permit".to_owned());
                shuttle::future::yield_now().await;
                running.store(false, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Some(1_u64))
            };
            let key = key(name);
            let got = cache.get(&key, GetOptions::default(), load);
            let got = shuttle::future::block_on(got);
            demand(got.is_ok(), || format!("a load with time failed: {got:?}"));
        })
    };
    let leaver = caller(
        &cache,
        "leaves",
        GetOptions::default().deadline(Duration::from_secs(1)),
    );
    let time = thread::spawn(move || clock.advance(Duration::from_secs(1)));
    join([exclusive("a"), leaver, exclusive("b"), time]);
}

/// A load that hangs gives its permit back when it is overdue.
fn hangs() {
    let (cache, clock) = bounded(1, |builder| builder);
    let started = Arc::new(AtomicBool::new(false));
    let hung = {
        let (cache, started) = (cache.clone(), Arc::clone(&started));
        thread::spawn(move || {
            let options = GetOptions::default().deadline(Duration::from_secs(1));
            let load = || async move {
                started.store(true, Ordering::SeqCst);
                std::future::pending::<Result<Option<u64>, std::io::Error>>().await
            };
            let key = key("hangs");
            let got = cache.get(&key, options, load);
            let got = shuttle::future::block_on(got);
            demand(got.is_err(), || "a load that hangs gave a value".to_owned());
        })
    };
    let well = caller(&cache, "well", GetOptions::default());
    let time = thread::spawn(move || {
        while !started.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        clock.advance(Duration::from_secs(1));
    });
    join([hung, well, time]);
    drop(cache);
}

/// A load waits for another, which a plain caller may have started, with one permit for both.
fn nested() {
    let (cache, _clock) = bounded(1, |builder| builder);
    let outer = {
        let cache = cache.clone();
        thread::spawn(move || {
            let inner = cache.clone();
            let load = || async move {
                let key = key("inner");
                let got = inner.get::<u64, _>(&key, GetOptions::default(), short);
                Ok::<_, std::io::Error>(got.await.ok().flatten().map(|got| *got))
            };
            let key = key("outer");
            let got = cache.get(&key, GetOptions::default(), load);
            let got = shuttle::future::block_on(got).ok().flatten();
            demand(got.as_deref() == Some(&1), || {
                format!("a nested load gave {got:?}")
            });
        })
    };
    join([outer, caller(&cache, "inner", GetOptions::default())]);
}

/// Callers of one key with deadlines of their own, a clock that jumps, and an invalidation: no
/// caller waits indefinitely, and none that has time left fails.
fn deadlines() {
    let scene = {
        let mut scene = Scene::new(false);
        let (cache, clock) = bounded(1, |builder| builder);
        scene.cache = cache;
        (scene, clock)
    };
    let (scene, clock) = scene;
    let ask = |deadline: Option<u64>| {
        let scene = scene.clone();
        thread::spawn(move || {
            let options = match deadline {
                Some(seconds) => GetOptions::default().deadline(Duration::from_secs(seconds)),
                None => GetOptions::default(),
            };
            let got = scene.cache.get(&scene.key, options, || scene.load());
            let got = shuttle::future::block_on(got);
            demand(deadline.is_some() || got.is_ok(), || {
                format!("a caller without a deadline got {got:?}")
            });
        })
    };
    let time = thread::spawn(move || {
        clock.advance(Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
    });
    join([ask(Some(1)), ask(None), scene.writer(invalidate), time]);
    scene.read();
}

/// A renewal, and a caller for whom the load in progress is too old, so that two loads of the key
/// run at once while the source changes: the result of the renewal is not undone.
fn renewals() {
    let (scene, clock) = {
        let mut scene = Scene::new(false);
        let (cache, clock) = bounded(1, |builder| builder);
        scene.cache = cache;
        (scene, clock)
    };
    let renewer = {
        let scene = scene.clone();
        thread::spawn(move || {
            let options = GetOptions::default();
            let renewed = scene.cache.renew(&scene.key, options, || scene.load());
            if let Ok(Some(version)) = shuttle::future::block_on(renewed) {
                scene.said.fetch_max(*version, Ordering::SeqCst);
            }
        })
    };
    let asker = {
        let scene = scene.clone();
        thread::spawn(move || {
            let options = GetOptions::default().max_staleness(Duration::from_secs(1));
            let got = scene.cache.get(&scene.key, options, || scene.load());
            drop(shuttle::future::block_on(got));
        })
    };
    let time = thread::spawn(move || clock.advance(Duration::from_secs(1)));
    join([renewer, asker, scene.writer(Scene::change), time]);
    find(&scene);
}

/// A node that keeps nothing and proves nothing: others may have given it up.
#[derive(Debug)]
struct GivenUp;

impl Fills for GivenUp {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        None
    }

    fn holds(&self, _: Pass) -> bool {
        false
    }

    fn is_given_up(&self) -> bool {
        true
    }

    fn proof(&self) -> Proof {
        Proof::None
    }
}

/// Callers of one key on a node that others may have given up: one load runs at a time, and no
/// caller gets a value that was read before its call.
fn queue() {
    let (cache, _clock) = bounded(4, |builder| {
        let builder = builder.staleness_ceiling(Duration::from_secs(10));
        builder.fills(Arc::new(GivenUp))
    });
    let scene = {
        let mut scene = Scene::new(false);
        scene.cache = cache;
        scene
    };
    let running = Arc::new(AtomicBool::new(false));
    let ask = || {
        let (scene, running) = (scene.clone(), Arc::clone(&running));
        thread::spawn(move || {
            let said = scene.said.load(Ordering::SeqCst);
            let load = || {
                let load = scene.load();
                async move {
                    let before = running.swap(true, Ordering::SeqCst);
                    demand(!before, || "two loads of one key ran".to_owned());
                    let loaded = load.await;
                    running.store(false, Ordering::SeqCst);
                    loaded
                }
            };
            let got = scene.cache.get(&scene.key, GetOptions::default(), load);
            let got = shuttle::future::block_on(got).ok().flatten();
            let seen = got.map(|version| *version);
            demand(seen >= Some(said), || {
                format!("stale: got version {seen:?} after {said} was said")
            });
        })
    };
    let writer = {
        let scene = scene.clone();
        thread::spawn(move || {
            scene.change();
            scene.say();
        })
    };
    join([ask(), ask(), ask(), writer]);
}

/// A value that invalidates its own key when its last part is dropped, however it leaves the cache.
fn meddling() {
    #[derive(Clone, serde::Serialize)]
    struct Meddles {
        #[serde(skip)]
        _part: Arc<Part>,
    }
    struct Part(Mutex<Option<Cache>>);
    impl Drop for Part {
        fn drop(&mut self) {
            let cache = self.0.lock().ok().and_then(|mut cache| cache.take());
            cache.into_iter().for_each(|cache| {
                cache.invalidate_local(&key("meddles"));
            });
        }
    }

    let (cache, _clock) = bounded(1, |builder| builder);
    let value = |cache: &Cache| {
        let _part = Arc::new(Part(Mutex::new(Some(cache.clone()))));
        Some(Meddles { _part })
    };
    let setter = {
        let cache = cache.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                let loaded = Loaded::from(value(&cache)).tag("tag");
                drop(cache.set(&key("meddles"), loaded, GetOptions::default()));
            }
        })
    };
    let taker = {
        let cache = cache.clone();
        thread::spawn(move || {
            cache.invalidate_tag_local("tag");
            cache.purge_local();
        })
    };
    join([setter, taker]);
    cache.purge_local();
}

pub(super) const MODELS: [(&str, fn()); 14] = [
    ("position, many keys", || positions(false, invalidate_many)),
    ("position, purge", || positions(false, purge)),
    ("position, tag", || positions(true, invalidate_tag)),
    ("late set, key", || late_set(invalidate)),
    ("late set, all", || late_set(purge)),
    ("late set, set", || late_set(change_and_set)),
    ("late set, renew", || late_set(renew)),
    ("permits", permits),
    ("hangs", hangs),
    ("nested", nested),
    ("deadlines", deadlines),
    ("renewals", renewals),
    ("meddling", meddling),
    ("queue", queue),
];
