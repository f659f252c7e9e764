//! What a client gives is stored as it is or refused: never changed, never taken for something that
//! was not given.

use serde_json::{Value as Json, json};
use tidings_admin::AdminOptions;

use super::node::Admin;

const NIL: &str = "00000000-0000-0000-0000-000000000000";

fn names(list: &Json) -> Vec<&str> {
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| row["name"].as_str().unwrap()).collect()
}

/// D1
#[tokio::test]
async fn a_list_is_filtered_by_every_unique_and_every_foreign_field() {
    let admin = Admin::new().await;
    for (name, code) in [("a", "1"), ("b", "2")] {
        let shop = json!({ "name": name, "code": code });
        admin.json("POST", "/shops", shop).await.created();
        let keys = format!("/shops/{name}/keys");
        for key in ["x", "y"] {
            let key = json!({ "key": format!("{name}{key}"), "tags": [key] });
            admin.json("POST", &keys, key).await.created();
        }
    }
    let id = admin.get("/shops/b").await.ok()["id"].clone();
    let id = id.as_str().unwrap();
    for (query, expected) in [
        ("name=a", vec!["a"]),
        ("code=2", vec!["b"]),
        ("name=a&code=2", vec![]),
        ("name=nosuch", vec![]),
        (&format!("id={id}"), vec!["b"]),
    ] {
        let list = admin.get(&format!("/shops?{query}")).await.ok();
        assert_eq!(names(&list), expected, "{query}");
    }
    for of_shop in ["shop", "shop.id"] {
        let path = format!("/shop-keys?{of_shop}={id}");
        let list = admin.get(&path).await.ok();
        assert_eq!(list["data"].as_array().unwrap().len(), 2, "{path}");
        let first = admin.get(&format!("{path}&size=1")).await.ok();
        let next = first["next"].as_str().unwrap();
        let second = admin.get(next).await.ok();
        assert_eq!(second["data"][0]["shop"]["id"], id, "{next}");
        assert_eq!(second["next"], Json::Null);
    }
    let path = format!("/shop-keys?shop={id}&tags=x");
    assert_eq!(admin.get(&path).await.ok()["data"][0]["key"], "bx");
    let below = admin.get("/shops/a/keys?key=bx").await.ok();
    assert_eq!(below["data"], json!([]), "a row of another parent");
}

/// D1
#[tokio::test]
async fn an_argument_that_means_nothing_is_refused() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    for path in [
        "/shops?colour=blue",
        "/shops?usernmae=a",
        "/shops?created_at=0",
        "/shops?name=",
        "/shops?name=a&name=a",
        "/shops?id=x",
        "/shops/a?x=1",
        "/shops/a/keys?shop.name=a",
        "/status?x",
        "/?x",
    ] {
        let refused = admin.get(path).await;
        let body = refused.refused(400, 11, "invalid options");
        assert!(body["fields"].is_object(), "{path}: {body}");
    }
    let refused = admin
        .json("POST", "/shops?name=b", json!({ "code": "c" }))
        .await;
    refused.refused(400, 11, "invalid options");
    let refused = admin.delete("/cache?clutser=true").await;
    refused.refused(400, 11, "invalid options");
    assert_eq!(names(&admin.get("/shops").await.ok()), ["a"]);
}

/// P4
#[tokio::test]
async fn a_key_in_a_path_counts_only_in_its_canonical_spelling() {
    let admin = Admin::new().await;
    for number in [7, 9] {
        let shelf = json!({ "number": number, "place": number + 100 });
        admin.json("POST", "/shelves", shelf).await.created();
    }
    let before = admin.everything().await;
    for spelling in [
        "007", "+7", "%2B7", "07", "7.0", "0009", "+109", "0109", "-0",
    ] {
        let path = format!("/shelves/{spelling}");
        admin.get(&path).await.not_found();
        admin
            .json("PATCH", &path, json!({ "height": 1 }))
            .await
            .not_found();
        admin.json("PUT", &path, json!({})).await.not_found();
        admin.delete(&path).await.no_content();
        let path = format!("/schemas/shelves/cache-key?number={spelling}");
        let refused = admin.get(&path).await;
        assert_eq!(refused.wrong_fields(), ["number"], "{spelling}");
        let refused = admin.get(&format!("/shelves?number={spelling}")).await;
        refused.refused(400, 11, "invalid options");
    }
    assert_eq!(admin.everything().await, before);
    admin.delete("/shelves/7").await.no_content();
    admin.get("/shelves/7").await.not_found();
}

