//! Explanations of why a key holds what it holds, and what keeping them costs.

use std::{collections::BTreeSet, time::Duration};

use tidings_cache::{
    Cache, CacheKey, Cause, ChangedRow, Event, GetOptions, Handlers, Loaded, LoadedBy, Origin,
    Reason,
};
use tidings_core::{Operation, log::GapReason};

use crate::kit::{Gate, Source, k, key, timed};

const SECOND: Duration = Duration::from_secs(1);

fn events(cache: &Cache, key: &CacheKey) -> Vec<Event> {
    let history = cache.explain(key).map(|it| it.history);
    let history = history.unwrap_or_default().into_iter();
    history.map(|it| it.event).collect()
}

fn change(row: i64) -> Reason {
    Reason::Change {
        rows: vec![ChangedRow::new("keys", Operation::Update, row.into())],
        node: Some("a".into()),
        place: None,
        mark: None,
    }
}

#[tokio::test]
async fn an_explanation_names_the_entry_and_the_load_that_filled_it() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).build().unwrap();
    assert!(cache.explain(k()).is_none());
    let load = Source::default().give(Some(7_u8));
    cache.get(k(), GetOptions::default(), load).await.unwrap();
    clock.advance(4 * SECOND);

    let explanation = cache.explain(k()).unwrap();
    let held = explanation.held.unwrap();
    assert_eq!(held.type_name, Some("u8"));
    assert_eq!((held.age, held.remaining), (4 * SECOND, Some(6 * SECOND)));
    assert!(held.bytes > 0);
    let [load] = &explanation.history[..] else {
        panic!("{:?}", explanation.history);
    };
    assert_eq!((load.ago, load.number), (4 * SECOND, held.number));
    let by = LoadedBy::Miss;
    let took = Duration::ZERO;
    let refused = None;
    assert_eq!(load.event, Event::Loaded { by, took, refused });

    cache.set(k(), None::<u8>, GetOptions::default()).unwrap();
    let explanation = cache.explain(k()).unwrap();
    assert_eq!(explanation.held.unwrap().type_name, None);
    let by = LoadedBy::Set;
    assert_eq!(
        explanation.history[0].event,
        Event::Loaded { by, took, refused }
    );
}

#[tokio::test]
async fn an_explanation_names_what_has_voided_a_load() {
    let local = tokio::task::LocalSet::new();
    let voided = async {
        let cache = Cache::builder().build().unwrap();
        let gate = Gate::new();
        let load = Source::default().behind(&gate, Some(1_u8));
        let asked = {
            let cache = cache.clone();
            tokio::task::spawn_local(
                async move { cache.get(k(), GetOptions::default(), load).await },
            )
        };
        gate.reached().await;
        let due_to = change(7).enter();
        let number = cache.apply_change(std::slice::from_ref(k()), &[]);
        drop(due_to);
        gate.open();
        asked.await.unwrap().unwrap();

        let explanation = cache.explain(k()).unwrap();
        assert!(explanation.held.is_none());
        let refused = match explanation.history[0].event {
            Event::Loaded { refused, .. } => refused,
            ref other => panic!("{other:?}"),
        };
        assert_eq!(refused, Some("voided"));
        let evicted = &explanation.history[1];
        let (held, voided) = (false, 1);
        assert_eq!(evicted.event, Event::Invalidated { held, voided });
        assert_eq!(evicted.reason.as_deref(), Some(&change(7)));
        assert_eq!(evicted.handlers, None);
        cache.note_handlers(number, Handlers::Everywhere);
        let explanation = cache.explain(k()).unwrap();
        assert_eq!(explanation.history[1].handlers, Some(Handlers::Everywhere));
    };
    local.run_until(voided).await;
}

