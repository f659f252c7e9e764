//! Positions and receipts over HTTP, on one node: `X-Tidings-Position`, `?confirm`,
//! `X-Tidings-After`, `GET /cluster/confirm`.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value as Json, json};
use tidings::{
    CrudEvent,
    clock::{Clock as _, SystemClock},
    events::{AsyncOptions, Received},
};
use tidings_gateway::Consumer;
use tidings_testkit::{Link, Proxy, Server};
use tokio::sync::Notify;

use crate::{
    client::{Answer, Client},
    gateway::{Served, served_with},
};

const POSITION: &str = "x-tidings-position";
const AFTER: &str = "x-tidings-after";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// A gateway for each kind of database.
async fn each(after_timeout: Duration, test: impl AsyncFn(&Served)) {
    let memory = served_with(|settings| settings.after_timeout = after_timeout).await;
    test(&memory).await;
    memory.stop().await;

    let database = Server::shared().database().await;
    let postgres = served_with(|settings| {
        settings.database = database.url();
        settings.after_timeout = after_timeout;
    });
    let postgres = postgres.await;
    test(&postgres).await;
    postgres.stop().await;
}

/// Asks with a position and waits for it: on the database's log that takes one poll at most.
async fn after(client: &mut Client, path: &str, key: &str, token: &str) -> Answer {
    let headers = [("apikey", key), (AFTER, token)];
    client.send(Method::GET, path, &headers, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_says_its_position_and_no_other_answer_does() {
    each(SOON, async |served| {
        let mut admin = served.admin().await;
        let bob = admin.post("/consumers", json!({"username": "bob"})).await;
        let bob = bob.expect(201);
        let writes = [
            admin
                .put("/consumers/bob", json!({"tags": ["a"]}))
                .await
                .expect(200),
            admin
                .patch("/consumers/bob", json!({"tags": ["b"]}))
                .await
                .expect(200),
            admin
                .post("/consumers/bob/key-auth", json!({"key": "k1"}))
                .await
                .expect(201),
            admin.delete("/consumers/bob/key-auth/k1").await.expect(204),
            admin.delete("/consumers/bob").await.expect(204),
            admin.delete("/consumers/bob").await.expect(204),
            admin.delete("/consumers/no-one").await.expect(204),
            admin.delete("/cache?cluster=true").await.expect(204),
            admin
                .delete("/cache/consumers:x?cluster=true")
                .await
                .expect(204),
            bob,
        ];
        for write in writes {
            let token = write.header(POSITION).to_owned();
            assert!(!token.is_empty(), "{write:?}");
            let headers = [(AFTER, token.as_str())];
            admin
                .send(Method::GET, "/consumers", &headers, None)
                .await
                .expect(200);
        }
        for other in [
            admin.get("/consumers").await.expect(200),
            admin
                .post("/consumers", json!({"nonsense": 1}))
                .await
                .expect(400),
            admin
                .patch("/consumers/no-one", json!({"tags": []}))
                .await
                .expect(404),
            admin.delete("/cache").await.expect(204),
        ] {
            assert_eq!(other.header(POSITION), "", "{other:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_write_answers_as_usual_and_says_so() {
    each(SOON, async |served| {
        let mut admin = served.admin().await;
        let made = admin
            .post("/consumers?confirm=5s", json!({"username": "bob"}))
            .await;
        let made = made.expect(201);
        assert_eq!(made.header("x-tidings-confirmed"), "all");
        assert_eq!(made.json()["username"], "bob");
        let gone = admin.delete("/consumers/bob?confirm=5s").await.expect(204);
        assert_eq!(gone.header("x-tidings-confirmed"), "all");
        let purged = admin
            .delete("/cache?cluster=true&confirm=5s")
            .await
            .expect(204);
        assert_eq!(purged.header("x-tidings-confirmed"), "all");

        let token = gone.header(POSITION);
        let path = format!("/cluster/confirm?position={token}&timeout=5s");
        let confirmed = admin.get(&path).await.expect(200);
        assert_eq!(confirmed.json(), json!({"confirmed": true}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_wait_is_refused_and_nothing_is_written() {
    each(SOON, async |served| {
        let mut admin = served.admin().await;
        for query in [
            "confirm=",
            "confirm=soon",
            "confirm=2",
            "confirm=-1s",
            "confirm=11m",
            "confirm=1s&confirm=1s",
            "confirm=1s&x=1",
            "confirm=99999999999999999999s",
        ] {
            let path = format!("/consumers?{query}");
            let refused = admin
                .post(&path, json!({"username": "bob"}))
                .await
                .expect(400);
            assert_eq!(refused.json()["code"], 11, "{query}");
        }
        let purge = admin.delete("/cache?confirm=1s").await.expect(400);
        assert_eq!(
            purge.json()["fields"]["confirm"]
                .as_str()
                .map(|it| it.contains("cluster=true")),
            Some(true)
        );
        for path in [
            "/cluster/confirm",
            "/cluster/confirm?position=abc",
            "/cluster/confirm?timeout=1s",
        ] {
            assert_eq!(
                admin.get(path).await.expect(400).json()["code"],
                11,
                "{path}"
            );
        }
        let list = admin.get("/consumers").await.expect(200).json();
        assert_eq!(list["data"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_position_on_both_sides_and_a_made_up_one_is_refused() {
    each(SOON, async |served| {
        let mut admin = served.admin().await;
        admin
            .post("/consumers", json!({"username": "bob"}))
            .await
            .expect(201);
        let key = admin
            .post("/consumers/bob/key-auth", json!({"key": "k1"}))
            .await
            .expect(201);
        let token = key.header(POSITION).to_owned();
        let mut proxy = served.proxy().await;
        let echoed = after(&mut proxy, "/", "k1", &token)
            .await
            .expect(200)
            .json();
        assert_eq!(echoed["headers"][AFTER], Json::Null, "it is not passed on");

        let forged = format!(
            "{}{}",
            &token[..token.len() - 1],
            if token.ends_with('A') { "E" } else { "A" }
        );
        for wrong in ["", "abc", &forged] {
            let refused = after(&mut proxy, "/", "k1", wrong).await.expect(400);
            assert!(refused.json()["message"].is_string());
            let refused = after(&mut admin, "/consumers", "", wrong).await.expect(400);
            assert_eq!(refused.json()["code"], 11);
        }
        let twice = [
            ("apikey", "k1"),
            (AFTER, token.as_str()),
            (AFTER, token.as_str()),
        ];
        proxy.send(Method::GET, "/", &twice, None).await.expect(400);
        let refused = admin.send(Method::GET, "/consumers", &twice[1..], None);
        assert_eq!(refused.await.expect(400).json()["code"], 11);
        // Monitoring is not held up by a position, nor refused because of one.
        let headers = [(AFTER, "abc")];
        admin
            .send(Method::GET, "/livez", &headers, None)
            .await
            .expect(200);
    })
    .await;
}

/// Lets no handler of consumers end until it is let go.
fn hold_up(served: &Served) -> Arc<Notify> {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let handler = move |_: Received<CrudEvent<Consumer>>| {
        let wait = Arc::clone(&wait);
        async move { wait.notified().await }
    };
    let bus = served.node().worker_events();
    let held = bus.register_async(handler, "crud", "consumers", AsyncOptions::new());
    held.expect("registered").keep();
    go
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_catch_up_says_so_on_both_sides() {
    each(SHORT, async |served| {
        let mut admin = served.admin().await;
        let bob = admin
            .post("/consumers", json!({"username": "bob"}))
            .await
            .expect(201);
        admin
            .post("/consumers/bob/key-auth", json!({"key": "k1"}))
            .await
            .expect(201);
        let earlier = bob.header(POSITION).to_owned();
        let path = format!("/cluster/confirm?position={earlier}&timeout=20s");
        admin.get(&path).await.expect(200);

        // The write is committed and evicted, and one of its handlers does not end.
        let go = hold_up(served);
        let path = "/consumers?confirm=1ms";
        let made = admin
            .post(path, json!({"username": "eve"}))
            .await
            .expect(202);
        let node = served.node().id();
        let body = made.json();
        assert_eq!(body["confirmed"], json!(false));
        assert_eq!(body["unconfirmed"], json!([node]));
        assert_eq!(body["entity"]["username"], "eve");
        assert_eq!(made.header("x-tidings-confirmed"), "0/1");
        assert_eq!(made.header("x-tidings-status"), "201");
        assert_eq!(
            made.header("content-type"),
            "application/json; charset=utf-8"
        );
        let token = made.header(POSITION).to_owned();

        let mut proxy = served.proxy().await;
        after(&mut proxy, "/", "k1", &earlier).await.expect(200);
        let refused = after(&mut proxy, "/", "k1", &token).await.expect(503);
        assert!(refused.json()["message"].is_string());
        let refused = after(&mut admin, "/consumers", "", &token)
            .await
            .expect(503)
            .json();
        assert_eq!(
            (&refused["code"], &refused["name"]),
            (&json!(30), &json!("not caught up"))
        );
        let path = format!("/cluster/confirm?position={token}&timeout=1ms");
        let asked = admin.get(&path).await.expect(202);
        assert_eq!(
            asked.json(),
            json!({"confirmed": false, "unconfirmed": [node]})
        );
        assert_eq!(asked.header("x-tidings-confirmed"), "0/1");

        go.notify_one();
        let path = format!("/cluster/confirm?position={token}&timeout=10s");
        admin.get(&path).await.expect(200);
        after(&mut proxy, "/", "k1", &token).await.expect(200);
        go.notify_one();
        let gone = admin.delete("/consumers/eve?confirm=5s").await.expect(204);
        assert_eq!(gone.header("x-tidings-confirmed"), "all");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_gone_what_was_applied_is_served() {
    let server = Server::start();
    let database = server.database().await;
    let served = served_with(|settings| settings.database = database.url()).await;
    let mut admin = served.admin().await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let key = admin
        .post("/consumers/bob/key-auth", json!({"key": "k1"}))
        .await
        .expect(201);
    let token = key.header(POSITION).to_owned();
    let mut proxy = served.proxy().await;
    after(&mut proxy, "/", "k1", &token).await.expect(200);

    drop((database, server));
    after(&mut proxy, "/", "k1", &token).await.expect(200);
    let headers = [(AFTER, token.as_str())];
    admin
        .send(Method::GET, "/status", &headers, None)
        .await
        .expect(200);
    served.stop().await;
}

/// A node of the cluster of a database, which it reaches by this URL.
async fn member(url: String, name: &str) -> Served {
    let name = name.to_owned();
    served_with(move |settings| {
        settings.database = url;
        settings.node_id = Some(name);
        settings.after_timeout = SOON;
    })
    .await
}

/// CL9: no request that asks for a write is answered from before it, on any node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_one_node_is_seen_by_a_request_on_another_that_asks_for_it() {
    let database = Server::shared().database().await;
    let (a, b) = (
        member(database.url(), "a").await,
        member(database.url(), "b").await,
    );
    let (mut admin, mut proxy) = (a.admin().await, b.proxy().await);
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    for _ in 0..20 {
        let made = admin
            .post("/consumers/bob/key-auth", json!({"key": "k1"}))
            .await
            .expect(201);
        after(&mut proxy, "/", "k1", made.header(POSITION))
            .await
            .expect(200);
        let gone = admin.delete("/key-auths/k1").await.expect(204);
        after(&mut proxy, "/", "k1", gone.header(POSITION))
            .await
            .expect(401);
    }

    // What psql has written is covered by a later write, even by one that changes nothing.
    admin
        .post("/consumers/bob/key-auth", json!({"key": "k1"}))
        .await
        .expect(201);
    for enabled in [false, true, false, true] {
        proxy.with_key("k1").await;
        database.psql(&format!(
            "update keyauth_credentials set enabled = {enabled}"
        ));
        let nothing = admin.delete("/consumers/no-one").await.expect(204);
        let status = if enabled { 200 } else { 401 };
        after(&mut proxy, "/", "k1", nothing.header(POSITION))
            .await
            .expect(status);
    }
    a.stop().await;
    b.stop().await;
}

/// CL8, CL9 with a node that is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_named_and_refuses_what_it_has_not_applied() {
    let database = Server::shared().database().await;
    let link = Proxy::to(&database).await;
    let a = member(database.url(), "a").await;
    let b = served_with(|settings| {
        settings.database = link.url(&database);
        settings.node_id = Some("b".to_owned());
        settings.after_timeout = SHORT;
    });
    let b = b.await;
    let (mut admin, mut proxy) = (a.admin().await, b.proxy().await);
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let path = "/consumers/bob/key-auth?confirm=20s";
    let made = admin.post(path, json!({"key": "k1"})).await.expect(201);
    assert_eq!(made.header("x-tidings-confirmed"), "all");
    let earlier = made.header(POSITION).to_owned();
    after(&mut proxy, "/", "k1", &earlier).await.expect(200);

    link.set(Link::Silent);
    let gone = admin
        .delete("/key-auths/k1?confirm=100ms")
        .await
        .expect(202);
    assert_eq!(
        gone.json(),
        json!({"confirmed": false, "unconfirmed": ["b"], "entity": null})
    );
    assert_eq!(gone.header("x-tidings-confirmed"), "1/2");
    assert_eq!(gone.header("x-tidings-status"), "204");
    let token = gone.header(POSITION).to_owned();
    after(&mut proxy, "/", "k1", &earlier).await.expect(200);
    after(&mut proxy, "/", "k1", &token).await.expect(503);
    let mut other = b.admin().await;
    let refused = after(&mut other, "/status", "", &token).await.expect(503);
    assert_eq!(refused.json()["code"], 30);
    let path = format!("/cluster/confirm?position={token}&timeout=100ms");
    assert_eq!(
        admin.get(&path).await.expect(202).json()["unconfirmed"],
        json!(["b"])
    );

    link.set(Link::Open);
    let path = format!("/cluster/confirm?position={token}&timeout=60s");
    assert_eq!(
        admin.get(&path).await.expect(200).json(),
        json!({"confirmed": true})
    );
    after(&mut proxy, "/", "k1", &token).await.expect(401);
    a.stop().await;
    b.stop().await;
}

/// A node with a bound says when it can prove nothing within it, and others wait no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_past_its_bound_is_not_ready_and_does_not_hold_up_receipts() {
    let database = Server::shared().database().await;
    let link = Proxy::to(&database).await;
    let a = member(database.url(), "a").await;
    let b = served_with(|settings| {
        settings.database = link.url(&database);
        settings.node_id = Some("b".to_owned());
        settings.max_staleness = Some(Duration::from_secs(2));
    });
    let b = b.await;
    let (mut admin, mut other) = (a.admin().await, b.admin().await);
    until_ready(&mut other, |reasons| reasons.is_empty()).await;

    link.set(Link::Silent);
    let path = "/consumers?confirm=60s";
    let made = admin
        .post(path, json!({"username": "bob"}))
        .await
        .expect(201);
    assert_eq!(made.header("x-tidings-confirmed"), "all");
    until_ready(&mut other, |reasons| reasons.contains("staleness")).await;
    link.set(Link::Open);
    until_ready(&mut other, |reasons| reasons.is_empty()).await;
    a.stop().await;
    b.stop().await;
}

/// Waits until the reasons against a node are as expected.
async fn until_ready(admin: &mut Client, expected: impl Fn(&str) -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(Duration::from_secs(60));
    loop {
        let answer = admin.get("/readyz").await.json();
        let reasons = answer["reasons"].to_string().replace("null", "");
        if expected(&reasons) {
            return;
        }
        assert!(clock.now() < deadline, "{answer}");
    }
}
