//! ML19: the L1 serializer of a cache, and that of a call over it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tidings_cache::{Cache, Decoded, GetError, GetOptions, Outcome};

use crate::kit::{Source, k, key};

/// Returns a cache whose workers hold ports as numbers, and the count of its serializer's runs.
fn ports(cache: &Cache) -> (Decoded<String, u16>, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let ports = cache.decoded(move |text: &String| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(text.parse()?)
    });
    (ports, runs)
}

// ML19
#[tokio::test]
async fn the_serializer_of_a_cache_runs_once_per_worker_and_fill() {
    let cache = Cache::builder().build().unwrap();
    let (ports, runs) = ports(&cache);
    let source = Source::default();
    let ask = |view: Decoded<String, u16>| {
        let load = source.give(Some("80".to_owned()));
        async move {
            view.get_entry(k(), GetOptions::default(), load)
                .await
                .unwrap()
        }
    };
    for worker in 1..=2 {
        let _guard = cache.attach_thread("worker");
        let outcomes = [Outcome::L2, Outcome::L1, Outcome::L1];
        for outcome in outcomes {
            // Clones of the view share the serializer, and what it has made.
            let entry = ask(ports.clone()).await;
            assert_eq!(entry.value.as_deref(), Some(&80));
            let first = worker == 1 && outcome == Outcome::L2;
            assert_eq!(entry.outcome, if first { Outcome::Loaded } else { outcome });
        }
        let cached = ports.cached(k()).unwrap().unwrap();
        assert_eq!(
            (cached.outcome, cached.value.as_deref()),
            (Outcome::L1, Some(&80))
        );
        assert_eq!(runs.load(Ordering::SeqCst), worker);
    }
    let _guard = cache.attach_thread("worker");
    ports.cached(k()).unwrap();
    ports.cache().invalidate_local(k());
    assert!(ports.cached(k()).unwrap().is_none());
    ask(ports.clone()).await;
    assert_eq!(
        (runs.load(Ordering::SeqCst), source.loads()),
        (4, 2),
        "a new fill"
    );
}

// ML19
#[tokio::test]
async fn an_error_of_a_caches_serializer_is_an_error_and_leaves_nothing_behind() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let (ports, runs) = ports(&cache);
    let source = Source::default();
    for run in 1..=2 {
        let load = source.give(Some("http".to_owned()));
        let error = ports.get(k(), GetOptions::default(), load).await;
        assert!(matches!(error, Err(GetError::L1Serializer(_))), "{error:?}");
        assert_eq!(runs.load(Ordering::SeqCst), run);
        assert_eq!(cache.thread_stats()[0].l1_entries, 0);
    }
    ports.cached(k()).unwrap_err();
    // What L2 holds is no worse for it.
    assert_eq!(source.loads(), 1);
    let text = cache.cached::<String>(k()).unwrap().unwrap();
    assert_eq!(text.value.as_deref().map(String::as_str), Some("http"));
}

#[tokio::test]
async fn an_absence_has_no_form() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let (ports, runs) = ports(&cache);
    let source = Source::default();
    for _ in 0..2 {
        let load = source.give(None::<String>);
        let got = ports.get(k(), GetOptions::default(), load).await.unwrap();
        assert_eq!(got, None);
    }
    assert_eq!((runs.load(Ordering::SeqCst), source.loads()), (0, 1));
}

/// Per call over per cache over default.
#[tokio::test]
async fn the_serializer_of_a_call_beats_that_of_its_cache_and_that_the_default() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let (ports, runs) = ports(&cache);
    let source = Source::default();
    let load = || source.give(Some("80".to_owned()));
    let by_call = ports
        .get_by(
            &key("a"),
            GetOptions::default(),
            |text| Ok(text.parse::<u16>()? + 1),
            load(),
        )
        .await
        .unwrap();
    assert_eq!(by_call.value.as_deref(), Some(&81));
    assert_eq!(runs.load(Ordering::SeqCst), 0, "the cache's did not run");
    let by_cache = ports.get(&key("b"), GetOptions::default(), load()).await;
    assert_eq!(by_cache.unwrap().as_deref(), Some(&80));
    let plain = key("c");
    let default = cache.get::<String, _>(&plain, GetOptions::default(), load());
    assert_eq!(
        default.await.unwrap().as_deref().map(String::as_str),
        Some("80")
    );
    // A form of another type is never taken for this one, however warm L1 is.
    let length = ports
        .get_by(
            &key("b"),
            GetOptions::default(),
            |text| Ok(text.len()),
            load(),
        )
        .await
        .unwrap();
    assert_eq!(
        (length.value.as_deref(), length.outcome),
        (Some(&2), Outcome::L2)
    );
    let again = ports.get(&key("b"), GetOptions::default(), load()).await;
    assert_eq!(again.unwrap().as_deref(), Some(&80));
    assert_eq!(source.loads(), 3);
}
