//! Cached entries, page by page, and why a key holds what it holds.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use tidings::{CrudEvent, GetOptions};

use super::node::{Admin, NODE_ID};
use crate::entities::ShopKey;

/// Looks a key up through the cache, as a gateway does.
async fn look_up(admin: &Admin, key: &str) {
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let cache_key = keys.cache_key(&[key]).unwrap();
    let load = || keys.select_by("key", key);
    let cache = admin.node.cache();
    let found = cache.get(&cache_key, GetOptions::default(), load);
    drop(found.await.unwrap());
}

fn keys(page: &Json) -> Vec<String> {
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| row["cache_key"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_cached_is_listed_without_values_page_by_page() {
    let admin = Admin::new().await;
    assert_eq!(
        admin.get("/cache").await.ok(),
        json!({ "data": [], "next": null })
    );
    admin.shop("a").await;
    let key = json!({ "key": "k0" });
    admin.json("POST", "/shops/a/keys", key).await.created();
    let mut expected = BTreeSet::new();
    for number in 0..25 {
        look_up(&admin, &format!("k{number}")).await;
        expected.insert(format!("shop_keys:k{number}"));
    }
    let other = tidings::CacheKey::new("other", &["x"]);
    let cache = admin.node.cache();
    cache
        .set(&other, Some("s3cret"), GetOptions::default())
        .unwrap();

    let all = admin.get("/cache").await;
    assert!(!all.text.contains("s3cret"));
    let all = all.ok();
    assert_eq!(all["data"].as_array().unwrap().len(), 26);
    let rows = all["data"].as_array().unwrap().iter();
    let row = |key: &str| {
        rows.clone()
            .find(|row| row["cache_key"] == key)
            .unwrap()
            .clone()
    };
    let held = row("shop_keys:k0");
    assert_eq!(
        (&held["entity"], &held["level"]),
        (&json!("shop_keys"), &json!("l2"))
    );
    assert_eq!(
        (&held["kind"], &held["ttl"]),
        (&json!("value"), &Json::Null)
    );
    assert!(held["age"].as_f64().unwrap() >= 0.0 && held["bytes"].as_u64().unwrap() > 0);
    let absent = row("shop_keys:k1");
    assert_eq!(absent["kind"], "absence");
    assert!(absent["ttl"].as_f64().unwrap() > 0.0);

    // More lists at once than there are walks that wait, each of them twice.
    for _ in 0..3 {
        let mut found = Vec::new();
        let mut next = "/cache?entity=shop_keys&size=4".to_owned();
        loop {
            let page = admin.get(&next).await.ok();
            assert!(page["data"].as_array().unwrap().len() <= 4);
            found.extend(keys(&page));
            let Some(path) = page["next"].as_str() else {
                break;
            };
            let (again, one_more) = (admin.get(path).await.ok(), admin.get(path).await.ok());
            assert_eq!(
                keys(&again),
                keys(&one_more),
                "a page may be asked for again"
            );
            next = path.to_owned();
        }
        assert_eq!(found.len(), 25);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    let none = admin.get("/cache?entity=shops").await.ok();
    assert_eq!(none["data"], json!([]));

    for wrong in ["offset=", "offset=7", "offset=7.x", "offset=a&offset=b"] {
        let refused = admin.get(&format!("/cache?{wrong}")).await;
        refused.refused(400, 7, "invalid offset");
    }
    // Of places that the cache does not reach.
    let id = "0123456789abcdef0123456789abcdef";
    for beyond in [27, 10_001, u64::MAX - 10_000, u64::MAX] {
        let refused = admin.get(&format!("/cache?offset={beyond}.{id}")).await;
        refused.refused(400, 7, "invalid offset");
    }
    let last = admin.get(&format!("/cache?offset=26.{id}")).await.ok();
    assert_eq!(last, json!({ "data": [], "next": null }));
    admin
        .get("/cache?size=0")
        .await
        .refused(400, 9, "invalid size");
    admin
        .get("/cache?key=x")
        .await
        .refused(400, 11, "invalid options");
}

#[tokio::test]
async fn a_key_is_explained_by_its_load_and_by_what_evicted_it() {
    let admin = Admin::new().await;
    admin.get("/cache/shop_keys:k/explain").await.not_found();
    let path = "/cache/shop_keys:k/explain";
    let handler = |_: &CrudEvent<ShopKey>| {};
    let events = admin.node.worker_events();
    let named = events.on("crud", "shop_keys:update").named("watch-keys");
    named.register(handler).unwrap().keep();

    admin.shop("a").await;
    look_up(&admin, "k").await;
    let absent = admin.get(path).await.ok();
    assert_eq!(
        (&absent["kind"], &absent["type"]),
        (&json!("absence"), &Json::Null)
    );
    assert_eq!(absent["loaded"]["by"], "miss");
    assert_eq!(absent["invalidations"], json!([]));

    let key = json!({ "key": "k" });
    let made = admin.json("POST", "/shops/a/keys", key).await.created();
    look_up(&admin, "k").await;
    let held = admin.get(path).await.ok();
    assert_eq!(
        (&held["kind"], &held["entity"]),
        (&json!("value"), &json!("shop_keys"))
    );
    assert_eq!(held["cache_key"], "shop_keys:k");
    assert_eq!(held["loaded"]["number"], held["number"]);
    assert_eq!(
        (&held["loaded"]["kept"], &held["ttl"]),
        (&json!(true), &Json::Null)
    );
    let created = &held["invalidations"][0];
    assert_eq!(created["cause"], "change");
    assert_eq!(
        (&created["operation"], &created["row"]),
        (&json!("create"), &made["id"])
    );
    assert_eq!(
        (&created["node"], &created["evicted"]),
        (&json!(NODE_ID), &json!(true))
    );

    let changed = json!({ "tags": ["t"] });
    admin.json("PATCH", "/shop-keys/k", changed).await.ok();
    let told = admin.get(path).await.ok();
    assert_eq!((&told["kind"], &told["loaded"]), (&Json::Null, &Json::Null));
    assert_eq!(told["loads"].as_array().unwrap().len(), 2);
    let updated = &told["invalidations"][0];
    assert_eq!(
        (&updated["operation"], &updated["row"]),
        (&json!("update"), &made["id"])
    );
    assert_eq!(updated["entity"], "shop_keys");
    assert_eq!(updated["handlers"], "everywhere");
    let handlers = told["handlers"].as_array().unwrap();
    assert!(
        handlers.iter().any(|it| it["name"] == "watch-keys"),
        "{handlers:?}"
    );

    admin.delete("/cache/shop_keys:k").await.no_content();
    admin.delete("/cache").await.no_content();
    let told = admin.get(path).await.ok();
    let causes: Vec<_> = (0..2)
        .map(|index| {
            let it = &told["invalidations"][index];
            (
                it["event"].as_str().unwrap().to_owned(),
                it["cause"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let caller = |event: &str| (event.to_owned(), "caller".to_owned());
    assert_eq!(causes, [caller("purged"), caller("invalidated")]);
    admin
        .get(&format!("{path}?a=1"))
        .await
        .refused(400, 11, "invalid options");
    admin
        .delete(path)
        .await
        .refused(405, 23, "method not allowed");
    admin
        .get("/cache/shop_keys:other/explain")
        .await
        .not_found();
    let metrics = admin.get("/metrics").await.text;
    assert!(
        metrics.contains("\ntidings_cache_recorder_bytes "),
        "{metrics}"
    );
}