#[tokio::test]
async fn what_a_handler_evicts_by_hand_is_due_to_its_change() {
    let cache = Cache::builder().build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let due_to = change(7).enter();
    let number = cache.apply_change(&[key("other")], &[]);
    drop(due_to);
    {
        let origin = Origin::Local;
        let _handler = Cause { number, origin }.enter();
        cache.invalidate_local(k());
        cache.invalidate_local(k()); // a second one has nothing left to do
    }
    let explanation = cache.explain(k()).unwrap();
    assert_eq!(explanation.history.len(), 2);
    assert_eq!(explanation.history[0].cause, Some(number));
    assert_eq!(explanation.history[0].reason.as_deref(), Some(&change(7)));

    cache.invalidate_local(k());
    let explanation = cache.explain(k()).unwrap();
    assert!(explanation.history[0].cause.is_none() && explanation.history[0].reason.is_none());
}

#[tokio::test]
async fn an_explanation_has_tags_purges_and_ends() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let other = cache.named("other").unwrap();
    let tagged = Loaded::new(1_u8).tag("tenant:acme");
    cache.set(k(), tagged, GetOptions::default()).unwrap();
    drop(cache.invalidate_tag("tenant:acme"));
    assert_eq!(events(&cache, k())[0], Event::Tagged("tenant:acme".into()));

    {
        let _due_to = Reason::Gap(GapReason::Trimmed).enter();
        cache.purge_node();
    }
    let explanation = cache.explain(k()).unwrap();
    assert_eq!(explanation.history[0].event, Event::Purged);
    let reason = explanation.history[0].reason.as_deref();
    assert_eq!(reason, Some(&Reason::Gap(GapReason::Trimmed)));
    assert!(cache.explain(&key("unheard of")).is_none());
    assert!(other.explain(k()).is_none(), "it has had no such key");

    clock.advance(SECOND);
    let short = GetOptions::default().ttl(SECOND);
    cache.set(k(), Some(1_u8), short).unwrap();
    clock.advance(2 * SECOND);
    assert_eq!(cache.sweep_level2(Duration::ZERO), 1);
    assert_eq!(events(&cache, k())[0], Event::Expired);
    // A purge before a key's first record is no part of its history.
    let new = key("new");
    cache.set(&new, Some(1_u8), GetOptions::default()).unwrap();
    assert_eq!(events(&cache, &new).len(), 1);
}

#[tokio::test]
async fn a_hit_and_a_probe_leave_no_record() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let before = events(&cache, k());
    for _ in 0..1_000 {
        assert!(cache.cached::<u8>(k()).unwrap().is_some());
        cache.probe::<u8>(k()).unwrap();
    }
    assert_eq!(events(&cache, k()), before);
}

#[tokio::test]
async fn a_walk_finds_every_entry_of_its_cache_once_and_no_other() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).build().unwrap();
    let other = cache.named("other").unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..500 {
        let key = key(&number.to_string());
        let value = (number % 5 != 0).then_some(number);
        cache.set(&key, value, GetOptions::default()).unwrap();
        expected.insert((key.to_string(), value.is_none()));
    }
    other.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let short = GetOptions::default().ttl(SECOND);
    cache.set(&key("gone"), Some(1_u8), short).unwrap();
    clock.advance(2 * SECOND);

    let all: Vec<_> = cache.walk().flatten().collect();
    let found: BTreeSet<_> = all
        .iter()
        .map(|it| (it.key.to_string(), it.is_absence))
        .collect();
    assert_eq!((found, all.len()), (expected, 500));
    assert!(all.iter().all(|it| it.age == 2 * SECOND && it.bytes > 0));
    assert!(
        all.iter()
            .filter(|it| !it.is_absence)
            .all(|it| it.remaining == Some(8 * SECOND))
    );
    let steps = cache.walk().count();
    assert_eq!(
        steps, 502,
        "entries of others, and those past their time, are steps too"
    );

    // Entries may come and go meanwhile.
    let mut walk = cache.walk();
    walk.next();
    cache.purge_node();
    assert_eq!(walk.flatten().count(), 0);
}
