//! Bounds on staleness: what a node serves while it can, and cannot, prove that it is current.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::json;
use tidings::{
    Cache, CacheKey, GetOptions, Node, StalePolicy, Store,
    cache::{CacheSettings, kit::Source},
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Logging, Sharing},
};
use tidings_testkit::{Link, Proxy, Server};

use crate::{client::Client, gateway::served_with};

/// Longer than anything here takes, and shorter than a test run that hangs.
const LONG: Duration = Duration::from_secs(30);

/// The node's bound holds for each of its caches, whatever a cache or a call asks for; a shorter
/// bound stays.
#[tokio::test]
async fn the_bound_of_a_node_holds_for_every_cache_and_call() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let store = Store::options(format!("sqlite://{}", folder.path().join("a.db").display()));
    let store = store.logging(Logging::On).open().await.expect("opens");
    let (bound, shorter) = (LONG * 10, LONG);
    let node = Node::builder()
        .store(store)
        .max_staleness(Some(bound))
        .cache(Cache::builder().max_staleness(shorter))
        .start()
        .await
        .expect("a node");

    let plain = CacheSettings::default;
    let named = |name, settings| node.cache().named_with(name, settings).expect(name);
    let caches = [
        (node.cache().clone(), shorter),
        (named("own", plain()), bound),
        (named("none", plain().no_max_staleness()), bound),
        (named("longer", plain().max_staleness(2 * bound)), bound),
    ];
    let plain = GetOptions::default;
    let calls = [
        (plain(), None),
        (plain().no_max_staleness().no_ttl(), Some(bound)),
        (plain().max_staleness(2 * bound), Some(bound)),
    ];
    for (cache, own) in caches {
        for (options, call) in &calls {
            let most = call.unwrap_or(own);
            let key = CacheKey::new("any", &["key"]);
            cache.set(&key, Some(1_u8), options.clone()).expect("set");
            let probe = cache.probe::<u8>(&key).expect("its type");
            let left = probe.expect("cached").remaining.expect("a bound");
            assert!(left <= most, "{}: {left:?} of {most:?}", cache.name());
        }
    }
    let _ = node.shutdown(LONG).await;
}

/// Waits until a node has proven that it is current. A read of the log that was in progress when
/// the clock was moved has run out of time, and is made again a little later.
async fn until_proven(node: &Node, clock: &ManualClock) {
    let cluster = node.cluster().expect("it follows a log");
    let lately = Duration::from_secs(1);
    let proven = async {
        while !matches!(cluster.view(Duration::ZERO).await.proven, Some(proven) if proven < lately)
        {
            clock.advance(Duration::from_millis(1));
        }
    };
    let proven = tokio::time::timeout(LONG, proven).await;
    proven.expect("the log answers");
}

/// G5: as long as proofs come hits do not expire; without one nothing older is served, from the
/// first question on.
#[tokio::test]
async fn the_hits_of_a_fresh_node_do_not_expire_and_those_of_one_that_was_stopped_do() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let store = Store::options(url).sharing(Sharing::Cluster).open();
    let (clock, bound) = (ManualClock::new(), LONG);
    let node = Node::builder()
        .store(store.await.expect("opens"))
        .max_staleness(Some(bound))
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("a node");
    let (key, source) = (CacheKey::new("any", &["key"]), Source::default());
    let load = || source.give(Some(1_u8));
    let get = || node.cache().get(&key, GetOptions::default(), load());
    get().await.expect("it is loaded");
    for _ in 0..10 {
        clock.advance(bound / 2);
        until_proven(&node, &clock).await;
        assert!(get().now_or_never().is_some(), "it is a hit");
    }
    assert_eq!(source.loads(), 1);

    // No other task runs between these lines, as if the process had been stopped.
    clock.advance(bound);
    assert!(get().now_or_never().is_none(), "it asks the store");
    assert_eq!(source.loads(), 2);
    let ends = async { clock.advance(LONG) };
    let _ = tokio::join!(node.shutdown(LONG), ends);
}

/// A node that refuses says so at once, on hits and misses alike, and is back with the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_refuses_answers_503_until_it_is_current_again() {
    let database = Server::shared().database().await;
    let link = Proxy::to(&database).await;
    let served = served_with(|settings| {
        settings.database = link.url(&database);
        settings.max_staleness = Some(Duration::from_secs(1));
        settings.stale_policy = StalePolicy::Refuse;
    });
    let served = served.await;
    let (mut admin, mut proxy) = (served.admin().await, served.proxy().await);
    until_ready(&mut admin, |reasons| reasons.is_empty()).await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/key-auth", json!({"key": "k"}))
        .await
        .expect(201);
    proxy.with_key("k").await.expect(200);
    proxy.with_key("unknown").await.expect(401);

    link.set(Link::Silent);
    until_ready(&mut admin, |reasons| reasons.contains("staleness")).await;
    for key in ["k", "unknown", "another"] {
        let refused = proxy.with_key(key).await.expect(503);
        let message = refused.json()["message"].to_string();
        assert!(message.contains("current"), "{key}: {message}");
    }
    link.set(Link::Open);
    until_ready(&mut admin, |reasons| reasons.is_empty()).await;
    proxy.with_key("k").await.expect(200);
    served.stop().await;
}

/// Waits until the reasons against a node are as expected.
async fn until_ready(admin: &mut Client, expected: impl Fn(&str) -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(2 * LONG);
    loop {
        let answer = admin.get("/readyz").await.json();
        let reasons = answer["reasons"].to_string().replace("null", "");
        if expected(&reasons) {
            return;
        }
        assert!(clock.now() < deadline, "{answer}");
    }
}
