//! Requests that a browser may be tricked into.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;
use tidings_admin::AdminOptions;

use super::node::{Admin, request};

fn to(host: &str) -> Request<Body> {
    let request = Request::get("/shops").header(header::HOST, host);
    request.body(Body::empty()).unwrap()
}

/// P10
#[tokio::test]
async fn without_a_token_the_api_answers_to_loopback_names_alone() {
    let admin = Admin::with(AdminOptions::new().host("gateway.internal")).await;
    for host in [
        "localhost:8001",
        "127.0.0.1",
        "[::1]:8001",
        "gateway.internal",
    ] {
        admin.send(to(host)).await.ok();
    }
    for host in [
        "rebound.example:8001",
        "192.0.2.1:8001",
        "localhost.rebound.example",
    ] {
        admin.send(to(host)).await.refused(403, 31, "foreign host");
    }
    let nameless = Request::get("/shops").body(Body::empty()).unwrap();
    admin.send(nameless).await.refused(400, 32, "invalid host");

    let guarded = Admin::with(AdminOptions::new().token("s3cret")).await;
    let mut request = to("gateway.example");
    let token = "Bearer s3cret".parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, token);
    guarded.send(request).await.ok();
}

/// P10
#[tokio::test]
async fn a_page_of_another_origin_cannot_write() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let before = admin.everything().await;
    for origin in ["http://localhost:3000", "https://evil.example", "null"] {
        for (method, path) in [
            ("POST", "/shops"),
            ("PUT", "/shops/b"),
            ("PATCH", "/shops/a"),
            ("DELETE", "/shops/a"),
            ("DELETE", "/cache"),
        ] {
            let body = json!({ "code": "x" }).to_string();
            let request = request(method, path)
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body));
            let refused = admin.send(request.unwrap()).await;
            refused.refused(403, 29, "cross-site request");
        }
        let read = request("GET", "/shops").header(header::ORIGIN, origin);
        admin.send(read.body(Body::empty()).unwrap()).await.ok();
    }
    assert_eq!(admin.everything().await, before);
    let own = request("DELETE", "/shops/a").header(header::ORIGIN, "http://localhost:8001");
    let own = own.body(Body::empty()).unwrap();
    admin.send(own).await.no_content();
}
