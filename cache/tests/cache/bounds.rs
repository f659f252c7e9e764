//! G12: bounded memory.

use tidings_cache::{Cache, GetOptions, Outcome, SetError};

use crate::kit::{Source, k, key};

#[tokio::test]
async fn l2_stays_within_its_bytes() {
    let cache = Cache::builder().capacity(1 << 20).build().unwrap();
    for index in 0..5_000 {
        let name = index.to_string();
        cache
            .set(
                &key(&name),
                Some(vec![0_u8; index % 900]),
                GetOptions::default(),
            )
            .unwrap();
        cache
            .set::<Vec<u8>>(&key(&format!("absent {name}")), None, GetOptions::default())
            .unwrap();
        let stats = cache.stats();
        assert!(stats.bytes <= stats.capacity, "{stats:?}");
    }
    let stats = cache.stats();
    assert!(
        stats.bytes > stats.capacity / 2,
        "and makes use of them: {stats:?}"
    );
    assert!(stats.evicted_for_space > 0);
    assert_eq!(
        stats.entries + stats.absences + stats.evicted_for_space,
        10_000
    );
}

// ML3, G12
#[tokio::test]
async fn a_flood_of_absences_pushes_out_no_value() {
    let cache = Cache::builder().capacity(1 << 20).build().unwrap();
    for index in 0..100 {
        cache
            .set(&key(&index.to_string()), Some(index), GetOptions::default())
            .unwrap();
    }
    for index in 0..20_000 {
        let load = Source::default().give(None::<i32>);
        cache
            .get(&key(&format!("junk {index}")), GetOptions::default(), load)
            .await
            .unwrap();
    }
    for index in 0..100 {
        assert!(
            cache
                .probe::<i32>(&key(&index.to_string()))
                .unwrap()
                .is_some()
        );
    }
    assert!(cache.stats().absences > 0 && cache.stats().absences < 20_000);
}

#[tokio::test]
async fn what_is_heavier_than_the_whole_cache_is_served_and_not_kept() {
    let cache = Cache::builder().capacity(1 << 20).build().unwrap();
    let _guard = cache.attach_thread("worker");
    for _ in 0..2 {
        let load = Source::default().give(Some(vec![0_u8; 1 << 20]));
        let entry = cache
            .get_entry(k(), GetOptions::default(), load)
            .await
            .unwrap();
        assert_eq!(entry.outcome, Outcome::Loaded);
        assert_eq!(entry.value.unwrap().len(), 1 << 20);
    }
    assert_eq!(cache.stats().refused_heavy, 2);
    // Set over a smaller value, which is removed.
    cache
        .set(k(), Some(vec![0_u8; 1]), GetOptions::default())
        .unwrap();
    let heavy = cache.set(k(), Some(vec![0_u8; 1 << 20]), GetOptions::default());
    let Err(SetError::TooHeavy {
        key,
        weight,
        allowed,
    }) = heavy
    else {
        panic!("{heavy:?}");
    };
    assert!(key == "test:k" && weight > 1 << 20 && allowed < 1 << 20);
    assert!(cache.cached::<Vec<u8>>(k()).unwrap().is_none());
    assert_eq!(cache.stats().refused_heavy, 3);
}

#[tokio::test]
async fn a_value_that_does_not_serialize_is_served_and_not_kept() {
    #[derive(Clone, Debug)]
    struct Opaque;
    impl serde::Serialize for Opaque {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let cache = Cache::builder().build().unwrap();
    let load = Source::default().give(Some(Opaque));
    assert!(
        cache
            .get(k(), GetOptions::default(), load)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!((cache.stats().refused_heavy, cache.stats().entries), (1, 0));
}

/// The clock hand has to pass twice before it finds an entry to evict.
#[tokio::test]
async fn l1_is_bounded_also_when_all_that_it_holds_is_used() {
    let cache = Cache::builder().l1_entries(8).build().unwrap();
    let _guard = cache.attach_thread("worker");
    let names: Vec<_> = (0..300).map(|index| key(&index.to_string())).collect();
    for name in &names {
        cache.set(name, Some(0), GetOptions::default()).unwrap();
    }
    for window in names.windows(8) {
        for _ in 0..2 {
            for name in window {
                drop(cache.cached::<i32>(name).unwrap());
                assert!(cache.thread_stats()[0].l1_entries <= 8);
            }
        }
    }
    assert_eq!(cache.thread_stats()[0].l1_entries, 8);
}

#[tokio::test]
async fn l1_is_bounded_in_entries_and_keeps_what_is_used() {
    let cache = Cache::builder().l1_entries(8).build().unwrap();
    let _guard = cache.attach_thread("worker");
    // Set first: a key that shares its slot with another would cost it its place in L1.
    let names: Vec<_> = (1..200).map(|index| key(&index.to_string())).collect();
    for name in names.iter().chain([&key("hot")]) {
        cache.set(name, Some(0), GetOptions::default()).unwrap();
    }
    for name in &names {
        drop(cache.cached::<i32>(&key("hot")).unwrap());
        drop(cache.cached::<i32>(name).unwrap());
        assert!(cache.thread_stats()[0].l1_entries <= 8);
        let hot = cache.cached::<i32>(&key("hot")).unwrap().unwrap();
        assert_eq!(hot.outcome, Outcome::L1);
    }
    let none = Cache::builder().l1_entries(0).build().unwrap();
    let _guard = none.attach_thread("worker");
    none.set(k(), Some(1), GetOptions::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(
            none.cached::<i32>(k()).unwrap().unwrap().outcome,
            Outcome::L2
        );
    }
}

/// Hits in L1 keep L2's view of what is hot: a key that is only hit in L1 survives a scan through
/// L2.
#[tokio::test]
async fn a_key_that_l1_answers_for_stays_in_l2() {
    let cache = Cache::builder().capacity(256 << 10).build().unwrap();
    let _guard = cache.attach_thread("worker");
    let set = |name: &str| {
        cache
            .set(&key(name), Some(0), GetOptions::default())
            .unwrap()
    };
    // Full before the key comes, so that it has to prove itself.
    for index in 0..2_000 {
        set(&format!("before {index}"));
    }
    set("hot");
    for index in 0..2_000 {
        for _ in 0..64 {
            drop(cache.cached::<i32>(&key("hot")).unwrap().unwrap());
        }
        set(&format!("after {index}"));
    }
    assert!(cache.probe::<i32>(&key("hot")).unwrap().is_some());
    assert!(cache.stats().evicted_for_space > 2_000);
    assert!(cache.stats().age_at_hit.count() > 0);
}

#[tokio::test]
async fn bad_settings_are_refused_when_the_cache_is_built() {
    for (option, builder) in [
        ("capacity", Cache::builder().capacity(1)),
        ("absence_capacity", Cache::builder().absence_capacity(1)),
        (
            "absence_capacity",
            Cache::builder().absence_capacity(60 << 20),
        ),
        ("max_loads", Cache::builder().max_loads(0)),
        ("l1_entries", Cache::builder().l1_entries(usize::MAX)),
        ("jitter", Cache::builder().jitter(7.0)),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(option), "{error}");
    }
}
