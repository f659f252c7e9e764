//! What the admin API does with what it is given, over HTTP, on the gateway's entities.

use http::Method;
use serde_json::{Value as Json, json};

use crate::{
    client::{Answer, Client},
    gateway::{Served, served},
};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

async fn with_bob() -> (Served, Client, Json) {
    let served = served(1).await;
    let mut admin = served.admin().await;
    let bob = json!({"username": "bob", "custom_id": "7"});
    let bob = admin.post("/consumers", bob).await.expect(201).json();
    (served, admin, bob)
}

async fn form(admin: &mut Client, method: Method, path: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    admin
        .send(method, path, &headers, Some(body.to_owned()))
        .await
}

fn count(list: &Json) -> usize {
    list["data"].as_array().map_or(0, Vec::len)
}

/// D1
#[tokio::test]
async fn lists_are_filtered_by_unique_and_foreign_fields_alone() {
    let (served, mut admin, bob) = with_bob().await;
    admin
        .post("/consumers", json!({"username": "eve"}))
        .await
        .expect(201);
    for name in ["bob", "eve"] {
        let path = format!("/consumers/{name}/key-auth");
        admin.post(&path, json!({"key": name})).await.expect(201);
        let path = format!("/consumers/{name}/acls");
        admin
            .post(&path, json!({"group": "staff"}))
            .await
            .expect(201);
    }
    let id = bob["id"].as_str().unwrap_or_default();
    for (path, rows) in [
        ("/consumers?username=bob".to_owned(), 1),
        ("/consumers?custom_id=7".to_owned(), 1),
        ("/consumers?custom_id=nosuch".to_owned(), 0),
        (format!("/consumers?id={id}"), 1),
        ("/key-auths?key=eve".to_owned(), 1),
        (format!("/key-auths?consumer={id}"), 1),
        (format!("/acls?consumer.id={id}"), 1),
    ] {
        let list = admin.get(&path).await.expect(200).json();
        assert_eq!(count(&list), rows, "{path}: {list}");
    }
    for path in [
        "/consumers?colour=blue",
        "/acls?group=staff",
        "/consumers?username=",
    ] {
        let refused = admin.get(path).await.expect(400).json();
        assert_eq!(refused["name"], "invalid options", "{refused}");
    }
    served.stop().await;
}

/// D3
#[tokio::test]
async fn a_put_under_the_nil_uuid_is_the_row_of_that_id() {
    let (served, mut admin, _) = with_bob().await;
    let path = format!("/consumers/{NIL}");
    for name in ["a", "b"] {
        let put = admin
            .put(&path, json!({"username": name}))
            .await
            .expect(200)
            .json();
        assert_eq!((&put["id"], &put["username"]), (&json!(NIL), &json!(name)));
    }
    served.stop().await;
}

/// D4, P22, P23
#[tokio::test]
async fn what_could_not_be_found_or_sent_again_is_refused() {
    let (served, mut admin, _) = with_bob().await;
    let long = "x".repeat(900_000);
    for body in [
        json!({"username": "a", "tags": ["a,b"]}),
        json!({"username": "a", "tags": ["a/b"]}),
        json!({"username": " a"}),
        json!({"username": "a\u{7f}b"}),
        json!({"username": "a\r\nX-Admin: 1"}),
        json!({"custom_id": "a "}),
        json!({"custom_id": long}),
        json!({"username": "a", "created_at": 1.5}),
    ] {
        let refused = admin.post("/consumers", body).await.expect(400).json();
        assert_eq!(refused["name"], "schema violation", "{refused}");
    }
    let refused = form(
        &mut admin,
        Method::POST,
        "/consumers",
        "username=a&tags=a,b",
    )
    .await;
    refused.expect(400);
    let list = admin.get("/consumers").await.expect(200).json();
    assert_eq!(count(&list), 1, "{list}");
    let schema = admin
        .get("/schemas/keyauth_credentials")
        .await
        .expect(200)
        .json();
    let fields = schema["fields"].as_array().cloned().unwrap_or_default();
    let key = fields.iter().find(|field| field["name"] == "key");
    assert_eq!(key.map(|key| &key["max_length"]), Some(&json!(512)));
    served.stop().await;
}

