//! What a `get` answers, and how.

use tidings_cache::{Attach, Cache, Entry, GetError, GetOptions, Outcome};

use crate::kit::{Failure, Source, k, key};

// ML2
#[tokio::test]
async fn values_of_every_kind_round_trip_through_both_levels() {
    async fn round_trip<V>(cache: &Cache, name: &str, value: V)
    where
        V: tidings_cache::Cacheable + PartialEq + std::fmt::Debug,
    {
        let key = key(name);
        for outcome in [Outcome::Loaded, Outcome::L2] {
            let load = Source::default().give(Some(value.clone()));
            let got = cache
                .get_entry::<V, _>(&key, GetOptions::default(), load)
                .await;
            let got = got.unwrap();
            assert_eq!(got.value.as_deref(), Some(&value));
            assert_eq!(got.outcome, outcome);
        }
        let _guard = cache.attach_thread("worker");
        for outcome in [Outcome::L2, Outcome::L1] {
            let got = cache.cached::<V>(&key).unwrap().unwrap();
            assert_eq!(got.value.as_deref(), Some(&value));
            assert_eq!(got.outcome, outcome);
        }
    }
    #[derive(Clone, Debug, PartialEq, serde::Serialize)]
    struct Row {
        id: u64,
        name: Option<String>,
    }
    let cache = Cache::builder().attach(Attach::ByHand).build().unwrap();
    let row = Row { id: 1, name: None };
    round_trip(&cache, "struct", row).await;
    round_trip(&cache, "string", "text".to_owned()).await;
    round_trip(&cache, "number", -1.5_f64).await;
    round_trip(&cache, "bool", false).await;
    round_trip(&cache, "unit", ()).await;
    round_trip(&cache, "list", vec![1_u8, 2]).await;
}

// ML9
#[tokio::test]
async fn an_answer_names_its_outcome_for_values_and_absences() {
    let cache = Cache::builder().build().unwrap();
    for value in [Some(7_u64), None] {
        let key = key(if value.is_some() { "value" } else { "absence" });
        let source = Source::default();
        let ask = || cache.get_entry::<u64, _>(&key, GetOptions::default(), source.give(value));
        let guard = cache.attach_thread("first");
        assert_eq!(answered(ask().await), (value, Outcome::Loaded));
        assert_eq!(answered(ask().await), (value, Outcome::L1));
        drop(guard);
        let _other = cache.attach_thread("second");
        assert_eq!(answered(ask().await), (value, Outcome::L2));
        assert_eq!(answered(ask().await), (value, Outcome::L1));
        assert_eq!(source.loads(), 1);
    }
}

fn answered(answer: Result<Entry<u64>, GetError>) -> (Option<u64>, Outcome) {
    let entry = answer.unwrap();
    (entry.value.as_deref().copied(), entry.outcome)
}

// ML10
#[tokio::test]
async fn an_error_of_the_load_reaches_the_caller_as_it_was_and_is_not_cached() {
    let cache = Cache::builder().build().unwrap();
    let load = || async { Err::<Option<u64>, _>(Failure::other("down")) };
    let error = cache
        .get(k(), GetOptions::default(), load)
        .await
        .unwrap_err();
    assert_eq!(error.load_error::<Failure>().unwrap().to_string(), "down");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<Failure>().is_some(), "{source:?}");
    assert!(cache.cached::<u64>(k()).unwrap().is_none());
    let load = Source::default().give(Some(1_u64));
    let value = cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert_eq!(value.as_deref(), Some(&1));
    assert_eq!(cache.stats().load_errors, 1);
}

// ML1
#[tokio::test]
async fn a_load_that_panics_is_an_error_and_the_next_call_loads_again() {
    let cache = Cache::builder().build().unwrap();
    let in_future = || async {
        if true {
            panic!("boom")
        } else {
            Ok::<_, Failure>(Some(1_u64))
        }
    };
    let in_call = || {
        if true {
            panic!("bang {}", 1);
        }
        async { Ok::<_, Failure>(Some(1_u64)) }
    };
    let error = cache
        .get(k(), GetOptions::default(), in_future)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, GetError::Panicked(panicked) if panicked.message == "boom"),
        "{error}"
    );
    let error = cache
        .get(k(), GetOptions::default(), in_call)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, GetError::Panicked(panicked) if panicked.message == "bang 1"),
        "{error}"
    );
    let load = Source::default().give(Some(1_u64));
    let value = cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert_eq!(value.as_deref(), Some(&1));
    assert_eq!(cache.stats().load_panics, 2);
}

// ML14
#[tokio::test]
async fn without_a_load_a_hit_an_absence_and_a_miss_can_be_told_apart() {
    let cache = Cache::builder().build().unwrap();
    cache
        .set(&key("value"), Some(1_u64), GetOptions::default())
        .unwrap();
    cache
        .set::<u64>(&key("absence"), None, GetOptions::default())
        .unwrap();
    for (name, value) in [("value", Some(1)), ("absence", None)] {
        let entry = cache.cached::<u64>(&key(name)).unwrap().unwrap();
        assert_eq!(answered(Ok(entry)), (value, Outcome::L2));
    }
    assert_eq!(cache.cached::<u64>(&key("miss")).unwrap(), None);
}

#[tokio::test]
async fn asking_for_another_type_names_both() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set(k(), Some(1_u64), GetOptions::default()).unwrap();
    for _ in 0..2 {
        let load = Source::default().give(Some("text".to_owned()));
        let error = cache
            .get(k(), GetOptions::default(), load)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("u64") && text.contains("String") && text.contains("test:k"),
            "{text}"
        );
        // In L1 the second time.
        assert_eq!(
            cache.cached::<u64>(k()).unwrap().unwrap().value.as_deref(),
            Some(&1)
        );
    }
    assert!(cache.probe::<String>(k()).is_err());
    assert!(cache.set(k(), Some(1_i8), GetOptions::default()).is_err());
}

// ML29
#[tokio::test]
async fn what_get_hands_out_cannot_be_changed_under_another_caller() {
    let cache = Cache::builder().build().unwrap();
    cache
        .set(k(), Some(vec![1_u8]), GetOptions::default())
        .unwrap();
    for attached in [false, true] {
        let _guard = attached.then(|| cache.attach_thread("worker"));
        let ask = || {
            cache
                .cached::<Vec<u8>>(k())
                .unwrap()
                .unwrap()
                .value
                .unwrap()
        };
        let mut mine = ask();
        assert!(
            std::sync::Arc::get_mut(&mut mine).is_none(),
            "the cache holds it too"
        );
        std::sync::Arc::make_mut(&mut mine).push(2);
        assert_eq!(*ask(), [1]);
    }
}
