//! The admin API over HTTP, on the gateway's entities.

use http::Method;
use serde_json::{Value as Json, json};

use crate::{
    client::Client,
    gateway::{Served, served},
};

async fn with_consumers(names: &[&str]) -> (Served, Client) {
    let served = served(1).await;
    let mut admin = served.admin().await;
    for name in names {
        admin
            .post("/consumers", json!({"username": name}))
            .await
            .expect(201);
    }
    (served, admin)
}

fn text(json: &Json) -> &str {
    json.as_str().expect("a string")
}

// PL9
#[tokio::test]
async fn credentials_have_the_whole_set_of_methods_under_their_consumer() {
    let (served, mut admin) = with_consumers(&["bob", "alice"]).await;
    let made = admin
        .post("/consumers/bob/key-auth", json!({}))
        .await
        .expect(201)
        .json();
    assert_eq!(text(&made["key"]).len(), 32, "a key is made if absent");
    assert!(
        text(&made["key"])
            .chars()
            .all(|c| c.is_ascii_alphanumeric())
    );

    let by_id = format!("/consumers/bob/key-auth/{}", text(&made["id"]));
    let by_key = format!("/consumers/bob/key-auth/{}", text(&made["key"]));
    assert_eq!(admin.get(&by_id).await.expect(200).json(), made);
    assert_eq!(admin.get(&by_key).await.expect(200).json(), made);
    let list = admin
        .get("/consumers/bob/key-auth")
        .await
        .expect(200)
        .json();
    assert_eq!(list["data"], json!([made]));
    let consumer = admin.get("/consumers/bob").await.expect(200).json();
    let through_id = format!("/consumers/{}/key-auth", text(&consumer["id"]));
    assert_eq!(
        admin.get(&through_id).await.expect(200).json()["data"],
        json!([made])
    );
    let owner = format!("/key-auths/{}/consumer", text(&made["key"]));
    assert_eq!(admin.get(&owner).await.expect(200).json(), consumer);

    let foreign = format!("/consumers/alice/key-auth/{}", text(&made["id"]));
    admin.get(&foreign).await.expect(404);
    admin
        .patch(&foreign, json!({"key": "stolen"}))
        .await
        .expect(404);
    admin.delete(&foreign).await.expect(404);
    admin.get("/consumers/nobody/key-auth").await.expect(404);
    admin
        .post("/consumers/nobody/key-auth", json!({}))
        .await
        .expect(404);

    let patched = admin
        .patch(&by_id, json!({"key": "new"}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&patched["id"], &patched["key"]),
        (&made["id"], &json!("new"))
    );
    let put = admin
        .put("/consumers/bob/key-auth/named", json!({"tags": ["a"]}))
        .await
        .expect(200);
    assert_eq!(
        put.json()["key"],
        "named",
        "a PUT by name takes the name from the path"
    );
    admin
        .delete("/consumers/bob/key-auth/named")
        .await
        .expect(204);
    admin.delete("/key-auths/new").await.expect(204);
    admin.delete("/key-auths/new").await.expect(204);
    admin.get("/key-auths/new").await.expect(404);
    served.stop().await;
}

