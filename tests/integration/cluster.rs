//! Several nodes of one cluster in this process, with handlers of their own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tidings::{
    Cache, CacheKey, CrudEvent, GetOptions,
    clock::{Clock as _, SystemClock},
};
use tidings_gateway::{Gateway, KeyAuthCredential, Settings};
use tidings_testkit::{Database, Server};

use crate::client::Client;

/// Longer than anything here takes, and shorter than a test run that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event: operation, old key, new key.
type Heard = (String, Option<String>, Option<String>);

/// A gateway of a cluster, and what its handlers did.
pub(crate) struct Member {
    pub(crate) gateway: Gateway,
    /// What the first worker's handler received.
    heard: Arc<Mutex<Vec<Heard>>>,
    /// How often a handler, of any worker, has invalidated by hand.
    by_hand: Arc<AtomicUsize>,
}

impl Member {
    pub(crate) async fn start(database: &Database, name: &str, workers: usize) -> Self {
        let settings = Settings {
            proxy_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.url(),
            node_id: Some(name.to_owned()),
            workers,
            ..Settings::default()
        };
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let by_hand: Arc<AtomicUsize> = Arc::default();
        let (tell, count) = (Arc::clone(&heard), Arc::clone(&by_hand));
        let gateway = Gateway::builder(settings).node(|node| {
            node.init_worker(move |worker| {
                let (tell, count) = (Arc::clone(&tell), Arc::clone(&count));
                let (cache, first) = (worker.cache().clone(), worker.id() == 0);
                let handler = move |change: &CrudEvent<KeyAuthCredential>| {
                    let key = change.entity.key.clone();
                    if first {
                        let old = change.old_entity.as_ref().and_then(|old| old.key.clone());
                        let event = (change.operation.to_string(), old, key.clone());
                        tell.lock().expect("a list").push(event);
                    }
                    let key = key.unwrap_or_default();
                    drop(cache.invalidate(&CacheKey::new("keyauth_credentials", &[key.as_str()])));
                    count.fetch_add(1, Ordering::SeqCst);
                };
                let bus = worker.worker_events();
                bus.register(handler, "crud", "keyauth_credentials")?.keep();
                Ok(())
            })
        });
        let gateway = gateway.start().await.expect("a gateway");
        Self {
            gateway,
            heard,
            by_hand,
        }
    }

    pub(crate) async fn admin(&self) -> Client {
        Client::connect(self.gateway.admin_address()).await
    }

    async fn status_of(&self, key: &str) -> u16 {
        let mut proxy = Client::connect(self.gateway.proxy_address()).await;
        proxy.with_key(key).await.status.as_u16()
    }

    /// Waits until a key has this status.
    async fn until(&self, key: &str, status: u16) {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(PATIENCE);
        while self.status_of(key).await != status {
            assert!(clock.now() < deadline, "{key} is not {status}");
        }
    }

    /// The value of a metric of the default cache, or of one without labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.admin().await.get("/metrics").await.expect(200).body;
        let text = String::from_utf8(text.to_vec()).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.trim().parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}")) as u64
    }
}

/// Waits for a condition, but not without end.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(PATIENCE);
    while !holds() {
        assert!(clock.now() < deadline, "it never came: {what}");
        clock.sleep(Duration::from_millis(2)).await;
    }
}

// IN5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_every_node_hear_the_old_and_the_new_entity() {
    let database = Server::shared().database().await;
    let a = Member::start(&database, "a", 1).await;
    let b = Member::start(&database, "b", 2).await;
    let mut admin = a.admin().await;
    admin
        .post("/consumers", json!({ "username": "bob" }))
        .await
        .expect(201);
    let path = "/consumers/bob/key-auth";
    admin.post(path, json!({ "key": "k1" })).await.expect(201);
    admin
        .patch("/key-auths/k1", json!({ "key": "k2" }))
        .await
        .expect(200);
    admin.delete("/key-auths/k2").await.expect(204);

    let (k1, k2) = (Some("k1".to_owned()), Some("k2".to_owned()));
    let expected = [
        ("create".to_owned(), None, k1.clone()),
        ("update".to_owned(), k1, k2.clone()),
        ("delete".to_owned(), None, k2),
    ];
    for member in [&a, &b] {
        let heard = || member.heard.lock().expect("a list").clone();
        until("three events", || heard().len() == 3).await;
        assert_eq!(heard(), expected);
    }
    a.gateway.shutdown().await;
    b.gateway.shutdown().await;
}

