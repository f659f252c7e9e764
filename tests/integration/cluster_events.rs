//! Events of an application's own, and gaps, on several nodes of one database.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, Entity, GetOptions, Node, PostToAllError, Store, core::log::LogError, store::Sharing,
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

/// A node, and what its workers heard.
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
                    // Every node hears of the event, so this goes no further.
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