/// D3
#[tokio::test]
async fn the_nil_uuid_and_zero_are_values() {
    let admin = Admin::new().await;
    let path = format!("/shops/{NIL}");
    for name in ["a", "b"] {
        let put = admin.json("PUT", &path, json!({ "name": name })).await.ok();
        assert_eq!((&put["id"], &put["name"]), (&json!(NIL), &json!(name)));
    }
    let posted = json!({ "id": NIL, "name": "c" });
    let refused = admin.json("POST", "/shops", posted).await;
    refused.refused(409, 5, "unique constraint violation");
    let old = json!({ "name": "d", "created_at": 0 });
    let made = admin.json("POST", "/shops", old).await.created();
    assert_eq!(made["created_at"], 0);
    let refused = admin
        .json("POST", "/shops/a/keys", json!({ "key": "" }))
        .await;
    refused.not_found();
    for (method, path) in [("POST", "/shops/b/keys"), ("PUT", "/shops/b/keys/k")] {
        let refused = admin.form(method, path, "key=&tags[]=t").await;
        assert_eq!(refused.wrong_fields(), ["key"], "{method}");
        let refused = admin.json(method, path, json!({ "key": "" })).await;
        assert_eq!(refused.wrong_fields(), ["key"], "{method}");
    }
    assert_eq!(admin.get("/shop-keys").await.ok()["data"], json!([]));
}

/// D4
#[tokio::test]
async fn a_tag_that_no_filter_could_name_is_refused() {
    let admin = Admin::new().await;
    for tag in ["a,b", "a/b", ",", "/", ""] {
        let shop = json!({ "name": "x", "tags": ["fine", tag] });
        let refused = admin.json("POST", "/shops", shop).await;
        assert_eq!(refused.wrong_fields(), ["tags"], "{tag:?}");
    }
    let refused = admin.form("POST", "/shops", "name=x&tags=a,b").await;
    assert_eq!(refused.wrong_fields(), ["tags"]);
    assert_eq!(names(&admin.get("/shops").await.ok()), [""; 0]);
}

/// D5
#[tokio::test]
async fn a_reference_is_given_by_its_key_or_by_another_unique_field_alone() {
    let admin = Admin::new().await;
    let shop = json!({ "name": "a", "code": "7" });
    let shop = admin.json("POST", "/shops", shop).await.created();
    let of = |given: Json| json!({ "shop": given });
    let whole = of(shop.clone());
    let with_id = of(json!({ "id": shop["id"], "name": "another", "nonsense": [1] }));
    let by_name = of(json!({ "name": "a" }));
    let by_code = of(json!({ "code": "7" }));
    for body in [whole, with_id, by_name, by_code] {
        let made = admin.json("POST", "/shop-keys", body).await.created();
        assert_eq!(made["shop"], json!({ "id": shop["id"] }));
        let path = format!("/shop-keys/{}", made["key"].as_str().unwrap());
        let moved = admin
            .json("PATCH", &path, of(json!({ "name": "a" })))
            .await
            .ok();
        assert_eq!(moved["shop"], made["shop"]);
    }
    for form in [
        "shop.name=a",
        "shop.code=7",
        &format!("shop.id={}&shop.name=x", shop["id"].as_str().unwrap()),
    ] {
        let made = admin.form("POST", "/shop-keys", form).await.created();
        assert_eq!(made["shop"], json!({ "id": shop["id"] }), "{form}");
    }
    let nested = admin
        .json("POST", "/shops/a/keys", of(json!({ "name": "a" })))
        .await;
    nested.created();

    let before = admin.everything().await;
    for given in [
        json!({ "tags": ["x"] }),
        json!({ "name": "a", "code": "7" }),
        json!({ "name": null }),
        json!({ "name": 7 }),
        json!({ "id": null, "name": "a" }),
        json!({ "nonsense": "a" }),
        json!("a"),
        json!({}),
    ] {
        let refused = admin.json("POST", "/shop-keys", of(given.clone())).await;
        assert_eq!(refused.wrong_fields(), ["shop"], "{given}");
    }
    let refused = admin
        .json("POST", "/shop-keys", of(json!({ "name": "nosuch" })))
        .await;
    let body = refused.refused(400, 4, "foreign key violation");
    assert!(body["fields"]["shop"].is_string(), "{body}");
    admin.shop("b").await;
    let refused = admin
        .json("POST", "/shops/a/keys", of(json!({ "name": "b" })))
        .await;
    assert_eq!(refused.wrong_fields(), ["shop"]);
    admin.delete("/shops/b").await.no_content();
    assert_eq!(admin.everything().await, before);
}

