//! The cache's counts and histograms through the `metrics` facade.

#[path = "../../../events/tests/metrics/recorder.rs"]
mod recorder;

use std::time::Duration;

use tidings_cache::{Attach, Cache, CacheSettings, GetOptions};

use self::recorder::{Meter, Recorder};
use crate::kit::{Failure, Gate, Source, k, key, timed};

fn published(cache: &Cache) -> Recorder {
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, || cache.publish_metrics());
    recorder
}

fn counted(recorder: &Recorder, cache: &str, name: &str) -> u64 {
    match recorder.meter(&format!("tidings_cache_{name}_total{{cache={cache}}}")) {
        Meter::Counter(count) => count,
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn every_count_is_published_under_its_name_and_its_caches() {
    let cache = Cache::builder().capacity(1 << 20).build().unwrap();
    let other = cache.named_with("other", CacheSettings::default()).unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    for _ in 0..3 {
        let load = source.give(Some(1_u8));
        cache.get(k(), GetOptions::default(), load).await.unwrap();
    }
    let absent = source.give(None::<u8>);
    cache
        .get(&key("absent"), GetOptions::default(), absent)
        .await
        .unwrap();
    cache.cached::<u8>(&key("absent")).unwrap();
    let fails = || async { Err::<Option<u8>, _>(Failure::other("down")) };
    cache
        .get(&key("fails"), GetOptions::default(), fails)
        .await
        .unwrap_err();
    other
        .set(k(), Some(1_u8), GetOptions::default().tags(["tag"]))
        .unwrap();
    drop(other.invalidate_tag("tag"));
    cache.invalidate_local(k());
    let recorder = published(&cache);
    for (name, count) in [
        ("l1_hits", 3),
        ("l2_hits", 0),
        ("absence_hits", 1),
        ("misses", 3),
        ("loads", 3),
        ("load_errors", 1),
        ("load_panics", 0),
        ("invalidations", 1),
        ("evicted_by_invalidation", 1),
        ("sets", 0),
    ] {
        assert_eq!(counted(&recorder, "default", name), count, "{name}");
    }
    // All there are, with what the snapshot says.
    for (name, count) in cache.stats().counters() {
        assert_eq!(counted(&recorder, "default", name), count, "{name}");
    }
    let gauge = |name: &str| recorder.meter(&format!("tidings_cache_{name}{{cache=default}}"));
    assert_eq!(gauge("entries"), Meter::Gauge(0.0));
    assert_eq!(gauge("absences"), Meter::Gauge(1.0));
    assert_eq!(gauge("bytes"), Meter::Gauge(cache.stats().bytes as f64));
    assert_eq!(gauge("capacity_bytes"), Meter::Gauge((1 << 20) as f64));
    assert_eq!(gauge("loads_in_flight"), Meter::Gauge(0.0));
    let recorder = published(&other);
    for (name, count) in [("sets", 1), ("tag_invalidations", 1), ("loads", 0)] {
        assert_eq!(counted(&recorder, "other", name), count, "{name}");
    }
}

/// The load-time histogram: of loads that end, however they do, by the cache's clock.
#[tokio::test]
async fn how_long_loads_took_is_recorded_as_they_end() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (gate, source) = (Gate::new(), Source::default());
    for milliseconds in [3, 5] {
        let load = source.behind(&gate, Some(1_u8));
        let (got, ()) = tokio::join!(cache.renew(k(), GetOptions::default(), load), async {
            gate.reached().await;
            clock.advance(Duration::from_millis(milliseconds));
            assert_eq!(cache.stats().in_flight, 1);
            gate.open();
        });
        got.unwrap();
    }
    let fails = || async { Err::<Option<u8>, _>(Failure::other("down")) };
    cache
        .get(&key("fails"), GetOptions::default(), fails)
        .await
        .unwrap_err();
    let seconds = recorder.meter("tidings_cache_load_seconds{cache=default}");
    let all = vec![(0.003, 1), (0.005, 1), (0.0, 1)];
    assert_eq!(seconds, Meter::Histogram(all));
    let seen = cache.stats().load_time;
    assert_eq!((seen.count(), seen.sum), (3, Duration::from_millis(8)));
}

/// The histogram of ages at hits: a sample of them, each told once.
#[tokio::test]
async fn how_old_hits_were_is_published_once() {
    let (builder, clock) = timed();
    let cache = builder.attach(Attach::ByHand).build().unwrap();
    let recorder = Recorder::default();
    let ages = || match metrics::with_local_recorder(&recorder, || {
        cache.publish_metrics();
        recorder.meter("tidings_cache_age_at_hit_seconds{cache=default}")
    }) {
        Meter::Histogram(ages) => ages,
        other => panic!("{other:?}"),
    };
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let hits = |count: usize| {
        for _ in 0..count {
            cache.cached::<u8>(k()).unwrap().unwrap();
        }
    };
    assert_eq!(ages(), []);
    clock.advance(Duration::from_micros(3));
    hits(160);
    let first = ages();
    let sampled = cache.stats().age_at_hit.count() as usize;
    assert!(sampled > 0 && sampled < 160);
    assert_eq!(first, [(4e-6, sampled)], "below four microseconds");
    assert_eq!(ages(), first, "nothing new");
    clock.advance(Duration::from_millis(1));
    hits(160);
    let both = ages();
    assert_eq!(both[0], first[0]);
    let later = cache.stats().age_at_hit.count() as usize - sampled;
    assert_eq!(both[1..], [(1024e-6, later)]);
}
