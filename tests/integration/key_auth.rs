//! The key-auth plugin over HTTP: what passes, what is refused, and when that changes.

use http::Method;
use serde_json::{Value as Json, json};

use crate::{
    client::Client,
    gateway::{Served, served, served_with},
};

/// A consumer `bob` with the key `abcd`.
async fn with_bob() -> (Served, Client, Client) {
    let served = served(2).await;
    let (mut admin, proxy) = (served.admin().await, served.proxy().await);
    admin
        .post("/consumers", json!({"username": "bob", "custom_id": "b-1"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    (served, admin, proxy)
}

async fn cache_path(admin: &mut Client, key: &str) -> String {
    let path = format!("/schemas/keyauth_credentials/cache-key?key={key}");
    let cache_key = admin.get(&path).await.expect(200).json()["cache_key"].clone();
    format!(
        "/cache/{}",
        cache_key
            .as_str()
            .expect("a cache key is a string")
            .replace(':', "%3A")
    )
}

fn message(answer: &crate::client::Answer) -> Json {
    answer.json()["message"].clone()
}

// PL1
#[tokio::test]
async fn deleting_the_consumer_revokes_its_warm_key() {
    let (served, mut admin, mut proxy) = with_bob().await;
    proxy.with_key("abcd").await.expect(200);
    let cached = cache_path(&mut admin, "abcd").await;
    assert_eq!(admin.get(&cached).await.expect(200).json()["key"], "abcd");

    admin.delete("/consumers/bob").await.expect(204);

    admin.get(&cached).await.expect(404);
    let refused = proxy.with_key("abcd").await.expect(401);
    assert_eq!(message(&refused), "Invalid authentication credentials");
    admin.get("/key-auths/abcd").await.expect(404);
    served.stop().await;
}

// PL2
#[tokio::test]
async fn deleting_the_credential_revokes_it() {
    let (served, mut admin, mut proxy) = with_bob().await;
    proxy.with_key("abcd").await.expect(200);
    admin
        .delete("/consumers/bob/key-auth/abcd")
        .await
        .expect(204);
    proxy.with_key("abcd").await.expect(401);
    served.stop().await;
}

// PL3
#[tokio::test]
async fn changing_the_key_refuses_the_old_one_and_takes_the_new_one() {
    let (served, mut admin, mut proxy) = with_bob().await;
    proxy.with_key("abcd").await.expect(200);
    proxy.with_key("efgh").await.expect(401);
    admin
        .patch("/key-auths/abcd", json!({"key": "efgh"}))
        .await
        .expect(200);
    proxy.with_key("abcd").await.expect(401);
    proxy.with_key("efgh").await.expect(200);
    served.stop().await;
}

// PL7
#[tokio::test]
async fn creating_a_key_evicts_its_cached_absence() {
    let (served, mut admin, mut proxy) = with_bob().await;
    proxy.with_key("late").await.expect(401);
    let cached = cache_path(&mut admin, "late").await;
    assert_eq!(
        admin.get(&cached).await.expect(200).json(),
        json!({}),
        "an absence is cached"
    );
    admin
        .post("/consumers/bob/key-auth", json!({"key": "late"}))
        .await
        .expect(201);
    proxy.with_key("late").await.expect(200);
    served.stop().await;
}

#[tokio::test]
async fn a_known_key_is_passed_on_with_its_consumer_and_nothing_forged() {
    let (served, mut admin, mut proxy) = with_bob().await;
    let bob = admin.get("/consumers/bob").await.expect(200).json();
    let credential = admin.get("/key-auths/abcd").await.expect(200).json();
    let forged = [
        ("apikey", "abcd"),
        ("x-consumer-id", "forged"),
        ("x-consumer-username", "forged"),
        ("x-consumer-custom-id", "forged"),
        ("x-credential-identifier", "forged"),
        ("x-api-key", "forged"),
    ];
    let echo = proxy
        .send(Method::GET, "/path?a=1", &forged, None)
        .await
        .expect(200)
        .json();
    let headers = &echo["headers"];
    assert_eq!(headers["x-consumer-id"], bob["id"]);
    assert_eq!(headers["x-consumer-username"], "bob");
    assert_eq!(headers["x-consumer-custom-id"], "b-1");
    assert_eq!(headers["x-credential-identifier"], credential["id"]);
    assert_eq!(headers["x-api-key"], "abcd");
    assert_eq!(
        (&echo["method"], &echo["path"]),
        (&json!("GET"), &json!("/path"))
    );
    assert_eq!(echo["node_id"], served.node().id());
    served.stop().await;
}

#[tokio::test]
async fn a_custom_id_that_is_not_set_is_not_passed_on_even_if_the_client_sent_one() {
    let (served, mut admin, mut proxy) = with_bob().await;
    admin
        .patch("/consumers/bob", json!({"custom_id": null}))
        .await
        .expect(200);
    let headers = [("apikey", "abcd"), ("x-consumer-custom-id", "forged")];
    let echo = proxy
        .send(Method::GET, "/", &headers, None)
        .await
        .expect(200)
        .json();
    assert_eq!(echo["headers"].get("x-consumer-custom-id"), None);
    served.stop().await;
}

#[tokio::test]
async fn a_key_is_missing_duplicate_or_unknown_each_with_its_message() {
    let (served, _admin, mut proxy) = with_bob().await;
    let none = proxy.get("/").await.expect(401);
    assert_eq!(message(&none), "No API key found in request");
    assert_eq!(none.header("www-authenticate"), "Key");
    assert!(!none.header("x-tidings-node").is_empty() && none.worker() < 2);

    let twice: [(&[(&str, &str)], &str); 3] = [
        (&[("apikey", "abcd"), ("apikey", "abcd")], "/"),
        (&[("apikey", "abcd")], "/?apikey=abcd"),
        (&[], "/?apikey=abcd&apikey=abcd"),
    ];
    for (headers, path) in twice {
        let refused = proxy
            .send(Method::GET, path, headers, None)
            .await
            .expect(401);
        assert_eq!(
            message(&refused),
            "Duplicate API key found",
            "{headers:?} {path}"
        );
    }
    proxy.get("/?apikey=abcd").await.expect(200);
    proxy.get("/?apikey=%61bcd").await.expect(200);
    let unknown = proxy.with_key("nobody").await.expect(401);
    assert_eq!(message(&unknown), "Invalid authentication credentials");
    served.stop().await;
}

#[tokio::test]
async fn groups_open_the_proxy_to_their_members_only() {
    let served = served_with(|settings| settings.allow_groups = Some(vec!["staff".into()])).await;
    let (mut admin, mut proxy) = (served.admin().await, served.proxy().await);
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    let refused = proxy.with_key("abcd").await.expect(403);
    assert_eq!(
        refused.json(),
        json!({"message": "You cannot consume this service"})
    );
    admin
        .post("/consumers/bob/acls", json!({"group": "guests"}))
        .await
        .expect(201);
    proxy.with_key("abcd").await.expect(403);
    admin
        .post("/consumers/bob/acls", json!({"group": "staff"}))
        .await
        .expect(201);
    proxy.with_key("abcd").await.expect(200);
    admin.delete("/consumers/bob/acls/staff").await.expect(204);
    proxy.with_key("abcd").await.expect(403);
    served.stop().await;
}

// G14: the handlers of both workers invalidate the same key by hand; the value is loaded once
// more, not twice.
#[tokio::test]
async fn an_invalidation_by_every_worker_costs_one_load() {
    let served = served_with(|settings| {
        settings.workers = 4;
        settings.allow_groups = Some(vec!["staff".into()]);
    })
    .await;
    let (mut admin, mut proxy) = (served.admin().await, served.proxy().await);
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/acls", json!({"group": "staff"}))
        .await
        .expect(201);
    proxy.with_key("abcd").await.expect(200);
    let loads = served.node().cache().stats().loads;
    admin
        .post("/consumers/bob/acls", json!({"group": "more"}))
        .await
        .expect(201);
    for _ in 0..10 {
        proxy.with_key("abcd").await.expect(200);
    }
    assert_eq!(served.node().cache().stats().loads, loads + 1);
    served.stop().await;
}

// WA1, WA2: after a restart with a warm-up the first request finds its rows in the cache.
#[tokio::test]
async fn a_warmed_up_gateway_answers_its_first_request_from_memory() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let first = served_with(|settings| settings.database = database.clone()).await;
    let mut admin = first.admin().await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    drop(admin);
    first.stop().await;

    let second = served_with(|settings| {
        settings.database = database;
        settings.warm_up = vec!["consumers".to_owned(), "keyauth_credentials".to_owned()];
    })
    .await;
    let misses = second.node().cache().stats().misses;
    second.proxy().await.with_key("abcd").await.expect(200);
    assert_eq!(second.node().cache().stats().misses, misses);
    second.stop().await;
}
