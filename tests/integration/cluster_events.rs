//! Events of an application's own, and gaps, on several nodes of one database.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidings::{
    CacheKey, ChangeFeedOptions, CrudEvent, Entity, Fed, GetOptions, Node, PostToAllError, Store,
    core::log::LogError,
    events::{Overflow, SubscribeOptions, WorkerEvents},
    store::{Logging, Sharing},
};
use tidings_testkit::{Database, Server};

use crate::cluster::until;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "shops")]
struct Shop {
    #[entity(primary_key)]
    id: i64,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Reindex {
    shop: i64,
    text: String,
}

/// A node, and what its workers received.
struct Member {
    node: Node,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Member {
    async fn start(database: &Database, name: &str) -> Self {
        let store = Store::options(database.url()).sharing(Sharing::Cluster);
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hook = Arc::clone(&heard);
        let node = Node::builder()
            .store(store.open().await.expect("a store"))
            .node_id(name)
            .entity::<Shop>()
            .cluster_channel::<Reindex>("search", "reindex")
            .init_worker(move |worker| {
                let (events, gaps) = (Arc::clone(&hook), Arc::clone(&hook));
                let cache = worker.cache().clone();
                let hear = move |event: &Reindex| {
                    // Every node receives the event, so this goes no further.
                    drop(cache.invalidate(&key(event.shop)));
                    events
                        .lock()
                        .expect("a list")
                        .push(format!("shop {}", event.shop));
                };
                worker
                    .worker_events()
                    .register(hear, "search", "reindex")?
                    .keep();
                worker.on_gap(move |gap| {
                    gaps.lock().expect("a list").push(gap.to_string());
                })?;
                Ok(())
            })
            .start();
        let node = node.await.expect("a node");
        Self { node, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("a list").clone()
    }
}

fn key(shop: i64) -> CacheKey {
    CacheKey::new("indexes", &[shop])
}

fn event(shop: i64) -> Reindex {
    let text = String::new();
    Reindex { shop, text }
}

// CE5 and CE7, over a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_for_all_is_heard_once_by_every_node_in_one_order_with_gaps_in_their_place() {
    let database = Server::shared().database().await;
    let a = Member::start(&database, "a").await;
    let b = Member::start(&database, "b").await;
    for member in [&a, &b] {
        let load = || async { Ok::<_, std::io::Error>(Some(1_u8)) };
        let cache = member.node.cache();
        cache
            .get(&key(3), GetOptions::default(), load)
            .await
            .expect("loaded");
    }

    let channel = a
        .node
        .cluster_channel::<Reindex>("search", "reindex")
        .expect("declared");
    let other = b
        .node
        .cluster_channel::<Reindex>("search", "reindex")
        .expect("declared");
    for shop in 0..3 {
        channel.post(&event(shop)).await.expect("posted");
    }
    database.psql("truncate shops");
    other.post(&event(3)).await.expect("posted");

    let records = || {
        database
            .psql("select count(*) from tidings.log where kind = 'i'")
            .trim()
            .to_owned()
    };
    let gap = "a gap in the log of shops (capture)";
    let expected = ["shop 0", "shop 1", "shop 2", gap, "shop 3"];
    for member in [&a, &b] {
        until("all five", || member.heard().len() >= expected.len()).await;
        assert_eq!(member.heard(), expected);
        let held = member.node.cache().cached::<u8>(&key(3));
        assert!(held.expect("a byte").is_none());
    }
    assert_eq!(records(), "4", "what handlers invalidate is not sent on");

    let large = Reindex {
        shop: 1,
        text: "x".repeat(2 << 20),
    };
    let refused = channel.post(&large).await;
    assert!(
        matches!(refused, Err(PostToAllError::Log(LogError::TooLarge { limit, .. })) if limit == 1 << 20),
        "{refused:?}"
    );
    let undeclared = a.node.cluster_channel::<u64>("search", "others");
    assert!(
        undeclared
            .expect_err("it is not declared")
            .to_string()
            .contains("cluster_channel")
    );
    for member in [a, b] {
        let _ = member.node.shutdown(Duration::from_secs(5)).await;
    }
}

/// There is no log from which watchers could read it.
#[tokio::test]
async fn an_event_for_all_is_told_to_those_that_watch_a_node_without_a_log() {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.expect("a store"))
        .cluster_channel::<Reindex>("search", "reindex")
        .start()
        .await
        .expect("a node");
    let mut feed = node.change_feed(ChangeFeedOptions::new());
    let feed = feed.as_mut().expect("a free seat");
    let channel = node.cluster_channel::<Reindex>("search", "reindex");
    let posted = channel.expect("declared").post(&event(7)).await;
    assert_eq!(posted.expect("posted"), None);

