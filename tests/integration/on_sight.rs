//! Wake-ups that PostgreSQL carries name what nodes evict before they read the log.

use std::time::Duration;

use tidings::{
    CachedRows as _, Node, Store,
    clock::{Clock as _, SystemClock},
    store::Sharing,
};
use tidings_testkit::{Database, Server};

use crate::heard::{Owner, Thing, thing};

const PATIENCE: Duration = Duration::from_secs(30);

async fn member(database: &Database) -> Node {
    let store = Store::options(database.url()).sharing(Sharing::Cluster);
    let node = Node::builder()
        .store(store.open().await.expect("a store"))
        .entity::<Owner>()
        .entity::<Thing>()
        // By itself, it would look only once in a minute.
        .log_poll(Duration::from_secs(60));
    node.start().await.expect("a node")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_names_what_other_nodes_evict_on_sight() {
    let database = Server::shared().database().await;
    let (one, other) = (member(&database).await, member(&database).await);
    let things = one.dao::<Thing>().expect("declared");
    things.insert(thing(1, "a")).await.expect("inserted");

    let clock = SystemClock::new();
    let deadline = clock.now().plus(PATIENCE);
    let cached = other.dao::<Thing>().expect("declared").cached();
    let cached = cached.expect("lookups");
    let on_sight = || other.log_stats().expect("a log").evicted_on_sight;
    // A node may not listen yet when it has started: the first notifications may be missed.
    while on_sight() == 0 {
        assert!(clock.now() < deadline, "nothing is evicted on sight");
        let found = cached.select_by("code", "t1").await;
        assert!(found.expect("an answer").is_some());
        let changed = things.update(1, |it| it.note = Some("b".to_owned()));
        changed.await.expect("an answer").expect("a thing");
        clock.sleep(Duration::from_millis(20)).await;
    }
    drop(one.shutdown(PATIENCE).await);
    drop(other.shutdown(PATIENCE).await);
}
