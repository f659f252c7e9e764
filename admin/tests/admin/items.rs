//! Rows by primary key and by endpoint key.

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::node::Admin;

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

// PL9
#[tokio::test]
async fn a_row_lives_through_every_method_by_id_and_by_name() {
    let admin = Admin::new().await;
    let made = admin
        .json("POST", "/shops", json!({ "name": "a", "tags": ["x"] }))
        .await
        .created();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["code"], Json::Null);
    assert!(made["created_at"].as_i64().unwrap() > 0);
    for path in [
        format!("/shops/{id}"),
        "/shops/a".to_owned(),
        "/shops/a/".to_owned(),
    ] {
        assert_eq!(admin.get(&path).await.ok(), made, "{path}");
        let head = admin.call("HEAD", &path).await;
        assert_eq!(head.status, StatusCode::OK);
        let length = head.headers["content-length"].to_str().unwrap();
        assert_eq!(length, made.to_string().len().to_string());
    }

    let patched = admin
        .json("PATCH", "/shops/a", json!({ "code": "c", "tags": null }))
        .await
        .ok();
    assert_eq!(
        (
            &patched["id"],
            &patched["name"],
            &patched["code"],
            &patched["tags"]
        ),
        (&made["id"], &json!("a"), &json!("c"), &Json::Null)
    );
    let renamed = admin
        .json("PATCH", &format!("/shops/{id}"), json!({ "name": "b" }))
        .await
        .ok();
    assert_eq!(renamed["code"], "c");
    admin.get("/shops/a").await.not_found();

    let replaced = admin
        .json("PUT", "/shops/b", json!({ "tags": ["y"] }))
        .await
        .ok();
    assert_eq!(
        (
            &replaced["id"],
            &replaced["name"],
            &replaced["code"],
            &replaced["tags"]
        ),
        (&made["id"], &json!("b"), &Json::Null, &json!(["y"]))
    );
    assert_eq!(replaced["created_at"], made["created_at"]);

    admin.delete("/shops/b").await.no_content();
    admin.delete("/shops/b").await.no_content();
    admin.delete(&format!("/shops/{id}")).await.no_content();
    admin.get(&format!("/shops/{id}")).await.not_found();
    admin
        .json("PATCH", "/shops/b", json!({ "code": "c" }))
        .await
        .not_found();
}

#[tokio::test]
async fn a_put_makes_the_row_that_its_path_names() {
    let admin = Admin::new().await;
    let by_name = admin
        .json("PUT", "/shops/a%2Fb%20%C3%A9", json!({ "name": "other" }))
        .await
        .ok();
    assert_eq!(by_name["name"], "a/b é", "the name is that of the path");
    assert_eq!(admin.get("/shops/a%2Fb%20%c3%a9").await.ok(), by_name);

    let by_id = admin
        .json(
            "PUT",
            &format!("/shops/{UNKNOWN}"),
            json!({ "name": "c", "id": UNKNOWN }),
        )
        .await
        .ok();
    assert_eq!(by_id["id"], UNKNOWN);
    let again = admin
        .json("PUT", &format!("/shops/{UNKNOWN}"), json!({ "name": "d" }))
        .await
        .ok();
    assert_eq!((&again["id"], &again["name"]), (&by_id["id"], &json!("d")));
    let with_id = admin
        .json(
            "PUT",
            "/shops/e",
            json!({ "id": "11111111-2222-4333-8444-555555555556" }),
        )
        .await
        .ok();
    assert_eq!(with_id["id"], "11111111-2222-4333-8444-555555555556");
    assert_eq!(with_id["name"], "e");
}

