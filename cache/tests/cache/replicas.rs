//! Values that were read at a position: from a lagging replica, or by a caller that reads first and
//! sets later.

use tidings_cache::{Cache, CacheKey, Cause, GetOptions, Loaded, Origin, SetError};

use crate::kit::{Failure, Gate, k, key};

/// C5: void and slot of each key are one step, whatever else the same call invalidates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_from_before_an_invalidation_of_many_keys_is_refused() {
    let cache = Cache::builder().build().unwrap();
    let keys: Vec<CacheKey> = std::iter::once(k().clone())
        .chain((0..100_000).map(|index| key(&index.to_string())))
        .collect();
    for _ in 0..3 {
        let before = cache.number();
        let gate = Gate::new();
        let voided = {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let load = || async move {
                    gate.pass().await;
                    Ok::<_, Failure>(Some(0_u8))
                };
                cache.get(k(), GetOptions::default(), load).await
            })
        };
        gate.reached().await;
        let invalidates = {
            let (cache, keys) = (cache.clone(), keys.clone());
            tokio::task::spawn_blocking(move || cache.invalidate_local(&keys))
        };
        // From the moment in which the key's load is void on, a load that starts is a new one.
        loop {
            let load = || async move { Ok::<_, Failure>(Some(Loaded::new(1_u8).read_at(before))) };
            let load = || {
                let loading = load();
                async move {
                    loading
                        .await
                        .map(|loaded| loaded.unwrap_or(Loaded::absent()))
                }
            };
            let options = GetOptions::default().deadline(std::time::Duration::from_millis(50));
            if cache.get(k(), options, load).await.is_ok() {
                break;
            }
        }
        invalidates.await.unwrap();
        gate.open();
        voided.await.unwrap().unwrap();
        assert!(
            cache.probe::<u8>(k()).unwrap().is_none(),
            "it was read before the invalidation"
        );
    }
}

#[tokio::test]
async fn a_conditional_set_is_refused_if_the_key_was_changed_since() {
    let cache = Cache::builder().build().unwrap();
    let changes: [&dyn Fn(); 5] = [
        &|| drop(cache.invalidate(k())),
        &|| drop(cache.invalidate_tag("any")),
        &|| drop(cache.purge()),
        &|| cache.set(k(), Some(9_u8), GetOptions::default()).unwrap(),
        &|| {
            cache.apply_change(std::slice::from_ref(k()), &[]);
        },
    ];
    for change in changes {
        let value = |read_at| Loaded::new(1_u8).read_at(read_at);
        let read_at = cache.number();
        change();
        let held = cache.cached::<u8>(k()).unwrap().map(|entry| entry.value);
        let refused = cache.set(k(), value(read_at), GetOptions::default());
        assert!(
            matches!(refused, Err(SetError::Changed { .. })),
            "{refused:?}"
        );
        let holds = cache.cached::<u8>(k()).unwrap().map(|entry| entry.value);
        assert_eq!(holds, held, "nothing was changed");
        cache
            .set(k(), value(cache.number()), GetOptions::default())
            .unwrap();
        assert!(cache.cached::<u8>(k()).unwrap().is_some());
    }
    assert_eq!(cache.stats().refused_sets, 5);
}

/// K6: what a `set` leaves between two handlers of one change is as new as a reload; what was read
/// before it is not.
#[tokio::test]
async fn a_set_between_two_handlers_survives_unless_its_value_was_read_before() {
    let cache = Cache::builder().build().unwrap();
    let read_at = cache.number();
    let number = cache.apply_change(&[], &[]);
    let cause = Cause {
        number,
        origin: Origin::Local,
    };
    let handler = || {
        let _cause = cause.enter();
        drop(cache.invalidate(k()));
    };
    handler();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    handler();
    assert!(cache.cached::<u8>(k()).unwrap().is_some());

    // Another key, which the first handler has not reached: the value is older than the change, and
    // goes.
    let late = key("late");
    let old = Loaded::new(1_u8).read_at(read_at);
    cache.set(&late, old, GetOptions::default()).unwrap();
    let _cause = cause.enter();
    drop(cache.invalidate(&late));
    assert!(cache.cached::<u8>(&late).unwrap().is_none());
}
