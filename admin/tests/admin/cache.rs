//! What is cached, and the node's own state.

use serde_json::json;
use tidings::{CacheKey, GetOptions};

use super::node::{Admin, NODE_ID};
use crate::entities::ShopKey;

/// Looks a key up through the cache, as a gateway does.
async fn look_up(admin: &Admin, key: &str) -> bool {
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let cache_key = keys.cache_key(&[key]).unwrap();
    let load = keys.select_by("key", key);
    let found = admin
        .node
        .cache()
        .get(&cache_key, GetOptions::default(), || load);
    found.await.unwrap().is_some()
}

// AD1, AD2, AD3
#[tokio::test]
async fn a_cached_value_is_shown_and_forgotten() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let made = admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    let told = admin.get("/schemas/shop_keys/cache-key?key=k").await.ok();
    let path = format!("/cache/{}", told["cache_key"].as_str().unwrap());
    admin.get(&path).await.not_found();
    for drop in ["", "?cluster=true", "?cluster=false"] {
        assert!(look_up(&admin, "k").await);
        assert_eq!(admin.get(&path).await.ok(), made);
        admin.delete(&format!("{path}{drop}")).await.no_content();
        admin.get(&path).await.not_found();
        admin.delete(&format!("{path}{drop}")).await.no_content();
    }
    for drop in ["/cache", "/cache/?cluster=true"] {
        assert!(look_up(&admin, "k").await);
        admin.delete(drop).await.no_content();
        admin.get(&path).await.not_found();
    }
    admin
        .delete("/cache?cluster=maybe")
        .await
        .refused(400, 11, "invalid options");
}

// AD1
#[tokio::test]
async fn a_cached_absence_is_an_empty_object() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    assert!(!look_up(&admin, "k").await);
    assert_eq!(admin.get("/cache/shop_keys:k").await.ok(), json!({}));
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    admin.get("/cache/shop_keys:k").await.not_found();
    assert!(look_up(&admin, "k").await);
}

// PL2, PL3: a write through the API is seen by the next look-up.
#[tokio::test]
async fn what_a_write_touches_is_no_longer_cached() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    assert!(look_up(&admin, "k").await);
    admin
        .json("PATCH", "/shop-keys/k", json!({ "key": "l" }))
        .await
        .ok();
    assert!(!look_up(&admin, "k").await);
    assert!(look_up(&admin, "l").await);
    admin.delete("/shops/a/keys/l").await.no_content();
    assert!(!look_up(&admin, "l").await);
}

#[tokio::test]
async fn a_cache_key_with_structure_in_it_survives_the_path() {
    let admin = Admin::new().await;
    for key in ["a:b/c", "100%", "~", "a b?c=d&e", "é@"] {
        assert!(!look_up(&admin, key).await);
        let escaped = escape(key);
        let told = admin
            .get(&format!("/schemas/shop_keys/cache-key?key={escaped}"))
            .await
            .ok();
        let cache_key = told["cache_key"].as_str().unwrap();
        assert_eq!(cache_key, CacheKey::new("shop_keys", &[key]).as_str());
        let path = format!("/cache/{}", escape(cache_key));
        assert_eq!(admin.get(&path).await.ok(), json!({}), "{key}");
        admin.delete(&path).await.no_content();
        admin.get(&path).await.not_found();
    }
}

#[tokio::test]
async fn a_cache_key_is_made_of_field_values() {
    let admin = Admin::new().await;
    let id = admin.shop("a").await;
    let told = async |path: String| {
        admin.get(&path).await.ok()["cache_key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let role = format!("roles:{id}:x");
    for shop in ["shop", "shop.id"] {
        let path = format!("/schemas/roles/cache-key?role=x&{shop}={id}");
        assert_eq!(told(path).await, role);
    }
    let part = told("/schemas/roles/cache-key?role=x".to_owned()).await;
    assert_eq!(part, "roles:~:x", "a part that is left out is absent");
    let primary = told(format!("/schemas/roles/cache-key?id={id}")).await;
    assert_eq!(primary, format!("roles@{id}"));
    assert_eq!(
        told("/schemas/shelves/cache-key?number=7".to_owned()).await,
        "shelves@7"
    );

    let wrong = [
        ("roles/cache-key", "@entity"),
        ("shelves/cache-key?place=3", "@entity"),
        ("roles/cache-key?role=x&bogus=1", "bogus"),
        ("roles/cache-key?shop=x", "shop"),
        ("roles/cache-key?shop.name=x", "shop.name"),
        ("roles/cache-key?role=x&role=y", "role"),
        ("roles/cache-key?role=", "role"),
        ("roles/cache-key?role=%FF", "role"),
        ("roles/cache-key?role=x&%FF=1", "%FF"),
    ];
    for (path, field) in wrong {
        let refused = admin.get(&format!("/schemas/{path}")).await;
        assert_eq!(refused.wrong_fields(), [field], "{path}");
    }
    admin
        .get("/schemas/unknown/cache-key?id=1")
        .await
        .not_found();
}

#[tokio::test]
async fn the_status_tells_of_workers_database_and_cache() {
    let admin = Admin::new().await;
    assert!(!look_up(&admin, "k").await);
    assert!(!look_up(&admin, "k").await);
    let status = admin.get("/status").await.ok();
    assert_eq!(status["node_id"], NODE_ID);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime"].is_u64());
    assert_eq!(status["database"]["reachable"], true);
    assert_eq!(status["database"]["engine"], super::database::ENGINE);
    assert_eq!(
        status["cluster"],
        json!({ "mode": "none", "state": "alone" })
    );
    let workers = status["workers"].as_array().unwrap();
    let ids: Vec<_> = workers
        .iter()
        .map(|worker| worker["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [0, 1]);
    assert!(
        workers
            .iter()
            .all(|worker| worker["l1_hits"] == 0 && worker["misses"] == 0)
    );
    assert_eq!(status["cache"]["misses"], 1);
    assert_eq!(status["cache"]["l1_hits"], 1, "this thread has an L1 too");
    assert_eq!(status["cache"]["absences"], 1);
    assert!(status["cache"]["bytes"].as_u64() <= status["cache"]["capacity"].as_u64());
}

fn escape(text: &str) -> String {
    let bytes = text.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}
