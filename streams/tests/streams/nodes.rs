//! Nodes without a store, in one cluster over a stream.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, Entity, GetOptions, Loaded, Node, NodeBuilder,
    clock::{Clock as _, SystemClock},
    core::log::GapReason,
};
use tidings_streams::{ClusterKey, kit::Memory};
use tidings_testkit::{Broker, Protocol};

use crate::{nats, redis};

const DEADLINE: Duration = Duration::from_secs(30);

fn key() -> ClusterKey {
    ClusterKey::new("a secret that nodes share").expect("long enough")
}

/// Starts one server of each kind.
fn both() -> [Broker; 2] {
    [Protocol::Redis, Protocol::Nats].map(Broker::start)
}

/// Begins a node on the stream of a server.
fn on(broker: &Broker, key: Option<ClusterKey>) -> NodeBuilder {
    match (broker.protocol(), key) {
        (Protocol::Redis, None) => Node::builder().stream(redis::stream(broker)),
        (Protocol::Redis, Some(key)) => Node::builder().stream(redis::stream(broker).key(key)),
        (Protocol::Nats, None) => Node::builder().stream(nats::stream(broker)),
        (Protocol::Nats, Some(key)) => Node::builder().stream(nats::stream(broker).key(key)),
    }
}

/// Deletes stream and table.
async fn delete(broker: &Broker) {
    match broker.protocol() {
        Protocol::Redis => drop(redis::ask(broker, &["FLUSHALL"]).await),
        Protocol::Nats => nats::delete(&broker.url()).await,
    }
}

/// Returns all records, as stored by the server.
async fn held(broker: &Broker) -> String {
    match broker.protocol() {
        Protocol::Redis => {
            let range = ["XRANGE", "tidings:{shop}:records", "-", "+"];
            format!("{:?}", redis::ask(broker, &range).await)
        }
        Protocol::Nats => nats::held(&broker.url()).await,
    }
}

async fn node(broker: &Broker, name: &str) -> Node {
    let builder = on(broker, Some(key()));
    let builder = builder.cluster_channel::<u64>("search", "reindex");
    builder.node_id(name).start().await.expect("a node")
}

/// Waits until a condition is true.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(DEADLINE);
    while !holds().await {
        assert!(clock.now() < deadline, "{what}");
        clock.sleep(Duration::from_millis(2)).await;
    }
}

/// Caches a value, and waits until the cache keeps it: a node keeps nothing before it follows its
/// log.
async fn keep(node: &Node, key: &CacheKey, value: &str) {
    until("nothing is kept", async || {
        let loaded = Loaded::new(value.to_owned()).tag("spring");
        let load = || async move { Ok::<_, std::io::Error>(loaded) };
        let got = node
            .cache()
            .get::<String, _>(key, GetOptions::default(), load);
        got.await.expect("loaded");
        holds(node, key)
    })
    .await;
}

