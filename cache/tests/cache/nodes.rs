//! G1, G2, G14 and receipts across nodes, on the wires of the public kit.

use std::time::Duration;

use futures_util::FutureExt;
use tidings_cache::{
    Cache, CacheKey, CacheSettings, Cause, GetOptions, Loaded, Outcome,
    kit::{Delivery, Nodes},
};

use crate::kit::{Gate, Source, k, key};

fn two() -> Nodes {
    Nodes::two(|builder| builder).unwrap()
}

fn set(cache: &Cache, key: &CacheKey) {
    let options = GetOptions::default().tags(["tag"]);
    cache.set(key, Some(1_u8), options).unwrap();
}

fn holds(cache: &Cache, key: &CacheKey) -> bool {
    cache.cached::<u8>(key).unwrap().is_some()
}

type Take = fn(&Nodes);

/// The ways in which node `a` makes node `b` forget the key: each sends one message.
const TAKES: [(&str, Take); 5] = [
    ("keys", |nodes| drop(nodes.cache("a").invalidate(k()))),
    ("tag", |nodes| drop(nodes.cache("a").invalidate_tag("tag"))),
    ("purge", |nodes| drop(nodes.cache("a").purge())),
    ("change", |nodes| {
        nodes.change("a", &[key("k")], &[]);
    }),
    ("change of a tag", |nodes| {
        nodes.change("a", &[], &["tag".into()]);
    }),
];

#[tokio::test]
async fn an_invalidation_acts_on_the_other_node_once_it_is_delivered() {
    for (name, take) in TAKES {
        let nodes = two();
        let b = nodes.cache("b");
        let _guard = b.attach_thread("worker");
        set(b, k());
        assert!(holds(b, k()) && holds(b, k()), "in both levels");
        take(&nodes);
        assert!(holds(b, k()), "{name}: on its way");
        assert_eq!(nodes.wire("a", "b").waiting(), 1);
        let delivery = nodes.wire("a", "b").deliver();
        assert!(matches!(delivery, Some(Delivery::Applied { .. })));
        assert!(!holds(b, k()), "{name}: L1 and L2");
        assert_eq!(nodes.wire("a", "b").deliver(), None);
    }
}

/// Otherwise a message would circulate, and fill a cache with a value that no one there has read.
#[tokio::test]
async fn a_received_message_is_not_sent_on_and_fills_nothing() {
    for (name, take) in TAKES {
        let nodes = Nodes::named(&["a", "b", "c"], |builder| builder).unwrap();
        set(nodes.cache("a"), k());
        take(&nodes);
        nodes.deliver_all();
        for (from, to) in [("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")] {
            assert_eq!(nodes.wire(from, to).sent(), 0, "{name}");
        }
        for node in ["a", "b", "c"] {
            let stats = nodes.cache(node).stats();
            assert_eq!((stats.entries, stats.absences, stats.loads), (0, 0, 0));
        }
    }
}

// ML25 (d), for each way that a remote node has, and for the purge after a gap.
#[tokio::test]
async fn a_load_begun_before_a_remote_invalidation_cannot_fill() {
    let gap: Take = |nodes| {
        let a = nodes.cache("a");
        drop(a.invalidate(k()));
        nodes.wire("a", "b").lose();
        drop(a.invalidate(&key("other")));
    };
    for (name, take) in TAKES.into_iter().chain([("gap", gap)]) {
        let nodes = two();
        let b = nodes.cache("b");
        let _guard = b.attach_thread("worker");
        let (gate, source) = (Gate::new(), Source::default());
        let load = source.behind(&gate, Loaded::new(1_u8).tag("tag"));
        let (old, late) = tokio::join!(b.get_entry(k(), GetOptions::default(), load), async {
            gate.reached().await;
            take(&nodes);
            nodes.deliver_all();
            let load = source.give(Loaded::new(2_u8).tag("tag"));
            // A tag's late caller waits for the old load, so the gate opens first.
            let late = b.get_entry(k(), GetOptions::default(), load);
            tokio::join!(late, async { gate.open() }).0
        });
        assert_eq!(old.unwrap().value.as_deref(), Some(&1), "{name}: answered");
        let late = late.unwrap();
        assert_eq!(late.value.as_deref(), Some(&2), "{name}: its own load");
        let kept = b.cached::<u8>(k()).unwrap().unwrap();
        assert_eq!(kept.value.as_deref(), Some(&2), "{name}");
        let stats = b.stats();
        assert_eq!(stats.refused_void + stats.refused_tag, 1, "{name}");
        assert_eq!(source.loads(), 2, "{name}");
    }
}

