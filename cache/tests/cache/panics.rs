//! Code of a value's type that panics: its `Clone`, its `Serialize`, its `Drop`, and the `Display`
//! of a load's error. The call that runs it may fail or panic; no other does, no caller is left
//! waiting, and the cache goes on.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use serde::{Serialize, Serializer};
use tidings_cache::{Cache, GetOptions, Loaded};

use crate::kit::{Source, k, key, timed};

/// Which of a value's own code panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Nothing,
    Clone,
    Serialize,
    Drop,
    Display,
}

/// What the values of one test have in common.
#[derive(Clone, Debug, Default)]
struct Mood(Arc<AtomicU8>);

impl Mood {
    fn set(&self, code: Code) {
        self.0.store(code as u8, Ordering::SeqCst);
    }

    #[track_caller]
    fn runs(&self, code: Code) {
        if self.0.load(Ordering::SeqCst) == code as u8 && !std::thread::panicking() {
            panic!("{code:?}");
        }
    }
}

struct Touchy {
    number: u8,
    mood: Mood,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        self.mood.runs(Code::Clone);
        Self {
            number: self.number,
            mood: self.mood.clone(),
        }
    }
}

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.mood.runs(Code::Serialize);
        serializer.serialize_u8(self.number)
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.mood.runs(Code::Drop);
    }
}

/// The error of a load.
#[derive(Debug)]
struct Touched(Mood);

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.runs(Code::Display);
        f.write_str("the source is down")
    }
}

impl std::error::Error for Touched {}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_cache_goes_on_after_code_of_a_value_has_panicked() {
    for code in [Code::Clone, Code::Serialize, Code::Drop, Code::Display] {
        let (builder, clock) = timed();
        let cache = builder
            .ttl(10 * SECOND)
            .resurrect_ttl(10 * SECOND)
            .refresh_early(0.5)
            .deadline(2 * SECOND)
            .build()
            .unwrap();
        let _guard = cache.attach_thread("worker");
        let mood = Mood::default();
        let touchy = |number| {
            let mood = mood.clone();
            Loaded::new(Touchy { number, mood }).tag("tag")
        };
        let set = |number| drop(cache.set(k(), touchy(number), GetOptions::default()));
        let calls: [(&str, &dyn Fn()); 9] = [
            ("set", &|| set(2)),
            ("cached", &|| drop(cache.cached::<Touchy>(k()))),
            ("probe", &|| drop(cache.probe::<Touchy>(k()))),
            ("json", &|| drop(cache.probe_json(k()))),
            ("invalidate", &|| drop(cache.invalidate(k()))),
            ("invalidate a tag", &|| drop(cache.invalidate_tag("tag"))),
            ("purge", &|| drop(cache.purge())),
            ("sweep", &|| {
                clock.advance(20 * SECOND);
                cache.sweep();
                cache.sweep_level2(Duration::ZERO);
            }),
            ("stats", &|| drop(format!("{:?}", cache.stats()))),
        ];
        for (name, call) in calls {
            mood.set(Code::Nothing);
            set(1);
            drop(cache.cached::<Touchy>(k()).unwrap());

            mood.set(code);
            drop(catch_unwind(AssertUnwindSafe(call)));
            mood.set(Code::Nothing);
            goes_on(&cache, &touchy, &format!("{name}, {code:?}")).await;
        }

        // The same in loads: of one caller, of one that joins it, and behind their backs.
        for (name, later) in [("load", 20), ("refresh", 6)] {
            for fails in [false, true] {
                mood.set(Code::Nothing);
                set(1);
                clock.advance(later * SECOND);

                mood.set(code);
                let ask = || {
                    let mood = mood.clone();
                    let load = || async move {
                        tokio::task::yield_now().await;
                        if fails {
                            return Err(Touched(mood));
                        }
                        Ok(Loaded::new(Touchy { number: 3, mood }).tag("tag"))
                    };
                    let get = cache.get::<Touchy, _>(k(), GetOptions::default(), load);
                    AssertUnwindSafe(get).catch_unwind()
                };
                let (first, second) = tokio::join!(ask(), ask());
                settle(&cache).await;
                mood.set(Code::Nothing);
                drop((first, second));
                goes_on(&cache, &touchy, &format!("{name}, {code:?}, {fails}")).await;
            }
        }
    }
}

async fn settle(cache: &Cache) {
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

/// Checks that neither the key nor another one is affected.
async fn goes_on(cache: &Cache, touchy: &impl Fn(u8) -> Loaded<Touchy>, after: &str) {
    settle(cache).await;
    assert_eq!(cache.stats().waiting, 0, "{after}");
    drop(cache.invalidate(k()));

    let other = key("other");
    for (key, number) in [(k(), 7), (&other, 8)] {
        let load = Source::default().give(touchy(number));
        let got = cache.get(key, GetOptions::default(), load).await.unwrap();
        assert_eq!(got.map(|got| got.number), Some(number), "{after}");
    }
    drop(cache.invalidate(&other));
}

#[test]
fn values_that_leave_l1_together_are_dropped_one_by_one() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let mood = Mood::default();
    for number in 0..4 {
        let name = key(&number.to_string());
        let mood = mood.clone();
        let touchy = Touchy { number, mood };
        cache
            .set(&name, Some(touchy), GetOptions::default())
            .unwrap();
        assert!(cache.cached::<Touchy>(&name).unwrap().is_some());
    }
    assert_eq!(cache.thread_stats()[0].l1_entries, 4);
    cache.purge_local();

    mood.set(Code::Drop);
    cache.sweep();
    assert_eq!(cache.thread_stats()[0].l1_entries, 0);
}
