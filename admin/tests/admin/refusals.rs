//! Requests that are refused, and that they change nothing.

use axum::body::Body;
use http::header;
use serde_json::json;
use tidings_admin::AdminOptions;

use super::node::{Admin, request};

#[tokio::test]
async fn what_is_wrong_is_said_by_field() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let before = admin.everything().await;
    let cases = [
        ("/shops", json!({}), vec!["@entity"]),
        ("/shops", json!({ "name": null }), vec!["@entity"]),
        (
            "/shops",
            json!({ "name": 7, "nmae": "x" }),
            vec!["name", "nmae"],
        ),
        ("/shops", json!({ "name": "" }), vec!["name"]),
        ("/shops", json!({ "name": "a\u{0}b" }), vec!["name"]),
        ("/shops", json!({ "name": "b", "tags": "x" }), vec!["tags"]),
        ("/shops", json!({ "name": "b", "tags": [1] }), vec!["tags"]),
        ("/shops", json!({ "name": "b", "id": "x" }), vec!["id"]),
        ("/shop-keys", json!({}), vec!["shop"]),
        (
            "/roles",
            json!({ "bogus": 1 }),
            vec!["bogus", "role", "shop"],
        ),
        ("/shops/a/roles", json!({}), vec!["role"]),
        (
            "/shops/a/roles",
            json!({ "bogus": 1 }),
            vec!["bogus", "role"],
        ),
        ("/boxes", json!({}), vec!["label", "shelf"]),
    ];
    for (path, body, fields) in cases {
        let refused = admin.json("POST", path, body.clone()).await;
        assert_eq!(refused.wrong_fields(), fields, "{path} {body}");
    }
    let put = admin
        .json("PUT", "/shops/a/roles/r", json!({ "bogus": 1 }))
        .await;
    assert_eq!(put.wrong_fields(), ["bogus"]);
    let cleared = admin
        .json("PATCH", "/shops/a", json!({ "name": null }))
        .await;
    assert_eq!(cleared.wrong_fields(), ["@entity"]);
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn a_unique_conflict_is_a_409_that_names_the_field() {
    let admin = Admin::new().await;
    admin
        .json("POST", "/shops", json!({ "name": "a", "code": "c" }))
        .await
        .created();
    let id = admin.shop("b").await;
    let before = admin.everything().await;
    let conflicts = [
        ("POST", "/shops", json!({ "name": "a" }), "name"),
        (
            "POST",
            "/shops",
            json!({ "name": "x", "code": "c" }),
            "code",
        ),
        ("POST", "/shops", json!({ "name": "x", "id": id }), "id"),
        ("PATCH", "/shops/b", json!({ "name": "a" }), "name"),
        ("PUT", "/shops/b", json!({ "code": "c" }), "code"),
        ("PUT", "/shops/new", json!({ "code": "c" }), "code"),
        ("PUT", "/shops/new", json!({ "id": id }), "id"),
    ];
    for (method, path, body, field) in conflicts {
        let refused = admin.json(method, path, body).await;
        let body = refused.refused(409, 5, "unique constraint violation");
        assert!(body["fields"].get(field).is_some(), "{body}");
    }
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn a_reference_to_nothing_is_refused() {
    let admin = Admin::new().await;
    let body = json!({ "shop": { "id": "11111111-2222-4333-8444-555555555555" } });
    for (method, path) in [("POST", "/shop-keys"), ("PUT", "/shop-keys/k")] {
        let refused = admin.json(method, path, body.clone()).await;
        let body = refused.refused(400, 4, "foreign key violation");
        assert!(body["fields"]["shop"].is_string(), "{body}");
    }
    assert_eq!(admin.get("/shop-keys").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn unknown_paths_are_a_404() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let paths = [
        "//",
        "/shop",
        "/shops//",
        "//shops",
        "/shops//keys",
        "/Shops",
        "/shops/a/unknown",
        "/shops/a/keys/k/shop",
        "/shops/a/keys/k/l/m",
        "/schemas",
        "/schemas/shops/unknown",
        "/schemas/shops/cache-key/x",
        "/status/x",
        "/cache/a/b",
        "/shop_keys",
        "/keys",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            admin.call(method, path).await.not_found();
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_text_is_a_400() {
    let admin = Admin::new().await;
    for path in [
        "/%FF",
        "/shops/%C3",
        "/shops/%00",
        "/shops/a%00b/keys",
        "/shops/%",
        "/shops/%zz",
        "/cache/%FF",
    ] {
        admin.get(path).await.refused(400, 21, "invalid path");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let before = admin.everything().await;
    let cases = [
        (
            "/shops",
            "GET, HEAD, POST",
            vec!["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"],
        ),
        (
            "/shops/a",
            "GET, HEAD, PUT, PATCH, DELETE",
            vec!["POST", "OPTIONS"],
        ),
        (
            "/shops/a/keys",
            "GET, HEAD, POST",
            vec!["PUT", "PATCH", "DELETE"],
        ),
        (
            "/shops/a/keys/k",
            "GET, HEAD, PUT, PATCH, DELETE",
            vec!["POST"],
        ),
        (
            "/shop-keys/k/shop",
            "GET, HEAD",
            vec!["PUT", "POST", "PATCH", "DELETE"],
        ),
        ("/schemas/shops", "GET, HEAD", vec!["POST", "DELETE"]),
        ("/schemas/shops/cache-key", "GET, HEAD", vec!["POST"]),
        ("/cache", "GET, HEAD, DELETE", vec!["PATCH", "POST", "PUT"]),
        (
            "/cache/k",
            "GET, HEAD, DELETE",
            vec!["POST", "PUT", "PATCH"],
        ),
        ("/status", "GET, HEAD", vec!["POST", "DELETE"]),
        ("/metrics/", "GET, HEAD", vec!["POST", "DELETE"]),
    ];
    for (path, allow, methods) in cases {
        for method in methods {
            let refused = admin.call(method, path).await;
            assert_eq!(refused.headers["allow"], allow, "{method} {path}");
            if method != "HEAD" {
                refused.refused(405, 23, "method not allowed");
            }
        }
    }
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn nonsense_in_a_body_is_a_400_and_changes_nothing() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let before = admin.everything().await;
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(100_000);
    let bodies: [&[u8]; 19] = [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"[]",
        b"[{\"name\":\"x\"}]",
        b"null",
        b"true",
        b"7",
        b"\"x\"",
        b"name=x",
        b"{\"name\":\"x\",}",
        b"{\"name\":\"x\",\"name\":\"y\"}",
        b"{'name':'x'}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":\"\\ud800\"}",
        b"\xef\xbb\xbf{\"name\":\"x\"}",
        deep.as_bytes(),
        deep_object.as_bytes(),
    ];
    for body in bodies {
        for (method, path) in [
            ("POST", "/shops"),
            ("PUT", "/shops/a"),
            ("PATCH", "/shops/a"),
            ("POST", "/shops/a/keys"),
        ] {
            let refused = admin.text(method, path, "application/json", body).await;
            refused.refused(400, 20, "invalid body");
        }
    }
    let form = "application/x-www-form-urlencoded";
    for body in [
        &b"name=%FF"[..],
        b"name=\xff",
        b"name=%zz",
        b"=x",
        b"name=a&name.b=c",
        b"a.b.c.d.e.f.g.h.i.j=1",
    ] {
        let refused = admin.text("POST", "/shops", form, body).await;
        refused.refused(400, 20, "invalid body");
    }
    assert_eq!(admin.everything().await, before);
}

#[tokio::test]
async fn a_body_of_another_type_is_a_415() {
    let admin = Admin::new().await;
    for content_type in [
        "text/plain",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "application/xml",
        "nonsense",
        "",
    ] {
        let refused = admin
            .text("POST", "/shops", content_type, "{\"name\":\"x\"}")
            .await;
        refused.refused(415, 26, "unsupported media type");
    }
    let untyped = request("POST", "/shops").body(Body::from("{\"name\":\"x\"}"));
    let refused = admin.send(untyped.unwrap()).await;
    refused.refused(415, 26, "unsupported media type");
    assert_eq!(admin.get("/shops").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let admin = Admin::with(AdminOptions::new().body_limit(100)).await;
    let long = json!({ "name": "x".repeat(200) });
    let refused = admin.json("POST", "/shops", long.clone()).await;
    refused.refused(413, 25, "payload too large");
    let unlimited = Admin::new().await;
    unlimited.json("POST", "/shops", long).await.created();
    let huge = json!({ "name": "x".repeat(2 << 20) });
    let refused = unlimited.json("POST", "/shops", huge).await;
    refused.refused(413, 25, "payload too large");
}

#[tokio::test]
async fn without_the_token_there_is_nothing_to_see() {
    let admin = Admin::with(AdminOptions::new().token("s3cret")).await;
    for path in ["/shops", "/status", "/metrics", "/unknown", "/%FF"] {
        let refused = admin.get(path).await;
        refused.refused(401, 22, "unauthorized");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    for sent in ["Bearer wrong", "s3cret", "Basic s3cret", "Bearer"] {
        let request = request("GET", "/shops").header(header::AUTHORIZATION, sent);
        let refused = admin.send(request.body(Body::empty()).unwrap()).await;
        refused.refused(401, 22, "unauthorized");
    }
    let request = request("GET", "/shops").header(header::AUTHORIZATION, "Bearer s3cret");
    admin.send(request.body(Body::empty()).unwrap()).await.ok();
}

#[tokio::test]
async fn an_unavailable_database_is_a_503() {
    let admin = Admin::new().await;
    admin.node.store().close().await.unwrap();
    for (method, path) in [
        ("GET", "/shops"),
        ("GET", "/shops/a"),
        ("DELETE", "/shops/a"),
        ("POST", "/shops"),
    ] {
        let refused = match method {
            "POST" => admin.json(method, path, json!({ "name": "a" })).await,
            _ => admin.call(method, path).await,
        };
        refused.refused(503, 8, "database unavailable");
        assert!(refused.headers.contains_key("x-tidings-request"));
    }
    assert_eq!(
        admin.get("/status").await.ok()["database"]["reachable"],
        false
    );
}

#[tokio::test]
async fn a_page_of_another_site_cannot_write_through_its_visitors_browser() {
    let admin = Admin::new().await;
    let form = |site| {
        request("POST", "/shops")
            .header("sec-fetch-site", site)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("name=x"))
            .unwrap()
    };
    let refused = admin.send(form("cross-site")).await;
    refused.refused(403, 29, "cross-site request");
    assert_eq!(admin.get("/shops").await.ok()["data"], json!([]));
    admin.send(form("same-origin")).await.created();
}
