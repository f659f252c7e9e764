//! Keys and fields of other kinds than a gateway has.

use serde_json::{Value as Json, json};

use super::node::Admin;

#[tokio::test]
async fn a_primary_key_may_be_a_number_that_is_not_made() {
    let admin = Admin::new().await;
    let shelf = json!({
        "number": -7, "place": 3, "height": 1.5, "fragile": false, "checked_at": 1_700_000_000,
        "extra": { "a": [1, null] },
    });
    let made = admin.json("POST", "/shelves", shelf).await.created();
    assert_eq!(admin.get("/shelves/-7").await.ok(), made);
    assert_eq!(made["extra"], json!({ "a": [1, null] }));
    assert_eq!(
        admin.get("/shelves/3").await.ok(),
        made,
        "by its endpoint key, a number too"
    );
    let form = "place=4&height=2.5&fragile=true&checked_at=5&extra={\"b\":1}";
    let patched = admin.form("PATCH", "/shelves/-7", form).await.ok();
    assert_eq!(
        patched,
        json!({
            "number": -7, "place": 4, "shop": null, "height": 2.5, "fragile": true,
            "checked_at": 5, "extra": { "b": 1 },
        })
    );
    let put = admin.json("PUT", "/shelves/12", json!({})).await.ok();
    assert_eq!(put["number"], 12);
    for name in ["x", "1.5", "99999999999999999999", "12%20"] {
        let path = format!("/shelves/{name}");
        admin.get(&path).await.not_found();
        admin.json("PUT", &path, json!({})).await.not_found();
        admin.delete(&path).await.no_content();
    }
}

// AD5
#[tokio::test]
async fn each_field_of_a_wrong_kind_is_named() {
    let admin = Admin::new().await;
    let wrong = json!({
        "number": "7", "place": -1, "shop": "id", "height": true, "fragile": 1,
        "checked_at": 1.5, "nonsense": {},
    });
    let mut expected = [
        "number",
        "place",
        "shop",
        "height",
        "fragile",
        "checked_at",
        "nonsense",
    ];
    expected.sort_unstable();
    let refused = admin.json("POST", "/shelves", wrong).await;
    assert_eq!(refused.wrong_fields(), expected);
    for shop in [
        json!({}),
        json!({ "id": null }),
        json!({ "id": 7 }),
        json!([]),
        json!({ "id": "x" }),
    ] {
        let refused = admin
            .json("POST", "/shelves", json!({ "number": 1, "shop": shop }))
            .await;
        assert_eq!(refused.wrong_fields(), ["shop"]);
    }
    assert_eq!(admin.get("/shelves").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn a_primary_key_may_be_a_text_with_anything_in_it() {
    let admin = Admin::new().await;
    admin
        .json("POST", "/shelves", json!({ "number": 1 }))
        .await
        .created();
    for label in [
        "a%2Fb",
        "..",
        "%25",
        "%3F%23",
        "%E2%98%83",
        "a+b",
        "%22%27--",
    ] {
        let path = format!("/shelves/1/boxes/{label}");
        let put = admin.json("PUT", &path, json!({})).await.ok();
        assert_eq!(
            admin.get(&format!("/boxes/{label}")).await.ok(),
            put,
            "{label}"
        );
        assert_eq!(admin.get(&path).await.ok(), put, "{label}");
        admin.delete(&path).await.no_content();
        admin.get(&path).await.not_found();
    }
}

// DA9
#[tokio::test]
async fn a_parent_that_is_still_referred_to_is_not_deleted() {
    let admin = Admin::new().await;
    admin
        .json("POST", "/shelves", json!({ "number": 1 }))
        .await
        .created();
    admin
        .json("PUT", "/shelves/1/boxes/a", json!({}))
        .await
        .ok();
    let before = admin.everything().await;
    let refused = admin.delete("/shelves/1").await;
    refused.refused(400, 4, "foreign key violation");
    assert_eq!(admin.everything().await, before);
    admin.delete("/boxes/a").await.no_content();
    admin.delete("/shelves/1").await.no_content();
}

#[tokio::test]
async fn a_child_may_have_two_parents_one_of_them_its_like() {
    let admin = Admin::new().await;
    admin
        .json("POST", "/shelves", json!({ "number": 1 }))
        .await
        .created();
    let outer = json!({ "label": "outer" });
    admin
        .json("POST", "/shelves/1/boxes", outer)
        .await
        .created();
    let inner = json!({ "label": "inner", "shelf": { "number": 1 } });
    admin
        .json("POST", "/boxes/outer/boxes", inner)
        .await
        .created();
    let below = |list: Json| list["data"].as_array().unwrap().len();
    assert_eq!(below(admin.get("/boxes/outer/boxes").await.ok()), 1);
    assert_eq!(below(admin.get("/shelves/1/boxes").await.ok()), 2);
    assert_eq!(
        admin.get("/boxes/inner/within").await.ok()["label"],
        "outer"
    );
    admin.get("/boxes/outer/boxes/outer").await.not_found();
    let missing = json!({ "label": "x" });
    let refused = admin.json("POST", "/boxes/outer/boxes", missing).await;
    assert_eq!(refused.wrong_fields(), ["shelf"]);
}

#[tokio::test]
async fn an_entity_without_a_path_is_not_shown() {
    let admin = Admin::new().await;
    admin.get("/secrets").await.not_found();
    assert_eq!(admin.get("/schemas/secrets").await.ok()["name"], "secrets");
}

#[tokio::test]
async fn a_schema_tells_fields_keys_and_relations() {
    let admin = Admin::new().await;
    let schema = admin.get("/schemas/shop_keys").await.ok();
    assert_eq!(schema["primary_key"], "id");
    assert_eq!(schema["endpoint_key"], "key");
    assert_eq!(schema["cache_key"], json!(["key"]));
    let field = |name: &str| {
        let fields = schema["fields"].as_array().unwrap();
        fields
            .iter()
            .find(|field| field["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(field("shop")["reference"]["entity"], "shops");
    assert_eq!(field("shop")["reference"]["on_delete"], "cascade");
    assert_eq!(field("shop")["required"], true);
    assert_eq!(field("key")["unique"], true);
    assert_eq!(field("tags")["type"], "set");
    let shops = admin.get("/schemas/shops").await.ok();
    let referring: Vec<_> = shops["referred_by"].as_array().unwrap().to_vec();
    assert_eq!(
        referring,
        [
            json!({ "entity": "shop_keys", "field": "shop" }),
            json!({ "entity": "roles", "field": "shop" }),
            json!({ "entity": "shelves", "field": "shop" }),
        ]
    );
    admin.get("/schemas/shop-keys").await.not_found();
    admin.get("/schemas/unknown").await.not_found();
}