/// D6
#[tokio::test]
async fn text_parts_are_read_like_a_form() {
    let admin = Admin::new().await;
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = "multipart/form-data; boundary=b";
    let body = part("name", "a b") + &part("tags[]", "x") + &part("tags[]", "y") + "--b--\r\n";
    let made = admin
        .text("POST", "/shops", multipart, body)
        .await
        .created();
    assert_eq!(
        (&made["name"], &made["tags"]),
        (&json!("a b"), &json!(["x", "y"]))
    );
    let body = part("key", "k") + &part("shop.name", "a b") + "--b--";
    let made = admin
        .text("POST", "/shop-keys", multipart, body)
        .await
        .created();
    assert_eq!(made["key"], "k");
    let body = part("code", "") + &part("tags", "") + "--b--";
    let cleared = admin
        .text("PATCH", "/shops/a%20b", multipart, body)
        .await
        .ok();
    assert_eq!(cleared["tags"], Json::Null);

    let before = admin.everything().await;
    let file =
        "--b\r\nContent-Disposition: form-data; name=\"name\"; filename=\"f\"\r\n\r\nx\r\n--b--";
    for body in [file, "", "--b", "name=x", "--b\r\n\r\nx\r\n--b--"] {
        let refused = admin.text("POST", "/shops", multipart, body).await;
        refused.refused(400, 20, "invalid body");
    }
    assert_eq!(admin.everything().await, before);
}

/// P22
#[tokio::test]
async fn a_number_that_cannot_be_kept_exactly_is_refused() {
    let admin = Admin::new().await;
    for (height, extra) in [
        ("9007199254740992", "9007199254740993"),
        ("0.1", "0.30000000000000004"),
        ("1e20", "18446744073709551615"),
    ] {
        let body = format!("{{\"number\":7,\"height\":{height},\"extra\":{{\"n\":[{extra}]}}}}");
        let put = admin
            .text("PUT", "/shelves/7", "application/json", body)
            .await;
        put.ok();
        let text = admin.get("/shelves/7").await.text;
        assert!(text.contains(&format!("{{\"n\":[{extra}]}}")), "{text}");
    }
    let before = admin.everything().await;
    for body in [
        "{\"height\":9007199254740993}",
        "{\"height\":0.1234567890123456789}",
        "{\"extra\":{\"a\":[99999999999999999999]}}",
        "{\"extra\":1.00000000000000000001}",
        "{\"height\":1e999}",
        "{\"number\":7.0}",
    ] {
        let refused = admin
            .text("PUT", "/shelves/7", "application/json", body)
            .await;
        assert_eq!(refused.status, 400, "{body}: {refused:?}");
        assert!(refused.body()["code"].is_u64(), "{refused:?}");
    }
    for form in [
        "height=9007199254740993",
        "extra=[9999999999999999999999]",
        "extra=x",
    ] {
        let refused = admin.form("PATCH", "/shelves/7", form).await;
        assert_eq!(refused.status, 400, "{form}: {refused:?}");
    }
    assert_eq!(admin.everything().await, before);
}

