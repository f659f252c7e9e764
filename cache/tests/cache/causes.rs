//! G14: one eviction per cause; and what leaves the node.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tidings_cache::{
    Cache, Cause, Confirmation, GetOptions, Invalidation, Loaded, Origin, Outcome, Propagate,
    Unconfirmed,
};
use tidings_core::spawn::{Abort, AbortHandle, Spawn, Task};

use crate::kit::{Gate, Source, k, key, timed};

// G14
#[tokio::test]
async fn the_handler_of_a_second_worker_evicts_nothing() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    let ask = || cache.get_entry(k(), GetOptions::default(), source.give(Some(1_u8)));
    ask().await.unwrap();
    let number = cache.apply_change(&[key("changed")], &[]);
    let cause = Cause {
        number,
        origin: Origin::Local,
    };
    let handler = || {
        let _cause = cause.enter();
        drop(cache.invalidate(k()));
        drop(cache.invalidate(&key("changed")));
        drop(cache.invalidate_tag("tag"));
    };
    handler();
    assert_eq!(cache.stats().evicted_by_invalidation, 1);
    assert_eq!(
        ask().await.unwrap().outcome,
        Outcome::Loaded,
        "older than the change"
    );
    handler();
    assert_eq!(
        ask().await.unwrap().outcome,
        Outcome::L1,
        "nothing is looked up again either"
    );
    assert_eq!(
        (source.loads(), cache.stats().evicted_by_invalidation),
        (2, 1)
    );
    // A later change is another cause.
    let number = cache.apply_change(&[], &[]);
    let _cause = Cause {
        number,
        origin: Origin::Local,
    }
    .enter();
    drop(cache.invalidate(k()));
    assert_eq!(ask().await.unwrap().outcome, Outcome::Loaded);
}

// G14: the node has evicted what the change names before any handler ran.
#[tokio::test]
async fn a_handler_that_evicts_what_its_change_names_costs_no_lookup() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    let ask = || cache.get_entry(k(), GetOptions::default(), source.give(Some(1_u8)));
    let number = cache.apply_change(&[k().clone()], &[]);
    assert_eq!(ask().await.unwrap().outcome, Outcome::Loaded);
    let cause = Cause {
        number,
        origin: Origin::Local,
    };
    {
        let _cause = cause.enter();
        drop(cache.invalidate(k()));
    }
    assert_eq!(ask().await.unwrap().outcome, Outcome::L1);
}

// G14: what was reloaded since the change stays, though the handler was the first.
#[tokio::test]
async fn what_was_loaded_since_the_change_stays() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let number = cache.apply_change(&[], &[]);
    cache
        .set(k(), Some(1_u8), GetOptions::default().tags(["tag"]))
        .unwrap();
    let _cause = Cause {
        number,
        origin: Origin::Remote,
    }
    .enter();
    drop(cache.invalidate(k()));
    drop(cache.invalidate_tag("tag"));
    drop(cache.purge());
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
    // The built-in subscriber acts whatever the thread runs under.
    cache.apply_change(&[key("k")], &[]);
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

/// What a handler has dealt with is remembered for that key, not for its neighbours.
#[tokio::test]
async fn a_handler_may_invalidate_many_keys() {
    let cache = Cache::builder().build().unwrap();
    let keys: Vec<_> = (0..500).map(|index| key(&index.to_string())).collect();
    for key in &keys {
        cache.set(key, Some(1_u8), GetOptions::default()).unwrap();
    }
    let number = cache.apply_change(&[], &[]);
    let _cause = Cause {
        number,
        origin: Origin::Local,
    }
    .enter();
    for key in &keys {
        drop(cache.invalidate(key));
    }
    assert_eq!(cache.stats().evicted_by_invalidation, 500);
    assert_eq!(cache.stats().entries, 0);
}

/// An old value that a worker promoted after the change took its number goes too.
#[tokio::test]
async fn an_old_value_promoted_after_the_change_goes() {
    let cache = Cache::builder().build().unwrap();
    cache
        .set(k(), Some(1_u8), GetOptions::default().tags(["tag"]))
        .unwrap();
    for take in [
        (|cache| drop(cache.invalidate(k()))) as fn(&Cache),
        |cache| drop(cache.invalidate_tag("tag")),
        |cache| drop(cache.purge()),
    ] {
        let _guard = cache.attach_thread("worker");
        let value = GetOptions::default().tags(["tag"]);
        cache.set(k(), Some(1_u8), value).unwrap();
        let number = cache.apply_change(&[], &[]);
        assert_eq!(
            cache.cached::<u8>(k()).unwrap().unwrap().outcome,
            Outcome::L2
        );
        let _cause = Cause {
            number,
            origin: Origin::Local,
        }
        .enter();
        take(&cache);
        assert!(cache.cached::<u8>(k()).unwrap().is_none());
    }
}

/// Runs something once, in the middle of an eviction: where a load is ended, and where a value is
/// dropped.
#[derive(Clone, Default)]
struct Between(Arc<Mutex<Option<Step>>>);

type Step = Box<dyn FnOnce() + Send>;

impl Between {
    fn run(&self) {
        let run = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        run.into_iter().for_each(|run| run());
    }