#[tokio::test]
async fn a_name_that_looks_like_a_uuid_is_found_after_the_ids() {
    let admin = Admin::new().await;
    let named = admin
        .json("POST", "/shops", json!({ "name": UNKNOWN }))
        .await
        .created();
    let path = format!("/shops/{UNKNOWN}");
    assert_eq!(admin.get(&path).await.ok()["id"], named["id"]);
    let patched = admin
        .json("PATCH", &path, json!({ "code": "c" }))
        .await
        .ok();
    assert_eq!(patched["id"], named["id"]);
    let replaced = admin.json("PUT", &path, json!({})).await.ok();
    assert_eq!(
        (&replaced["id"], &replaced["name"]),
        (&named["id"], &json!(UNKNOWN))
    );

    let id = admin
        .json("POST", "/shops", json!({ "id": UNKNOWN, "name": "z" }))
        .await
        .created();
    assert_eq!(admin.get(&path).await.ok(), id, "an id comes before a name");
    admin.delete(&path).await.no_content();
    assert_eq!(admin.get(&path).await.ok()["id"], named["id"]);
    admin.delete(&path).await.no_content();
    admin.get(&path).await.not_found();
}

#[tokio::test]
async fn hexadecimal_digits_without_hyphens_are_a_key() {
    let admin = Admin::new().await;
    let shop = admin.shop("a").await;
    let key = "67e5504410b1426f9247bb680e5fe0c8";
    let made = admin
        .json(
            "PUT",
            &format!("/shop-keys/{key}"),
            json!({ "shop": { "id": shop } }),
        )
        .await
        .ok();
    assert_eq!(made["key"], key);
}

// AD5
#[tokio::test]
async fn a_body_that_disagrees_with_its_path_is_refused() {
    let admin = Admin::new().await;
    let id = admin.shop("a").await;
    let before = admin.everything().await;
    let other = json!({ "id": UNKNOWN, "name": "b" });
    for path in [format!("/shops/{id}"), "/shops/a".to_owned()] {
        for method in ["PUT", "PATCH"] {
            let refused = admin.json(method, &path, other.clone()).await;
            assert_eq!(refused.wrong_fields(), ["id"], "{method} {path}");
        }
    }
    let absent = "/shops/11111111-2222-4333-8444-555555555557";
    let refused = admin.json("PUT", absent, other).await;
    assert_eq!(refused.wrong_fields(), ["id"]);
    let cleared = admin.json("PATCH", "/shops/a", json!({ "id": null })).await;
    assert_eq!(cleared.wrong_fields(), ["id"]);
    assert_eq!(admin.everything().await, before);

    let same = json!({ "id": id, "code": "c" });
    assert_eq!(admin.json("PATCH", "/shops/a", same).await.ok()["id"], id);
}

#[tokio::test]
async fn forms_write_what_json_writes() {
    let admin = Admin::new().await;
    let shop = admin
        .form("POST", "/shops", "name=bob&tags[]=a&tags[]=b")
        .await
        .created();
    assert_eq!(shop["tags"], json!(["a", "b"]));
    let id = shop["id"].as_str().unwrap();
    let key = admin
        .form("POST", "/shop-keys", &format!("shop.id={id}&key=k%2B1"))
        .await
        .created();
    assert_eq!(
        (&key["key"], &key["shop"]),
        (&json!("k+1"), &json!({ "id": id }))
    );
    let cleared = admin.form("PATCH", "/shops/bob", "code=c&tags=").await.ok();
    assert_eq!(
        (&cleared["code"], &cleared["tags"]),
        (&json!("c"), &Json::Null)
    );
}

#[tokio::test]
async fn a_row_leads_to_what_it_refers_to() {
    let admin = Admin::new().await;
    let id = admin.shop("a").await;
    let key = admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    for name in ["k", key["id"].as_str().unwrap()] {
        let shop = admin.get(&format!("/shop-keys/{name}/shop")).await.ok();
        assert_eq!(shop["id"], id);
    }
    admin.get("/shop-keys/unknown/shop").await.not_found();
    admin.get("/shop-keys/k/key").await.not_found();
    admin
        .json("POST", "/shelves", json!({ "number": 1 }))
        .await
        .created();
    admin.get("/shelves/1/shop").await.not_found();
}