/// P23
#[tokio::test]
async fn keys_are_one_line_of_a_length_that_the_schema_states() {
    let admin = Admin::new().await;
    let schema = admin.get("/schemas/shops").await.ok();
    let fields = schema["fields"].as_array().unwrap();
    let name = fields.iter().find(|field| field["name"] == "name").unwrap();
    let longest = usize::try_from(name["max_length"].as_u64().unwrap()).unwrap();
    admin.shop(&"x".repeat(longest)).await;

    let before = admin.everything().await;
    let long = "x".repeat(longest + 1);
    for name in [
        " a", "a ", "\u{a0}a", "a\n", "a\tb", "a\u{7f}", "a\u{85}b", &long,
    ] {
        let refused = admin.json("POST", "/shops", json!({ "name": name })).await;
        assert_eq!(refused.wrong_fields(), ["name"], "{name:?}");
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let refused = admin
            .json("PUT", &format!("/shops/{escaped}"), json!({}))
            .await;
        assert_eq!(refused.wrong_fields(), ["name"], "{name:?}");
    }
    let role = json!({ "role": "a\r\nX-Admin: 1", "shop": { "name": "x" } });
    let refused = admin.json("POST", "/roles", role).await;
    refused.refused(400, 4, "foreign key violation");
    let role = json!({ "role": "a\r\nX-Admin: 1" });
    let path = format!("/shops/{}/roles", "x".repeat(longest));
    let refused = admin.json("POST", &path, role).await;
    assert_eq!(refused.wrong_fields(), ["role"]);
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn null_is_absent_in_a_new_row_and_clears_in_a_change() {
    let admin = Admin::new().await;
    let nulls = json!({ "name": "a", "id": null, "code": null, "created_at": null, "tags": null });
    let made = admin.json("POST", "/shops", nulls.clone()).await.created();
    assert!(made["created_at"].as_i64().unwrap() > 0);
    let put = admin.json("PUT", "/shops/a", nulls).await.ok();
    assert_eq!(
        (&put["id"], &put["created_at"]),
        (&made["id"], &made["created_at"])
    );
    let key = json!({ "key": null, "shop": { "name": "a" } });
    let key = admin.json("POST", "/shop-keys", key).await.created();
    assert_eq!(key["key"].as_str().unwrap().len(), 32);

    let before = admin.everything().await;
    let path = format!("/shop-keys/{}", key["id"].as_str().unwrap());
    for field in ["key", "shop", "created_at", "id"] {
        let refused = admin.json("PATCH", &path, json!({ field: null })).await;
        assert_eq!(refused.wrong_fields(), [field]);
    }
    for form in ["key=", "shop=", "shop.id="] {
        let refused = admin.form("PATCH", &path, form).await;
        assert_eq!(refused.wrong_fields().len(), 1, "{form}");
    }
    assert_eq!(admin.everything().await, before);
    let cleared = admin
        .json("PATCH", &path, json!({ "tags": null }))
        .await
        .ok();
    assert_eq!(cleared["tags"], Json::Null);
}

#[tokio::test]
async fn a_name_that_may_be_null_is_no_field() {
    let options = AdminOptions::new().accept_null("shops", "ttl");
    let admin = Admin::with(options).await;
    let shop = json!({ "name": "a", "ttl": null });
    let made = admin.json("POST", "/shops", shop).await.created();
    assert_eq!(made.get("ttl"), None);
    let patched = admin
        .json("PATCH", "/shops/a", json!({ "ttl": null, "code": "c" }))
        .await;
    patched.ok();
    for (path, body, field) in [
        ("/shops", json!({ "name": "b", "ttl": 5 }), "ttl"),
        ("/shops", json!({ "name": "b", "other": null }), "other"),
        ("/shops/a/roles", json!({ "role": "r", "ttl": null }), "ttl"),
    ] {
        let refused = admin.json("POST", path, body).await;
        assert_eq!(refused.wrong_fields(), [field], "{path}");
    }
}
