//! What a cluster promises whatever its database is: custom events, tags and purges on every node,
//! with gaps between them. Each case runs on PostgreSQL and on a shared SQLite file.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, CrudEvent, Entity, GetOptions, Node, Store, cluster::Protocol, store::Sharing,
};
use tidings_testkit::{Database, Server};

use crate::{cluster::until, other_programs::sqlite::File};

/// Longer than anything here takes, and shorter than a test run that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "shops")]
struct Shop {
    #[entity(primary_key)]
    id: i64,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Reindex {
    shop: usize,
}

/// Where nodes meet.
enum Ground {
    Postgres(Database),
    File(File),
}

impl Ground {
    async fn all() -> [Self; 2] {
        let database = Server::shared().database().await;
        [Self::Postgres(database), Self::File(File::new())]
    }

    async fn store(&self) -> Store {
        match self {
            Self::Postgres(database) => {
                let store = Store::options(database.url()).sharing(Sharing::Cluster);
                store.open().await.expect("a store")
            }
            Self::File(file) => file.shared().await,
        }
    }

    /// Writes as another program does.
    fn run(&self, sql: &str) {
        match self {
            Self::Postgres(database) => drop(database.psql(sql)),
            Self::File(file) => file.sqlite3(sql),
        }
    }

    /// Ends the epoch of the log, as a crash or a restored file does.
    fn end_epoch(&self) {
        self.run(match self {
            Self::Postgres(_) => "truncate tidings.epoch_volatile",
            Self::File(_) => {
                "UPDATE tidings_epoch SET number = number + 1, \
                 id = 'c0ffee00-0000-4000-8000-000000000000'"
            }
        });
    }

    /// Makes shops in one transaction.
    fn make_shops(&self, count: usize) {
        let rows = match self {
            Self::Postgres(_) => format!("select g from generate_series(1, {count}) g"),
            Self::File(_) => format!(
                "WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {count}) \
                 SELECT g FROM n"
            ),
        };
        self.run(&format!(
            "insert into shops (id, name) select g, 'a' from ({rows}) as made"
        ));
    }

    async fn member(&self, name: &str, workers: usize) -> Member {
        Member::start(self.store().await, name, workers).await
    }