// CL15, from the metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_invalidate_by_hand_cost_one_eviction_per_node_and_no_record() {
    const WORKERS: usize = 4;
    let database = Server::shared().database().await;
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        members.push(Member::start(&database, name, WORKERS).await);
    }
    let mut admin = members[0].admin().await;
    admin
        .post("/consumers", json!({ "username": "bob" }))
        .await
        .expect(201);
    let path = "/consumers/bob/key-auth";
    admin.post(path, json!({ "key": "k1" })).await.expect(201);
    for member in &members {
        // Before it is cached: the record of the creation evicts what was loaded before it came.
        until("the create", || {
            member.by_hand.load(Ordering::SeqCst) == WORKERS
        })
        .await;
        member.until("k1", 200).await;
    }

    let evictions = "tidings_cache_evictions_total{cache=\"default\",cause=\"invalidated\"}";
    let loads = "tidings_cache_loads_total{cache=\"default\"}";
    let records = || {
        database
            .psql("select count(*) from tidings.log")
            .trim()
            .to_owned()
    };
    let mut before = Vec::new();
    for member in &members {
        before.push((member.metric(evictions).await, member.metric(loads).await));
    }
    let recorded: usize = records().parse().expect("a number");

    admin
        .patch("/key-auths/k1", json!({ "tags": ["x"] }))
        .await
        .expect(200);
    for (member, (evicted, loaded)) in members.iter().zip(before) {
        until("the update", || {
            member.by_hand.load(Ordering::SeqCst) == 2 * WORKERS
        })
        .await;
        assert_eq!(member.status_of("k1").await, 200);
        assert_eq!(member.metric(evictions).await, evicted + 1);
        assert_eq!(member.metric(loads).await, loaded + 1);
    }
    assert_eq!(records(), (recorded + 1).to_string());
    for member in members {
        member.gateway.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_invalidates_goes_on_every_node_and_what_was_reloaded_here_stays() {
    let database = Server::shared().database().await;
    let a = Member::start(&database, "a", 1).await;
    let b = Member::start(&database, "b", 1).await;
    let key = CacheKey::new("summaries", &["x"]);
    let (of_a, of_b) = (a.gateway.node().cache(), b.gateway.node().cache());
    let load = |value: u8| move || async move { Ok::<_, std::io::Error>(Some(value)) };
    let held = |cache: &Cache| cache.cached::<u8>(&key).expect("a byte").is_some();

    for round in 0..3 {
        for cache in [of_a, of_b] {
            let loaded = cache.get(&key, GetOptions::default().tags(["t"]), load(round));
            loaded.await.expect("loaded");
        }
        let receipt = match round {
            0 => of_a.invalidate(&key),
            1 => of_a.invalidate_tag("t"),
            _ => of_a.purge(),
        };
        assert!(!held(of_a), "before the call returned");
        let again = of_a.get(&key, GetOptions::default().tags(["t"]), load(9));
        again.await.expect("loaded");
        receipt
            .confirmed(PATIENCE)
            .await
            .expect("every node has applied it");
        assert!(!held(of_b), "before the receipt was confirmed");
        // This node has applied its own record too.
        assert!(held(of_a), "it was loaded since");
        of_a.invalidate_local(&key);
    }

    b.gateway.shutdown().await;
    of_a.invalidate(&key)
        .confirmed(PATIENCE)
        .await
        .expect("it has left");
    a.gateway.shutdown().await;
}