/// A carrier delivers at least once. The second time evicts what is older than the first, so
/// nothing.
#[tokio::test]
async fn a_message_that_comes_twice_costs_one_eviction_and_one_load() {
    for (name, take) in TAKES {
        let nodes = two();
        let b = nodes.cache("b");
        let _guard = b.attach_thread("worker");
        let source = Source::default();
        let ask = || {
            let load = source.give(Loaded::new(1_u8).tag("tag"));
            b.get_entry(k(), GetOptions::default(), load)
        };
        ask().await.unwrap();
        take(&nodes);
        let first = nodes.wire("a", "b").deliver().unwrap().cause();
        assert_eq!(ask().await.unwrap().outcome, Outcome::Loaded);
        let again = nodes.wire("a", "b").repeat();
        assert_eq!(again, Some(Delivery::Again { cause: first }), "{name}");
        assert_ne!(ask().await.unwrap().outcome, Outcome::Loaded, "{name}");
        let evicted = b.stats().evicted_by_invalidation + b.stats().evicted_by_purge;
        assert_eq!((evicted, source.loads()), (1, 2), "{name}");
    }
}

#[tokio::test]
async fn a_lost_message_purges_every_cache_of_the_node_when_the_next_one_comes() {
    let nodes = two();
    let (a, b) = (nodes.cache("a"), nodes.cache("b"));
    let other = b
        .named_with("other", CacheSettings::default().l1_entries(1))
        .unwrap();
    let fill = || {
        for cache in [b, &other] {
            set(cache, k());
            set(cache, &key("unrelated"));
        }
    };
    fill();
    drop(a.invalidate(k()));
    assert!(nodes.wire("a", "b").lose() && !nodes.wire("a", "b").lose());
    drop(a.invalidate(&key("next")));
    assert!(holds(b, k()), "nothing has told it yet");
    let delivery = nodes.wire("a", "b").deliver();
    assert!(matches!(delivery, Some(Delivery::Gap { lost: 1, .. })));
    for cache in [b, &other] {
        assert!(!holds(cache, k()) && !holds(cache, &key("unrelated")));
    }
    // The loss of the last message is noticed by asking; asking once is enough.
    fill();
    drop(a.invalidate(k()));
    nodes.wire("a", "b").lose();
    assert!(nodes.wire("a", "b").catch_up());
    assert!(!holds(b, k()) && !holds(&other, k()));
    fill();
    assert!(!nodes.wire("a", "b").catch_up());
    assert!(holds(b, k()) && holds(&other, k()));
}

/// To the receiver this looks like a loss, until the late message comes, for which it has purged
/// already.
#[tokio::test]
async fn a_message_that_overtakes_another_purges_and_the_late_one_evicts_nothing() {
    let nodes = two();
    let (a, b) = (nodes.cache("a"), nodes.cache("b"));
    set(b, &key("unrelated"));
    drop(a.invalidate(k()));
    drop(a.invalidate(&key("overtakes")));
    let delivery = nodes.wire("a", "b").deliver_nth(1);
    assert!(matches!(delivery, Some(Delivery::Gap { lost: 1, .. })));
    assert!(!holds(b, &key("unrelated")));
    set(b, k());
    let late = nodes.wire("a", "b").deliver();
    assert!(matches!(late, Some(Delivery::Again { .. })), "{late:?}");
    assert!(holds(b, k()), "loaded since the purge");
    assert_eq!(nodes.wire("a", "b").waiting(), 0);
    drop(a.invalidate(k()));
    let next = nodes.wire("a", "b").deliver();
    assert!(matches!(next, Some(Delivery::Applied { .. })));
    assert!(!holds(b, k()));
}

#[tokio::test]
async fn messages_of_two_senders_come_in_any_order() {
    for order in [["a", "b"], ["b", "a"]] {
        let nodes = Nodes::named(&["a", "b", "c"], |builder| builder).unwrap();
        let c = nodes.cache("c");
        set(c, k());
        set(c, &key("other"));
        set(c, &key("unrelated"));
        drop(nodes.cache("a").invalidate(k()));
        drop(nodes.cache("b").invalidate(&key("other")));
        for from in order {
            let delivery = nodes.wire(from, "c").deliver();
            assert!(matches!(delivery, Some(Delivery::Applied { .. })));
        }
        assert!(!holds(c, k()) && !holds(c, &key("other")));
        assert!(holds(c, &key("unrelated")));
    }
}