    async fn members(&self, workers: usize) -> [Member; 3] {
        [
            self.member("a", workers).await,
            self.member("b", workers).await,
            self.member("c", workers).await,
        ]
    }
}

/// A node, and what its handlers have received.
struct Member {
    node: Node,
    /// By the first worker, in its order.
    heard: Arc<Mutex<Vec<String>>>,
    /// How often a worker has invalidated by hand.
    by_hand: Arc<AtomicUsize>,
}

impl Member {
    async fn start(store: Store, name: &str, workers: usize) -> Self {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let by_hand: Arc<AtomicUsize> = Arc::default();
        let (hook, count) = (Arc::clone(&heard), Arc::clone(&by_hand));
        let node = Node::builder()
            .store(store)
            .node_id(name)
            .workers(workers)
            .log_poll(Duration::from_millis(20))
            .entity::<Shop>()
            .cluster_channel::<Reindex>("search", "reindex")
            .init_worker(move |worker| {
                let (cache, count) = (worker.cache().clone(), Arc::clone(&count));
                let is_first = worker.id() == 0;
                let list = Arc::clone(&hook);
                let tell = move |text: String| {
                    if is_first {
                        list.lock().expect("a list").push(text);
                    }
                };
                let (event, change, gap) = (tell.clone(), tell.clone(), tell);
                let bus = worker.worker_events();
                let hear = move |heard: &Reindex| {
                    drop(cache.invalidate(&key(heard.shop)));
                    drop(cache.invalidate_tag(format!("shop {}", heard.shop)));
                    count.fetch_add(1, Ordering::SeqCst);
                    event(format!("shop {}", heard.shop));
                };
                bus.register(hear, "search", "reindex")?.keep();
                let hear = move |heard: &CrudEvent<Shop>| {
                    change(format!("{} {}", heard.operation, heard.entity.id));
                };
                bus.register(hear, "crud", "shops")?.keep();
                worker.on_gap(move |told| gap(told.to_string()))?;
                Ok(())
            })
            .start();
        let node = node.await.expect("a node");
        // Of each change one handler panics.
        let panics = |event: &Reindex| assert_ne!(event.shop, FAILS, "as the test says");
        let registered = node.worker_events().register(panics, "search", "reindex");
        registered.expect("declared").keep();
        Self {
            node,
            heard,
            by_hand,
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("a list").clone()
    }

    async fn until_heard(&self, what: &str, count: usize) {
        until(what, || self.heard.lock().expect("a list").len() >= count).await;
    }

    /// Posts to all nodes. Returns once the log has it.
    async fn post(&self, shop: usize) {
        let channel = self.node.cluster_channel::<Reindex>("search", "reindex");
        let posted = channel.expect("declared").post(&Reindex { shop }).await;
        posted.expect("the log has it");
    }

    /// Caches something of a shop, with a tag. Returns how often it was loaded.
    async fn cache(&self, shop: usize) -> usize {
        let loads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&loads);
        let load = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Some(1_u8))
        };
        let options = GetOptions::default().tags([format!("shop {shop}")]);
        let got = self.node.cache().get(&key(shop), options, load).await;
        got.expect("loaded");
        loads.load(Ordering::SeqCst)
    }

    fn holds(&self, shop: usize) -> bool {
        let held = self.node.cache().cached::<u8>(&key(shop));
        held.expect("a byte").is_some()
    }

    fn protocol(&self) -> &Protocol {
        self.node.cluster().expect("a log")
    }

    fn evictions(&self) -> u64 {
        self.node.cache().stats().evicted_by_invalidation
    }

    async fn until_gone(&self, shop: usize) {
        until("the eviction", || !self.holds(shop)).await;
    }
}

/// The shop at whose events a handler panics.
const FAILS: usize = 13;

fn key(shop: usize) -> CacheKey {
    CacheKey::new("indexes", &[i64::try_from(shop).expect("small")])
}

async fn stop(members: impl IntoIterator<Item = Member>) {
    for member in members {
        let _ = member.node.shutdown(PATIENCE).await;
    }
}

// CE4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_takes_no_event_from_another() {
    for ground in Ground::all().await {
        let a = ground.member("a", 1).await;
        a.post(1).await;
        let b = ground.member("b", 1).await;
        a.post(2).await;
        ground.make_shops(1);

        b.until_heard("what came after its start", 2).await;
        assert_eq!(b.heard(), ["shop 2", "create 1"]);
        a.until_heard("all", 3).await;
        assert_eq!(a.heard(), ["shop 1", "shop 2", "create 1"]);
        stop([a, b]).await;
    }
}

// CE10: pages hold 1,000 records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_events_at_once_than_a_page_holds_are_heard_once_each_in_one_order() {
    const ROWS: usize = 2_300;
    const EVENTS: usize = 300;
    for ground in Ground::all().await {
        let (a, b) = (ground.member("a", 1).await, ground.member("b", 1).await);
        ground.make_shops(ROWS);
        let posts = (1..=EVENTS).map(|shop| {
            let member = if shop % 2 == 0 { &a } else { &b };
            member.post(100 + shop)
        });
        join_all(posts).await;

        for member in [&a, &b] {
            member.until_heard("all of them", ROWS + EVENTS).await;
        }
        let heard = a.heard();
        assert_eq!(heard.len(), ROWS + EVENTS);
        let told: std::collections::BTreeSet<_> = heard.iter().collect();
        assert_eq!(told.len(), heard.len(), "none of them twice, and no gap");
        assert!(!heard.iter().any(|text| text.contains("gap")));
        // On PostgreSQL commits that overlap have none: two nodes may read between them at
        // different places.
        if matches!(ground, Ground::File(_)) {
            assert_eq!(b.heard(), heard, "in one order");
        }

        for shop in 1..=20 {
            let member = if shop % 2 == 0 { &a } else { &b };
            member.post(1_000 + shop).await;
        }
        let expected: Vec<_> = (1_001..=1_020).map(|shop| format!("shop {shop}")).collect();
        for member in [&a, &b] {
            member.until_heard("the others", ROWS + EVENTS + 20).await;
            assert_eq!(member.heard()[ROWS + EVENTS..], expected, "in one order");
        }
        stop([a, b]).await;
    }
}