    let told = feed.next().now_or_never().flatten();
    let Some(Fed::Change(told)) = told else {
        panic!("{told:?}");
    };
    assert_eq!((told.source(), told.event()), ("search", "reindex"));
    assert!(told.data().contains(r#""shop":7"#), "{}", told.data());
    let _ = node.shutdown(Duration::from_secs(5)).await;
}

/// What one listener has received.
type Heard = Arc<Mutex<Vec<String>>>;

fn tell(heard: &Heard, text: impl ToString) {
    heard.lock().expect("a list").push(text.to_string());
}

/// A full queue refuses an event of the log, and no one else learns of that: its poster has gone
/// on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_for_all_that_a_full_queue_refuses_is_a_gap_in_its_place() {
    let folder = TempDir::new().expect("a folder");
    let file = format!("sqlite://{}", folder.path().join("log.db").display());
    let store = Store::options(file).logging(Logging::On).open().await;
    let (on_worker, on_node): (Heard, Heard) = (Arc::default(), Arc::default());
    let (hook, gaps) = (Arc::clone(&on_worker), Arc::clone(&on_node));
    let node = Node::builder()
        .store(store.expect("a store"))
        .entity::<Shop>()
        .cluster_channel::<Reindex>("search", "reindex")
        .on_gap(move |gap| tell(&gaps, gap))
        .init_worker(move |worker| {
            let (events, gaps) = (Arc::clone(&hook), Arc::clone(&hook));
            let hear = move |event: &Reindex| tell(&events, format!("shop {}", event.shop));
            let bus = worker.worker_events();
            bus.register(hear, "search", "reindex")?.keep();
            worker.on_gap(move |gap| tell(&gaps, gap))?;
            Ok(())
        })
        .start()
        .await
        .expect("a node");
    let bus = node.worker_events();
    let options = SubscribeOptions::new();
    let strict = options.clone().capacity(1).overflow(Overflow::Error);
    let subscribe = |options| bus.subscribe::<Reindex>("search", "reindex", options);
    let mut strict = subscribe(strict).expect("declared");
    let mut roomy = subscribe(options).expect("declared");

    let channel = node.cluster_channel::<Reindex>("search", "reindex");
    let channel = channel.expect("declared");
    channel.post(&event(1)).await.expect("the log has it");
    channel.post(&event(2)).await.expect("the log has it");
    until("a gap", || !on_node.lock().expect("a list").is_empty()).await;
    let first = strict.recv().await.expect("an event").into_result();
    assert_eq!(first.expect("no gap before it").shop, 1);
    channel.post(&event(3)).await.expect("the log has it");

    let gap = "a gap in the log (overflow)";
    let expected = ["shop 1", gap, "shop 3"];
    until("all three", || on_worker.lock().expect("a list").len() >= 3).await;
    assert_eq!(*on_worker.lock().expect("a list"), expected);
    assert_eq!(*on_node.lock().expect("a list"), [gap]);
    for queue in [&mut strict, &mut roomy] {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| *last != Ok(3)) {
            let next = queue.recv().await.expect("the bus is there").into_result();
            heard.push(next.map(|event| event.shop).map_err(|gap| gap.missed));
        }
        assert!(heard.ends_with(&[Err(1), Ok(3)]), "{heard:?}");
    }
    assert_eq!(node.change_stats().missed, 1);
    let _ = node.shutdown(Duration::from_secs(5)).await;
}

/// A worker that is held up receives a gap where its own mailbox has lost changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_mailbox_lost_changes_hears_a_gap_in_their_place() {
    let (heard, (go, gone)) = (Heard::default(), mpsc::channel::<()>());
    let (hook, gone) = (Arc::clone(&heard), Arc::new(Mutex::new(gone)));
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.expect("a store"))
        .entity::<Shop>()
        .worker_events(WorkerEvents::builder().mailbox_capacity(2))
        .handler_deadline(Duration::from_millis(1))
        .init_worker(move |worker| {
            let (events, gaps) = (Arc::clone(&hook), Arc::clone(&hook));
            let gone = Arc::clone(&gone);
            let hear = move |change: &CrudEvent<Shop>| {
                tell(&events, change.entity.id);
                if change.entity.id == 1 {
                    let _ = gone.lock().expect("a channel").recv();
                }
            };
            worker
                .worker_events()
                .register(hear, "crud", "shops")?
                .keep();
            worker.on_gap(move |gap| tell(&gaps, gap))?;
            Ok(())
        })
        .start()
        .await
        .expect("a node");
    let shops = node.dao::<Shop>().expect("declared");
    let insert = |id| {
        shops.insert(Shop {
            id,
            name: "a".to_owned(),
        })
    };
    insert(1).await.expect("inserted");
    until("the first", || !heard.lock().expect("a list").is_empty()).await;
    for id in 2..=9 {
        insert(id).await.expect("inserted");
    }

    go.send(()).expect("the worker waits");
    until("a gap", || {
        let heard = heard.lock().expect("a list");
        heard.last().is_some_and(|last| last.contains("gap"))
    })
    .await;
    insert(10).await.expect("inserted");
    until("the last", || {
        let heard = heard.lock().expect("a list");
        heard.last().is_some_and(|last| last == "10")
    })
    .await;
    // The mailbox decides how many fit beside the one that is being handled.
    let heard = heard.lock().expect("a list").clone();
    let before = heard.len() - 2;
    let first: Vec<_> = (1..=before).map(|id| id.to_string()).collect();
    assert_eq!(heard[..before], first, "{heard:?}");
    assert!(before < 9, "some were lost: {heard:?}");
    let gap = "a gap in the log of shops (overflow)";
    assert_eq!(heard[before..], [gap, "10"], "{heard:?}");
    let _ = node.shutdown(Duration::from_secs(5)).await;
}