// G14: the handler runs in two workers of each of two nodes.
#[tokio::test]
async fn a_handler_in_every_worker_of_every_node_costs_one_eviction_a_node() {
    let nodes = two();
    let source = Source::default();
    let ask = |cache: &Cache| {
        let (cache, load) = (cache.clone(), source.give(Some(1_u8)));
        async move { cache.get_entry(k(), GetOptions::default(), load).await }
    };
    let handler = |cache: &Cache, cause: Cause| {
        let _cause = cause.enter();
        drop(cache.invalidate(k()));
        drop(cache.invalidate_tag("tag"));
    };
    let (a, b) = (nodes.cache("a"), nodes.cache("b"));
    for cache in [a, b] {
        ask(cache).await.unwrap();
    }
    let local = nodes.change("a", &[key("row")], &[]);
    let remote = nodes.wire("a", "b").deliver().unwrap().cause();
    for (cache, cause) in [(a, local), (b, remote)] {
        handler(cache, cause);
        assert_eq!(ask(cache).await.unwrap().outcome, Outcome::Loaded);
        // The second worker's, late; and the carrier that delivers once more.
        handler(cache, cause);
        assert_ne!(ask(cache).await.unwrap().outcome, Outcome::Loaded);
    }
    let again = nodes.wire("a", "b").repeat().unwrap().cause();
    handler(b, again);
    assert_ne!(ask(b).await.unwrap().outcome, Outcome::Loaded);
    for cache in [a, b] {
        assert_eq!(cache.stats().evicted_by_invalidation, 1);
    }
    assert_eq!(source.loads(), 4);
    let messages = [nodes.wire("a", "b").sent(), nodes.wire("b", "a").sent()];
    assert_eq!(messages, [1, 0], "no message beyond the change itself");
}

/// An invalidation that arrives acts whatever cause its thread runs under: its number belongs to
/// another node.
#[tokio::test]
async fn what_arrives_during_the_handling_of_a_change_acts_all_the_same() {
    for (name, take) in TAKES {
        let nodes = two();
        let b = nodes.cache("b");
        let number = b.apply_change(&[], &[]);
        set(b, k());
        take(&nodes);
        let origin = tidings_cache::Origin::Remote;
        let _cause = Cause { number, origin }.enter();
        nodes.wire("a", "b").deliver();
        assert!(!holds(b, k()), "{name}");
    }
}

#[tokio::test]
async fn named_caches_of_the_same_name_belong_together() {
    let nodes = two();
    let on = |node: &str, name: &str| nodes.cache(node).named(name).unwrap();
    let (mine, others) = (on("b", "keys"), on("b", "routes"));
    for cache in [nodes.cache("b"), &mine, &others] {
        set(cache, k());
    }
    drop(on("a", "keys").purge());
    drop(on("a", "no one has it").purge());
    nodes.deliver_all();
    assert!(!holds(&mine, k()) && holds(&others, k()) && holds(nodes.cache("b"), k()));
}

/// A receipt is confirmed once the other nodes have applied the invalidation, or have purged for
/// it.
#[tokio::test]
async fn a_receipt_is_confirmed_when_the_others_have_applied_it_or_names_them() {
    let second = Duration::from_secs(1);
    let nodes = Nodes::named(&["a", "b", "c"], |builder| builder).unwrap();
    let a = nodes.cache("a");
    let receipt = a.invalidate(k());
    let mut confirmed = Box::pin(receipt.confirmed(second));
    assert_eq!((&mut confirmed).now_or_never(), None);
    nodes.deliver_all();
    assert_eq!((&mut confirmed).now_or_never(), Some(Ok(())));

    let mut confirmed = Box::pin(a.purge().confirmed(second));
    assert_eq!((&mut confirmed).now_or_never(), None);
    nodes.wire("a", "c").deliver();
    nodes.clock().advance(second / 2);
    assert_eq!((&mut confirmed).now_or_never(), None);
    nodes.clock().advance(second / 2);
    let unconfirmed = confirmed.now_or_never().unwrap().unwrap_err();
    assert_eq!(unconfirmed.nodes, ["b"]);

    // The message is lost, and b purges for it.
    let receipt = a.invalidate(k());
    nodes.wire("a", "b").deliver();
    nodes.wire("a", "b").lose();
    nodes.wire("a", "b").catch_up();
    nodes.wire("a", "c").deliver();
    assert_eq!(receipt.confirmed(second).now_or_never(), Some(Ok(())));
}
