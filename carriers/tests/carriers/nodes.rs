//! Nodes on one PostgreSQL database that wake each other over a broker.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    CachedRows as _, CrudEvent, Entity, Node, Store,
    clock::{Clock as _, SystemClock},
    store::Sharing,
};
use tidings_carriers::{Nats, Redis};
use tidings_testkit::{Broker, Database, Protocol, Server};

use crate::BOTH;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "things")]
struct Thing {
    #[entity(primary_key)]
    id: i64,
}

/// A node, and the rows that its handlers received.
struct Member {
    node: Node,
    heard: Arc<Mutex<Vec<i64>>>,
}

impl Member {
    async fn start(
        database: &Database,
        broker: &Broker,
        protocol: Protocol,
        poll: Duration,
    ) -> Self {
        let store = Store::options(database.url()).sharing(Sharing::Cluster);
        let builder = Node::builder()
            .store(store.open().await.expect("a store"))
            .entity::<Thing>()
            .log_poll(poll);
        let builder = match protocol {
            Protocol::Nats => builder.wake_by(Nats::new(&broker.url(), "shop").expect("one")),
            Protocol::Redis => builder.wake_by(Redis::new(&broker.url(), "shop").expect("one")),
        };
        let node = builder.start().await.expect("a node");

        let heard: Arc<Mutex<Vec<i64>>> = Arc::default();
        let list = Arc::clone(&heard);
        let tell =
            move |change: &CrudEvent<Thing>| list.lock().expect("a list").push(change.entity.id);
        let told = node.worker_events().register(tell, "crud", "things");
        told.expect("registered").keep();
        Self { node, heard }
    }

    async fn write(&self, id: i64) {
        let things = self.node.dao::<Thing>().expect("declared");
        things.insert(Thing { id }).await.expect("inserted");
    }

    /// Waits until the handlers have received a row.
    async fn hears(&self, id: i64) {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(Duration::from_secs(30));
        while !self.heard.lock().expect("a list").contains(&id) {
            assert!(
                clock.now() < deadline,
                "{id} is not heard of: {:?}",
                self.heard
            );
            clock.sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_of_each_others_writes_by_the_broker_and_no_listener_is_in_the_database() {
    for protocol in BOTH {
        let database = Server::shared().database().await;
        let broker = Broker::start(protocol);
        // By itself, a node would poll only once a minute.
        let poll = Duration::from_secs(60);
        let one = Member::start(&database, &broker, protocol, poll).await;
        let other = Member::start(&database, &broker, protocol, poll).await;

        for id in 0..10 {
            one.write(id).await;
            other.hears(id).await;
            other.write(100 + id).await;
            one.hears(100 + id).await;
        }
        let listeners = "select count(*) from pg_stat_activity \
                         where datname = current_database() and query ilike 'listen%'";
        assert_eq!(database.psql(listeners).trim(), "0", "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_by_the_broker_name_what_nodes_evict_on_sight() {
    for protocol in BOTH {
        let database = Server::shared().database().await;
        let broker = Broker::start(protocol);
        let poll = Duration::from_secs(60);
        let one = Member::start(&database, &broker, protocol, poll).await;
        let other = Member::start(&database, &broker, protocol, poll).await;
        one.write(7).await;
        other.hears(7).await;

        let things = other.node.dao::<Thing>().expect("declared");
        let things = things.cached().expect("lookups");
        assert!(
            things
                .select_by("id", 7_i64)
                .await
                .expect("an answer")
                .is_some()
        );
        let on_sight = |it: &Node| it.log_stats().expect("a log").evicted_on_sight;
        let before = on_sight(&other.node);
        let deleted = one.node.dao::<Thing>().expect("declared").delete(7).await;
        assert_eq!(deleted.expect("an answer"), Some(Thing { id: 7 }));
        let clock = SystemClock::new();
        let deadline = clock.now().plus(Duration::from_secs(30));
        while on_sight(&other.node) == before {
            assert!(clock.now() < deadline, "{protocol:?}: nothing is evicted");
            clock.sleep(Duration::from_millis(2)).await;
        }
        assert!(
            things
                .select_by("id", 7_i64)
                .await
                .expect("an answer")
                .is_none()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_costs_time_and_nothing_else() {
    for protocol in BOTH {
        let database = Server::shared().database().await;
        let mut broker = Broker::start(protocol);
        let poll = Duration::from_millis(50);
        let one = Member::start(&database, &broker, protocol, poll).await;
        one.write(1).await;

        broker.stop();
        one.write(2).await;
        let late = Member::start(&database, &broker, protocol, poll).await;
        one.write(3).await;
        late.hears(3).await;
        broker.restart();
        one.write(4).await;
        late.hears(4).await;
        late.write(5).await;
        one.hears(5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_beside_no_cluster_is_refused() {
    let carrier = || Nats::new("nats://127.0.0.1:4222", "shop").expect("one");
    let database = Server::shared().database().await;
    let alone = Store::options(database.url()).sharing(Sharing::Alone);
    let file = Store::options("sqlite::memory:");
    for store in [alone.open().await, file.open().await] {
        let builder = Node::builder()
            .store(store.expect("a store"))
            .entity::<Thing>();
        let refused = builder
            .wake_by(carrier())
            .start()
            .await
            .expect_err("refused");
        let text = tidings::core::Chain(&refused).to_string();
        assert!(
            text.contains("wake_by needs a cluster in a PostgreSQL database"),
            "{text}"
        );
    }
}
