//! Rows below their parent.

use serde_json::json;

use super::node::Admin;

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

// PL9
#[tokio::test]
async fn a_childs_life_below_its_parent() {
    let admin = Admin::new().await;
    let shop = admin.shop("a").await;
    let made = admin.call("POST", "/shops/a/keys").await.created();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(key.len(), 32, "a key is made where none is sent");
    assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(made["shop"], json!({ "id": shop }));

    let paths = [
        format!("/shops/a/keys/{id}"),
        format!("/shops/a/keys/{key}"),
        format!("/shops/{shop}/keys/{key}"),
        format!("/shop-keys/{key}"),
        format!("/shop-keys/{id}"),
    ];
    for path in &paths {
        assert_eq!(admin.get(path).await.ok(), made, "{path}");
    }
    let list = admin.get("/shops/a/keys").await.ok();
    assert_eq!(list, json!({ "data": [made], "next": null }));

    let patched = admin
        .json("PATCH", &paths[1], json!({ "key": "k2" }))
        .await
        .ok();
    assert_eq!(patched["id"], id);
    let replaced = admin
        .json("PUT", "/shops/a/keys/k2", json!({ "tags": ["t"] }))
        .await
        .ok();
    assert_eq!(
        (&replaced["id"], &replaced["shop"], &replaced["tags"]),
        (&json!(id), &json!({ "id": shop }), &json!(["t"]))
    );
    let new = admin.json("PUT", "/shops/a/keys/k3", json!({})).await.ok();
    assert_eq!(
        (&new["key"], &new["shop"]),
        (&json!("k3"), &json!({ "id": shop }))
    );
    let by_id = admin
        .json(
            "PUT",
            &format!("/shops/a/keys/{UNKNOWN}"),
            json!({ "key": "k4" }),
        )
        .await
        .ok();
    assert_eq!(
        (&by_id["id"], &by_id["key"]),
        (&json!(UNKNOWN), &json!("k4"))
    );

    admin.delete("/shops/a/keys/k2").await.no_content();
    admin.delete("/shops/a/keys/k2").await.no_content();
    admin.get(&format!("/shop-keys/{id}")).await.not_found();
}

// PL9
#[tokio::test]
async fn a_child_of_another_parent_is_not_found_and_not_touched() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin.shop("b").await;
    let made = admin
        .json("POST", "/shops/b/keys", json!({ "key": "k" }))
        .await
        .created();
    let before = admin.everything().await;
    let id = made["id"].as_str().unwrap();
    for name in ["k", id] {
        let path = format!("/shops/a/keys/{name}");
        admin.get(&path).await.not_found();
        admin.delete(&path).await.not_found();
        for method in ["PUT", "PATCH"] {
            admin
                .json(method, &path, json!({ "key": "x" }))
                .await
                .not_found();
        }
    }
    assert_eq!(admin.everything().await, before);
}

// PL9
#[tokio::test]
async fn below_a_missing_parent_there_is_nothing() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    let before = admin.everything().await;
    for parent in ["b", UNKNOWN] {
        admin
            .get(&format!("/shops/{parent}/keys"))
            .await
            .not_found();
        admin
            .json("POST", &format!("/shops/{parent}/keys"), json!({}))
            .await
            .not_found();
        let path = format!("/shops/{parent}/keys/k");
        admin.get(&path).await.not_found();
        admin.delete(&path).await.not_found();
        for method in ["PUT", "PATCH"] {
            admin.json(method, &path, json!({})).await.not_found();
        }
    }
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn a_body_that_names_another_parent_is_refused() {
    let admin = Admin::new().await;
    let a = admin.shop("a").await;
    let b = admin.shop("b").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    let before = admin.everything().await;
    for shop in [json!({ "id": b }), json!({ "id": UNKNOWN })] {
        let body = json!({ "shop": shop });
        for (method, path) in [
            ("POST", "/shops/a/keys"),
            ("PUT", "/shops/a/keys/k"),
            ("PUT", "/shops/a/keys/new"),
            ("PATCH", "/shops/a/keys/k"),
        ] {
            let refused = admin.json(method, path, body.clone()).await;
            assert_eq!(refused.wrong_fields(), ["shop"], "{method} {path} {body}");
        }
    }
    let cleared = admin.json("PATCH", "/shops/a/keys/k", json!({ "shop": null }));
    assert_eq!(cleared.await.wrong_fields(), ["shop"]);
    assert_eq!(admin.everything().await, before);
    let absent = json!({ "shop": null, "key": "k3" });
    admin.json("POST", "/shops/a/keys", absent).await.created();
    let agrees = json!({ "shop": { "id": a }, "key": "k2" });
    admin.json("POST", "/shops/a/keys", agrees).await.created();
    // Outside the nested path a row may move.
    let moved = json!({ "shop": { "id": b } });
    admin.json("PATCH", "/shop-keys/k", moved).await.ok();
    admin.get("/shops/a/keys/k").await.not_found();
    admin.get("/shops/b/keys/k").await.ok();
}

#[tokio::test]
async fn a_field_that_is_unique_below_a_parent_names_its_row_there() {
    let admin = Admin::new().await;
    let a = admin.shop("a").await;
    admin.shop("b").await;
    let role = admin
        .json("POST", "/shops/a/roles", json!({ "role": "x" }))
        .await
        .created();
    let other = admin
        .json("POST", "/shops/b/roles", json!({ "role": "x" }))
        .await
        .created();
    assert_eq!(admin.get("/shops/a/roles/x").await.ok(), role);
    assert_eq!(admin.get("/shops/b/roles/x").await.ok(), other);
    admin.get("/roles/x").await.not_found();
    admin.json("PUT", "/roles/x", json!({})).await.not_found();

    let clash = admin
        .json("POST", "/shops/a/roles", json!({ "role": "x" }))
        .await;
    clash.refused(409, 5, "unique constraint violation");

    let made = admin
        .json("PUT", "/shops/a/roles/y", json!({ "tags": ["t"] }))
        .await
        .ok();
    assert_eq!(
        (&made["role"], &made["shop"]),
        (&json!("y"), &json!({ "id": a }))
    );
    let replaced = admin.json("PUT", "/shops/a/roles/y", json!({})).await.ok();
    assert_eq!(
        (&replaced["id"], &replaced["tags"]),
        (&made["id"], &json!(null))
    );
    let renamed = admin
        .json("PATCH", "/shops/a/roles/y", json!({ "role": "z" }))
        .await
        .ok();
    assert_eq!(renamed["id"], made["id"]);
    admin.delete("/shops/a/roles/x").await.no_content();
    admin.delete("/shops/a/roles/x").await.no_content();
    assert_eq!(admin.get("/shops/b/roles/x").await.ok(), other);
}

#[tokio::test]
async fn a_deleted_parent_takes_its_children_along() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    admin
        .json("PUT", "/shops/a/shelves/7", json!({}))
        .await
        .ok();
    admin.delete("/shops/a").await.no_content();
    admin.get("/shop-keys/k").await.not_found();
    assert_eq!(admin.get("/shelves/7").await.ok()["shop"], json!(null));
}