/// D5
#[tokio::test]
async fn a_consumer_is_given_whole_or_by_its_name() {
    let (served, mut admin, bob) = with_bob().await;
    let id = &bob["id"];
    for consumer in [
        json!({"id": id, "username": "someone", "created_at": 0}),
        json!({"username": "bob"}),
        json!({"custom_id": "7"}),
    ] {
        let made = admin
            .post("/key-auths", json!({"consumer": consumer}))
            .await;
        assert_eq!(made.expect(201).json()["consumer"], json!({"id": id}));
    }
    let made = form(
        &mut admin,
        Method::POST,
        "/acls",
        "group=staff&consumer.username=bob",
    )
    .await;
    assert_eq!(made.expect(201).json()["consumer"], json!({"id": id}));
    let unknown = json!({"consumer": {"username": "nosuch"}});
    let refused = admin.post("/key-auths", unknown).await.expect(400).json();
    assert_eq!(refused["code"], 4, "{refused}");

    // As another gateway exports it.
    let exported = json!({
        "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "key": "exported", "ttl": null,
        "created_at": 5, "tags": null, "consumer": bob,
    });
    let made = admin
        .put("/key-auths/exported", exported)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&made["created_at"], &made["key"]),
        (&json!(5), &json!("exported"))
    );
    let unknown = json!({"consumer": {"id": id}, "nonsense": null});
    admin.post("/key-auths", unknown).await.expect(400);
    served.stop().await;
}

/// D6
#[tokio::test]
async fn parts_are_taken_like_a_form() {
    let (served, mut admin, _) = with_bob().await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nx\r\n\
                --b\r\nContent-Disposition: form-data; name=\"tags[]\"\r\n\r\na\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let made = admin
        .send(Method::POST, "/consumers", &headers, Some(body.to_owned()))
        .await;
    let made = made.expect(201).json();
    assert_eq!(
        (&made["username"], &made["tags"]),
        (&json!("x"), &json!(["a"]))
    );
    served.stop().await;
}

#[tokio::test]
async fn a_generated_field_is_not_cleared() {
    let (served, mut admin, _) = with_bob().await;
    admin
        .post("/consumers/bob/key-auth", json!({"key": "k"}))
        .await
        .expect(201);
    for field in ["key", "consumer", "created_at"] {
        let refused = admin
            .patch("/key-auths/k", json!({field: null}))
            .await
            .expect(400)
            .json();
        assert!(refused["fields"][field].is_string(), "{refused}");
    }
    let kept = admin.get("/key-auths/k").await.expect(200).json();
    assert_eq!(kept["key"], "k");
    served.proxy().await.with_key("k").await.expect(200);
    served.stop().await;
}

/// P10
#[tokio::test]
async fn another_name_and_another_origin_are_refused() {
    let (served, mut admin, _) = with_bob().await;
    let other = [
        ("origin", "http://localhost:3000"),
        ("content-type", "application/json"),
    ];
    let body = json!({"username": "x"}).to_string();
    let refused = admin
        .send(Method::POST, "/consumers", &other, Some(body))
        .await;
    assert_eq!(refused.expect(403).json()["name"], "cross-site request");
    let list = admin.get("/consumers").await.expect(200).json();
    assert_eq!(count(&list), 1, "{list}");

    let request = "GET /consumers HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
    let answer = raw(&served, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn the_root_and_the_probes_answer() {
    let (served, mut admin, _) = with_bob().await;
    let root = admin.get("/").await.expect(200).json();
    assert_eq!(
        (&root["name"], &root["node_id"]),
        (&json!("tidings"), &json!(served.node().id()))
    );
    assert_eq!(root["links"]["key-auths"], "/key-auths");
    admin.get("/livez").await.expect(200);
    assert_eq!(
        admin.get("/readyz").await.expect(200).json(),
        json!({"ready": true})
    );
    served.node().store().close().await.expect("it closes");
    let away = admin.get("/readyz").await.expect(503).json();
    assert_eq!(away["reasons"], json!(["database"]));
    let status = admin.get("/status").await.expect(200).json();
    assert_eq!(status["database"]["state"], "away");
    let refused = admin.get("/consumers").await.expect(503).json();
    assert_eq!(
        (&refused["code"], &refused["name"]),
        (&json!(8), &json!("database unavailable"))
    );
    served.stop().await;
}

/// What comes back for raw bytes until the connection ends.
async fn raw(served: &Served, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(served.admin_address())
        .await
        .expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .await
        .expect("it is not reset");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused_in_the_one_shape() {
    let served = served(1).await;
    for (request, status) in [
        ("BROKEN\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n".to_owned(),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(1 << 20)
            ),
            431,
        ),
    ] {
        let answer = raw(&served, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.to_lowercase().contains("x-tidings-node: "), "{head}");
        let body: Json = serde_json::from_str(body).expect("JSON");
        assert!(body["code"].is_u64() && body["name"].is_string(), "{body}");
        assert!(body["message"].is_string(), "{body}");
    }
    served.stop().await;
}

/// D7
#[tokio::test]
async fn a_body_that_is_too_long_is_answered_and_not_reset() {
    let served = served(1).await;
    let mut request = format!(
        "POST /consumers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        12 << 20
    )
    .into_bytes();
    request.resize(request.len() + (12 << 20), b' ');
    let answer = raw(&served, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    served.stop().await;
}