// CE11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_stops_neither_the_tail_nor_the_other_handlers() {
    for ground in Ground::all().await {
        let members = ground.members(2).await;
        let [a, b, c] = &members;
        for member in [a, b, c] {
            assert_eq!(member.cache(FAILS).await, 1);
        }
        a.post(FAILS).await;
        b.post(FAILS + 1).await;
        for member in [a, b, c] {
            member.until_heard("both", 2).await;
            assert_eq!(member.heard(), ["shop 13", "shop 14"]);
            member.until_gone(FAILS).await;
        }

        // And it holds no receipt up.
        let receipt = a.node.cache().invalidate(&key(1));
        receipt.confirmed(PATIENCE).await.expect("confirmed");
        stop(members).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_purges_and_events_reach_every_node_on_both_sides_of_a_gap() {
    for ground in Ground::all().await {
        let members = ground.members(1).await;
        let [a, b, c] = &members;
        for round in 0..2 {
            for member in [a, b, c] {
                until("it keeps what it loads", || {
                    member.protocol().gate().is_open()
                })
                .await;
                member.cache(1).await;
                member.cache(2).await;
                assert!(member.holds(1) && member.holds(2));
            }

            let receipt = a.node.cache().invalidate_tag("shop 1");
            receipt.confirmed(PATIENCE).await.expect("confirmed");
            for member in [a, b, c] {
                assert!(!member.holds(1), "before the receipt is confirmed");
                assert!(member.holds(2), "it has another tag");
            }
            let receipt = b.node.cache().purge();
            receipt.confirmed(PATIENCE).await.expect("confirmed");
            for member in [a, b, c] {
                assert!(!member.holds(2));
            }
            c.post(3).await;

            if round == 0 {
                for member in [a, b, c] {
                    member.until_heard("the event before the gap", 1).await;
                }
                ground.end_epoch();
                for member in [a, b, c] {
                    member.until_heard("the gap", 2).await;
                }
            }
        }
        let expected = ["shop 3", "a gap in the log (epoch)", "shop 3"];
        for member in [a, b, c] {
            member.until_heard("all", expected.len()).await;
            assert_eq!(member.heard(), expected);
        }
        stop(members).await;
    }
}

// CL15, of custom events: handlers of four workers of three nodes invalidate by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_an_event_that_invalidate_by_hand_cost_one_eviction_a_node_and_no_record() {
    const WORKERS: usize = 4;
    for ground in Ground::all().await {
        let members = ground.members(WORKERS).await;
        for member in &members {
            assert_eq!(member.cache(5).await, 1);
        }
        let evicted: Vec<_> = members.iter().map(Member::evictions).collect();

        members[0].post(5).await;
        for member in &members {
            until("every worker", || {
                member.by_hand.load(Ordering::SeqCst) == WORKERS
            })
            .await;
        }
        // A second event: had the first one's handlers sent anything, it would come before this.
        members[1].post(6).await;
        for (member, before) in members.iter().zip(evicted) {
            member.until_heard("both", 2).await;
            assert_eq!(member.heard(), ["shop 5", "shop 6"]);
            assert_eq!(member.evictions(), before + 1);
            assert_eq!(member.cache(5).await, 1, "one load");
            let stats = member.node.log_stats().expect("a log");
            assert_eq!(stats.records, 2, "the two events alone");
        }
        stop(members).await;
    }
}
