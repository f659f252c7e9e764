//! Why a key holds its value, asked of a node of a cluster over HTTP.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidings_testkit::Server;

use crate::{client::Client, event_stream::member};

/// Returns the explanation of the key `k1`.
async fn told(admin: &mut Client) -> Json {
    let path = "/cache/keyauth_credentials%3Avery-s3cret/explain";
    let told = admin.get(path).await.expect(200);
    assert!(!String::from_utf8_lossy(&told.body).contains("s3cret"));
    told.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_is_told_with_the_row_the_node_and_the_position_and_no_secret() {
    let database = Server::shared().database().await;
    let hour = Duration::from_secs(3_600);
    let (a, b) = (
        member(&database, "a", hour).await,
        member(&database, "b", hour).await,
    );
    let mut writer = Client::connect(a.admin_address()).await;
    let mut proxy = Client::connect(b.proxy_address()).await;
    let mut admin = Client::connect(b.admin_address()).await;
    writer
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let key = json!({"key": "very-s3cret"});
    let made = writer
        .post("/consumers/bob/key-auth?confirm=5s", key)
        .await
        .expect(201);
    let id = made.json()["id"].clone();
    proxy.with_key("very-s3cret").await.expect(200);

    let list = admin
        .get("/cache?entity=keyauth_credentials")
        .await
        .expect(200)
        .json();
    assert_eq!(list["data"][0]["cache_key"], "keyauth_credentials:***");
    let held = told(&mut admin).await;
    assert_eq!(
        (&held["kind"], &held["loaded"]["by"]),
        (&json!("value"), &json!("miss"))
    );
    assert_eq!(held["cache_key"], "keyauth_credentials:***");

    let changed = json!({"tags": ["t"]});
    writer
        .patch("/key-auths/very-s3cret?confirm=5s", changed)
        .await
        .expect(200);
    let after = told(&mut admin).await;
    let evicted = &after["invalidations"][0];
    assert_eq!(
        (&evicted["cause"], &evicted["operation"]),
        (&json!("change"), &json!("update"))
    );
    assert_eq!(
        (&evicted["row"], &evicted["entity"]),
        (&id, &json!("keyauth_credentials"))
    );
    assert_eq!(
        (&evicted["node"], &evicted["evicted"]),
        (&json!("a"), &json!(true))
    );
    assert!(
        evicted["position"]
            .as_str()
            .is_some_and(|it| it.starts_with("1.")),
        "{evicted}"
    );

    // Another program's.
    proxy.with_key("very-s3cret").await.expect(200);
    database.psql("update keyauth_credentials set enabled = false");
    let status = async || {
        let mut proxy = Client::connect(b.proxy_address()).await;
        proxy.with_key("very-s3cret").await.status
    };
    while status().await != 401 {
        tokio::task::yield_now().await;
    }
    let after = told(&mut admin).await;
    let evicted = after["invalidations"].as_array().expect("a list").iter();
    let mut other = evicted.filter(|it| it["cause"] == "change" && it["node"].is_null());
    assert!(other.next().is_some(), "{after}");

    // Asked for on another node.
    writer
        .delete("/cache?cluster=true&confirm=5s")
        .await
        .expect(204);
    let after = told(&mut admin).await;
    let purged = &after["invalidations"][0];
    assert_eq!(
        (&purged["event"], &purged["cause"]),
        (&json!("purged"), &json!("everywhere"))
    );
    assert_eq!(purged["node"], "a");
    a.shutdown().await;
    b.shutdown().await;
}