    /// Lets a load of the key begin, and another change take its number after that. Returns where
    /// that number will be.
    fn changes<L>(&self, cache: &Cache, gate: &Gate, old: L) -> Arc<AtomicU64>
    where
        L: Into<Loaded<u8>> + Send + 'static,
    {
        let number = Arc::new(AtomicU64::new(0));
        let (cache, load, stored) = (
            cache.clone(),
            Source::default().behind(gate, old),
            Arc::clone(&number),
        );
        let run = move || {
            let asked = cache.get(k(), GetOptions::default(), load);
            assert!(asked.now_or_never().is_none()); // the load goes on without its caller
            stored.store(cache.apply_change(&[], &[]), Ordering::SeqCst);
        };
        *self.0.lock().unwrap() = Some(Box::new(run));
        number
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Between").finish_non_exhaustive()
    }
}

impl Spawn for Between {
    fn spawn(&self, task: Task) -> AbortHandle {
        drop(tokio::spawn(task)); // it ends by itself
        AbortHandle::new(Arc::new(self.clone()))
    }
}

impl Abort for Between {
    fn abort(&self) {
        self.run();
    }
}

/// Evicts under the number of a change, lets its load end, and returns whether the load has filled.
async fn fills_after(number: &AtomicU64, cache: &Cache, gate: &Gate, evict: fn(&Cache)) -> bool {
    let number = number.load(Ordering::SeqCst);
    assert!(number > 0, "the other change came in between");
    let origin = Origin::Remote;
    {
        let _cause = Cause { number, origin }.enter();
        evict(cache);
    }
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    cache.cached::<u8>(k()).unwrap().is_some()
}

// G1, G14: what was loaded in between is not older than the first change, but than the other.
#[tokio::test]
async fn a_change_that_comes_between_the_keys_of_another_evicts() {
    let (between, (builder, clock)) = (Between::default(), timed());
    let builder = builder.spawn(Arc::new(between.clone()));
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let late = Gate::new();
    let load = Source::default().behind(&late, Some(1_u8));
    let ask = cache.get(k(), GetOptions::default(), load);
    let (answer, ()) = tokio::join!(ask, async {
        late.reached().await;
        clock.advance(Duration::from_secs(2));
    });
    assert!(answer.is_err(), "it is ended where its key goes");
    while cache.stats().load_deadlines == 0 {
        tokio::task::yield_now().await;
    }

    let gate = Gate::new();
    let number = between.changes(&cache, &gate, Some(1_u8));
    cache.apply_change(&[k().clone(), key("other")], &[]);
    late.open();
    let evict = |cache: &Cache| cache.invalidate_local(k());
    assert!(!fills_after(&number, &cache, &gate, evict).await);
}

// G1, G14
#[tokio::test]
async fn a_change_that_comes_between_the_tags_of_another_and_its_keys_evicts() {
    #[derive(Clone, serde::Serialize)]
    struct Held {
        #[serde(skip)]
        at_end: Between,
    }
    impl Drop for Held {
        fn drop(&mut self) {
            self.at_end.run();
        }
    }

    let (between, gate) = (Between::default(), Gate::new());
    let cache = Cache::builder().build().unwrap();
    let at_end = between.clone();
    let held = Loaded::new(Held { at_end }).tag("tag");
    let set = cache.set(&key("held"), held, GetOptions::default());
    set.unwrap();
    let number = between.changes(&cache, &gate, Loaded::new(1_u8).tag("tag"));
    cache.apply_change(&[key("other")], &["tag".into()]);
    let evict = |cache: &Cache| cache.invalidate_tag_local("tag");
    assert!(!fills_after(&number, &cache, &gate, evict).await);
}

#[derive(Debug, Default)]
struct Others(Mutex<Vec<Invalidation>>);

impl Propagate for Others {
    fn propagate(&self, invalidation: Invalidation, _: u64) -> Confirmation {
        self.0.lock().unwrap().push(invalidation);
        Box::new(|_| {
            let nodes = vec!["b".to_owned()];
            async move { Err(Unconfirmed { nodes }) }.boxed()
        })
    }
}

#[tokio::test]
async fn what_is_invalidated_by_hand_leaves_the_node_and_a_handlers_does_not() {
    let others = Arc::new(Others::default());
    let cache = Cache::builder().propagate(others.clone()).build().unwrap();
    let receipt = cache.invalidate(&[key("a"), key("b")]);
    drop(cache.invalidate_tag("tag"));
    drop(cache.purge());
    cache.invalidate_local(&key("a"));
    cache.invalidate_tag_local("tag");
    cache.purge_local();
    let number = cache.apply_change(&[key("a")], &[]);
    for origin in [Origin::Local, Origin::Remote] {
        let _cause = Cause { number, origin }.enter();
        let receipt = cache.invalidate(&key("a"));
        assert_eq!(
            receipt.confirmed(Duration::ZERO).now_or_never(),
            Some(Ok(()))
        );
    }
    let sent = std::mem::take(&mut *others.0.lock().unwrap());
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(
        matches!(&sent[0], Invalidation::Keys { cache, keys } if &**cache == "default" && **keys == [key("a"), key("b")])
    );
    assert!(matches!(&sent[1], Invalidation::Tag { tag, .. } if &**tag == "tag"));
    assert!(matches!(&sent[2], Invalidation::All { .. }));
    let unconfirmed = receipt.confirmed(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(unconfirmed.to_string(), "not confirmed by b");
}

#[tokio::test]
async fn a_receipt_of_a_lone_node_is_confirmed_at_once() {
    let cache = Cache::builder().build().unwrap();
    let receipt = cache.invalidate(k());
    assert_eq!(receipt.number(), cache.number());
    assert_eq!(
        receipt.confirmed(Duration::ZERO).now_or_never(),
        Some(Ok(()))
    );
}
