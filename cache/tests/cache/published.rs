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
        ("absence_hits", 1),
        ("misses", 3),
        ("loads", 3),
        ("invalidations", 1),
        ("sets", 0),
    ] {
        assert_eq!(counted(&recorder, "default", name), count, "{name}");
    }
    for (name, label, count) in [
        ("hits", "level=l1", 3),
        ("hits", "level=l2", 0),
        ("load_failures", "kind=error", 1),
        ("load_failures", "kind=panic", 0),
        ("evictions", "cause=invalidated", 1),
        ("evictions", "cause=expired", 0),
        ("evictions", "cause=space", 0),
        ("evictions", "cause=purged", 0),
        ("refused_fills", "cause=heavy", 0),
    ] {
        let series = format!("tidings_cache_{name}_total{{cache=default,{label}}}");
        assert_eq!(recorder.meter(&series), Meter::Counter(count), "{series}");
    }
    other.purge_local();
    let purged = "tidings_cache_evictions_total{cache=other,cause=purged}";
    assert_eq!(
        recorder.meter(purged),
        Meter::Counter(0),
        "the tag was invalidated"
    );
    let gauge = |name: &str| recorder.meter(&format!("tidings_cache_{name}"));
    assert_eq!(gauge("entries"), Meter::Gauge(0.0));
    assert_eq!(gauge("absences"), Meter::Gauge(1.0));
    assert_eq!(gauge("bytes"), Meter::Gauge(cache.stats().bytes as f64));
    assert_eq!(gauge("capacity_bytes"), Meter::Gauge((1 << 20) as f64));
    assert_eq!(gauge("loads_in_flight{cache=default}"), Meter::Gauge(0.0));
    for (name, count) in [("sets", 1), ("tag_invalidations", 1), ("loads", 0)] {
        assert_eq!(counted(&recorder, "other", name), count, "{name}");
    }
}

/// The load-time histogram: of loads that end, however they do, by the cache's clock; each
/// published once.
#[tokio::test]
async fn how_long_loads_took_is_published_with_its_sum() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
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
    let recorder = published(&cache);
    let Meter::Histogram(took) = recorder.meter("tidings_cache_load_seconds{cache=default}") else {
        panic!("not a histogram");
    };
    let sum: f64 = took
        .iter()
        .map(|(seconds, count)| seconds * *count as f64)
        .sum();
    assert!((sum - 0.008).abs() < 1e-9, "{took:?}");
    // One below a microsecond, one between two and four milliseconds, one between four and eight.
    let bounds = [(0.0, 1e-6), (0.002_048, 0.004_096), (0.004_096, 0.008_192)];
    assert_eq!(took.len(), bounds.len(), "{took:?}");
    for ((seconds, count), (low, high)) in took.into_iter().zip(bounds) {
        assert!(seconds > low && seconds <= high && count == 1, "{seconds}");
    }
    let seen = cache.stats().load_time;
    assert_eq!((seen.count(), seen.sum), (3, Duration::from_millis(8)));
}

/// The histogram of ages at hits: a sample of them, each published once.
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
    hits(4_000);
    let first = ages();
    let sampled = cache.stats().age_at_hit.count() as usize;
    assert!(sampled > 0 && sampled < 4_000);
    assert!(
        (first[0].0 - 3e-6).abs() < 1e-12 && first[0].1 == sampled,
        "{first:?}"
    );
    assert_eq!(first.len(), 1);
    assert_eq!(ages(), first, "nothing new");
    clock.advance(Duration::from_millis(1));
    hits(4_000);
    let both = ages();
    assert_eq!(both[0], first[0]);
    let later = cache.stats().age_at_hit.count() as usize - sampled;
    assert!(
        (both[1].0 - 1003e-6).abs() < 1e-12 && both[1].1 == later,
        "{both:?}"
    );
    assert_eq!(both.len(), 2);
}