fn holds(node: &Node, key: &CacheKey) -> bool {
    let cached = node.cache().cached::<String>(key).expect("a text");
    cached.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_invalidates_is_gone_from_all_once_it_is_confirmed() {
    for broker in both() {
        let (one, other) = (node(&broker, "one").await, node(&broker, "other").await);
        let (key, kept) = (
            CacheKey::new("products", &["7"]),
            CacheKey::new("products", &["8"]),
        );
        let both = async || {
            keep(&other, &key, "old").await;
            keep(&other, &kept, "old").await;
        };

        both().await;
        let receipt = one.cache().invalidate(&key);
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        assert!(!holds(&other, &key) && holds(&other, &kept));

        both().await;
        let receipt = one.cache().invalidate_tag("spring");
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        assert!(!holds(&other, &key) && !holds(&other, &kept));

        both().await;
        let receipt = one.cache().purge();
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        assert!(!holds(&other, &key) && !holds(&other, &kept));

        // No node waits for one that has left.
        let report = other.shutdown(DEADLINE).await;
        assert!(report.is_clean(), "{report:?}");
        let receipt = one.cache().invalidate(&key);
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        let report = one.shutdown(DEADLINE).await;
        assert!(report.is_clean(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_the_handlers_of_every_node_and_a_position_holds_on_all() {
    for broker in both() {
        let (one, other) = (node(&broker, "one").await, node(&broker, "other").await);
        let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
        for node in [&one, &other] {
            let list = Arc::clone(&heard);
            let hear = move |shop: &u64| list.lock().expect("a list").push(*shop);
            let told = node.worker_events().register(hear, "search", "reindex");
            told.expect("registered").keep();
        }
        let channel = one
            .cluster_channel::<u64>("search", "reindex")
            .expect("declared");
        let posted = one.with_receipt(channel.post(&7)).await;
        posted.0.expect("posted");
        let token = posted.1.position().await.expect("a position");
        let reached = other.at_least(&token, DEADLINE).await;
        assert!(reached.is_ok(), "{reached:?}");
        until("both hear it", async || {
            heard.lock().expect("a list").as_slice() == [7, 7]
        })
        .await;
        for node in [one, other] {
            let _ = node.shutdown(DEADLINE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_makes_every_node_purge_and_say_so() {
    for broker in both() {
        let gaps: Arc<Mutex<Vec<GapReason>>> = Arc::default();
        let list = Arc::clone(&gaps);
        let builder = on(&broker, None);
        let builder = builder.on_gap(move |gap| list.lock().expect("a list").push(gap.reason));
        let one = builder.node_id("one").start().await.expect("a node");
        let key = CacheKey::new("products", &["7"]);
        keep(&one, &key, "old").await;

        delete(&broker).await;
        until("it purges", async || !holds(&one, &key)).await;
        until("its handlers hear", async || {
            !gaps.lock().expect("a list").is_empty()
        })
        .await;
        // And it continues: its row is gone too, so it joins again.
        keep(&one, &key, "new").await;
        let receipt = one.cache().invalidate(&key);
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        let _ = one.shutdown(DEADLINE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_empties_the_cache_is_counted_and_is_a_gap_for_handlers() {
    let server = Memory::new();
    let gaps: Arc<Mutex<Vec<GapReason>>> = Arc::default();
    let list = Arc::clone(&gaps);
    let builder = Node::builder().stream(server.stream());
    let builder = builder.on_gap(move |gap| list.lock().expect("a list").push(gap.reason));
    let one = builder.node_id("one").start().await.expect("a node");
    let key = CacheKey::new("products", &["7"]);
    keep(&one, &key, "old").await;

    server.append_foreign(br#"{"v":2,"kind":"what a later version says"}"#);
    until("it purges", async || !holds(&one, &key)).await;
    until("its handlers hear", async || {
        !gaps.lock().expect("a list").is_empty()
    })
    .await;
    assert_eq!(*gaps.lock().expect("a list"), [GapReason::Malformed]);
    let stats = one.log_stats().expect("it follows a log");
    let malformed = GapReason::ALL
        .iter()
        .position(|it| *it == GapReason::Malformed);
    assert_eq!(stats.purges[malformed.expect("a reason")], 1);
    let _ = one.shutdown(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_while_its_stream_is_away_and_keeps_nothing_until_it_is_there() {
    for mut broker in both() {
        broker.stop();
        let one = node(&broker, "one").await;
        let key = CacheKey::new("products", &["7"]);
        let load = || async { Ok::<_, std::io::Error>(Some("x".to_owned())) };
        let got = one
            .cache()
            .get::<String, _>(&key, GetOptions::default(), load);
        assert!(got.await.expect("loaded").is_some() && !holds(&one, &key));
        broker.restart();
        keep(&one, &key, "x").await;
        let _ = one.shutdown(DEADLINE).await;
    }
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "credentials", cache_key("key"))]
struct Credential {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique, secret)]
    key: String,
}

#[tokio::test]
async fn what_a_node_without_a_store_cannot_do_is_refused_at_its_start() {
    let server = Memory::new();
    let refused = async |builder: NodeBuilder| {
        let error = builder.start().await.expect_err("refused");
        format!("{}", tidings_core::Chain(&error))
    };
    let stream = || Node::builder().stream(server.stream());
    let text = refused(stream().entity::<Credential>()).await;
    assert!(text.contains("key") || text.contains("tables"), "{text}");
    let keyed = Node::builder().stream(server.stream().key(key()));
    let text = refused(keyed.entity::<Credential>()).await;
    assert!(text.contains("no tables for credentials"), "{text}");
    let text = refused(stream().recorded_entity::<Credential>()).await;
    assert!(text.contains("cluster's key"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_another_node_invalidates_is_found_by_its_digest() {
    for broker in both() {
        let node = async |name: &str| {
            let builder = on(&broker, Some(key()));
            let builder = builder.recorded_entity::<Credential>().node_id(name);
            builder.start().await.expect("a node")
        };
        let (one, other) = (node("one").await, node("other").await);
        let (secret, beside) = (
            CacheKey::new("credentials", &["s3cr3t"]),
            CacheKey::new("credentials", &["0th3r"]),
        );
        keep(&other, &secret, "alice").await;
        keep(&other, &beside, "bob").await;
        let receipt = one.cache().invalidate(&secret);
        receipt.confirmed(DEADLINE).await.expect("confirmed");
        assert!(!holds(&other, &secret) && holds(&other, &beside));

        let records = held(&broker).await;
        assert!(
            records.contains("digests") && !records.contains("s3cr3t"),
            "{records}"
        );
        for node in [one, other] {
            let _ = node.shutdown(DEADLINE).await;
        }
    }
}