// PL11
#[tokio::test]
async fn lists_are_paged_by_an_offset_token() {
    let names: Vec<_> = (0..7).map(|n| format!("c{n}")).collect();
    let (served, mut admin) =
        with_consumers(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut seen = Vec::new();
    let mut next = json!("/consumers?size=3");
    let mut pages = 0;
    while let Some(path) = next.as_str().map(str::to_owned) {
        let page = admin.get(&path).await.expect(200).json();
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= 3);
        assert_eq!(
            page["next"].is_null(),
            page.get("offset").is_none_or(Json::is_null)
        );
        seen.extend(data.iter().map(|it| text(&it["username"]).to_owned()));
        next = page["next"].clone();
        pages += 1;
    }
    seen.sort();
    assert_eq!((seen, pages), (names, 3));
    for size in ["0", "1001", "-1", "abc", "1.5", "99999999999999999999"] {
        let refused = admin
            .get(&format!("/consumers?size={size}"))
            .await
            .expect(400)
            .json();
        assert_eq!(
            (&refused["code"], &refused["name"]),
            (&json!(9), &json!("invalid size"))
        );
    }
    for offset in ["nonsense", "%00", "AAAA"] {
        let refused = admin
            .get(&format!("/consumers?offset={offset}"))
            .await
            .expect(400)
            .json();
        assert_eq!(
            (&refused["code"], &refused["name"]),
            (&json!(7), &json!("invalid offset"))
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn tags_filter_a_list_by_all_or_by_any() {
    let (served, mut admin) = with_consumers(&[]).await;
    for (name, tags) in [
        ("a", json!(["x"])),
        ("b", json!(["x", "y"])),
        ("c", json!(["z"])),
    ] {
        admin
            .post("/consumers", json!({"username": name, "tags": tags}))
            .await
            .expect(201);
    }
    for (tags, expected) in [("x,y", 1), ("x/z", 3), ("x", 2), ("none", 0)] {
        let list = admin
            .get(&format!("/consumers?tags={tags}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            list["data"].as_array().map(Vec::len),
            Some(expected),
            "{tags}"
        );
    }
    served.stop().await;
}

// AD1, AD2, AD3
#[tokio::test]
async fn the_cache_shows_and_drops_one_key() {
    let (served, mut admin) = with_consumers(&["bob"]).await;
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    served.proxy().await.with_key("abcd").await.expect(200);
    admin.get("/cache/unknown").await.expect(404);
    admin
        .get("/cache/keyauth_credentials%3Aabcd")
        .await
        .expect(200);
    admin
        .delete("/cache/keyauth_credentials%3Aabcd")
        .await
        .expect(204);
    admin
        .get("/cache/keyauth_credentials%3Aabcd")
        .await
        .expect(404);
    served.proxy().await.with_key("abcd").await.expect(200);
    admin
        .get("/cache/keyauth_credentials%3Aabcd")
        .await
        .expect(200);
    admin.delete("/cache").await.expect(204);
    admin
        .get("/cache/keyauth_credentials%3Aabcd")
        .await
        .expect(404);
    served.stop().await;
}

// AD5
#[tokio::test]
async fn a_refused_request_says_why_and_changes_nothing() {
    let (served, mut admin) = with_consumers(&["bob"]).await;
    let before = admin.get("/consumers").await.expect(200).json();

    let wrong = json!({"username": 1, "custom_id": "", "nonsense": true});
    let refused = admin.post("/consumers", wrong).await.expect(400).json();
    assert_eq!(
        (&refused["code"], &refused["name"]),
        (&json!(2), &json!("schema violation"))
    );
    for field in ["username", "custom_id", "nonsense"] {
        assert!(refused["fields"][field].is_string(), "{refused}");
    }
    let nothing = admin.post("/consumers", json!({})).await.expect(400).json();
    assert!(nothing["fields"]["@entity"].is_string() || nothing["fields"]["@entity"].is_array());

    let twice = admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(409)
        .json();
    assert_eq!(
        (&twice["code"], &twice["name"]),
        (&json!(5), &json!("unique constraint violation"))
    );
    let nobody = json!({"key": "k", "consumer": {"id": "4ae3ba1b-9b5c-4f0c-8f5e-6a3bd1b3c111"}});
    let foreign = admin.post("/key-auths", nobody).await.expect(400).json();
    assert_eq!(
        (&foreign["code"], &foreign["name"]),
        (&json!(4), &json!("foreign key violation"))
    );

    let missing = admin.get("/consumers/nobody").await.expect(404).json();
    assert_eq!(
        (&missing["code"], &missing["name"]),
        (&json!(6), &json!("not found"))
    );
    admin.get("/nowhere").await.expect(404);
    admin.get("/consumers/bob/nowhere").await.expect(404);
    let refused = admin.delete("/consumers").await.expect(405);
    let allowed: Vec<_> = refused.header("allow").split(", ").collect();
    assert!(
        allowed.contains(&"GET") && allowed.contains(&"POST"),
        "{allowed:?}"
    );

    for body in [
        "{",
        "[]",
        "\"text\"",
        "null",
        "{\"username\": \"x\"",
        "\u{feff}{}",
    ] {
        let json = [("content-type", "application/json")];
        let answer = admin
            .send(Method::POST, "/consumers", &json, Some(body.to_owned()))
            .await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let xml = [("content-type", "application/xml")];
    admin
        .send(Method::POST, "/consumers", &xml, Some("<a/>".to_owned()))
        .await
        .expect(415);

    assert_eq!(admin.get("/consumers").await.expect(200).json(), before);
    served.stop().await;
}

#[tokio::test]
async fn forms_are_taken_like_json() {
    let (served, mut admin) = with_consumers(&[]).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "username=bob&tags[]=a&tags[]=b".to_owned();
    let bob = admin
        .send(Method::POST, "/consumers", &form, Some(body))
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&bob["username"], &bob["tags"]),
        (&json!("bob"), &json!(["a", "b"]))
    );
    let body = format!("key=abcd&consumer.id={}", text(&bob["id"]));
    let made = admin
        .send(Method::POST, "/key-auths", &form, Some(body))
        .await
        .expect(201)
        .json();
    assert_eq!(made["consumer"]["id"], bob["id"]);
    served.stop().await;
}

#[tokio::test]
async fn status_and_metrics_tell_how_the_node_is() {
    let (served, mut admin) = with_consumers(&["bob"]).await;
    admin
        .post("/consumers/bob/key-auth", json!({"key": "abcd"}))
        .await
        .expect(201);
    let mut proxy = served.proxy().await;
    for _ in 0..3 {
        proxy.with_key("abcd").await.expect(200);
    }
    let status = admin.get("/status").await.expect(200).json();
    assert_eq!(status["node_id"], served.node().id());
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(1));
    assert!(
        status["workers"][0]["l1_hits"].as_u64() >= Some(4),
        "{status}"
    );
    let metrics = admin.get("/metrics").await.expect(200);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains("# TYPE tidings_"), "{text}");
    served.stop().await;
}
