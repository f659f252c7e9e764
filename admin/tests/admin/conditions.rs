//! `ETag`, `If-Match` and `If-None-Match`: writes that go by what the client has read.

use axum::body::Body;
use http::header;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tidings::{Entity, Node, Store, store::Method};
use tidings_admin::AdminOptions;
use uuid::Uuid;

use super::{
    database::url,
    node::{Admin, Answer, NODE_ID, request},
    races::Meddler,
};
use crate::entities::Shop;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "pages", endpoint_key = "name", admin_api(name = "pages"))]
struct Page {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
    text: Option<String>,
    #[entity(version)]
    version: i64,
}

/// Sends a request with one more header.
async fn on(
    admin: &Admin,
    (name, value): (&str, &str),
    method: &str,
    path: &str,
    body: Option<Json>,
) -> Answer {
    let builder = request(method, path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(name, value);
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    admin.send(builder.body(body).unwrap()).await
}

#[track_caller]
fn tag(answer: &Answer) -> String {
    let tag = answer.headers[header::ETAG].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    tag
}

#[track_caller]
fn failed(answer: &Answer) {
    answer.refused(412, 38, "precondition failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_with_a_row_has_its_tag_which_changes_with_the_row() {
    let admin = Admin::new().await;
    let made = admin.json("POST", "/shops", json!({ "name": "a", "tags": ["x", "y"] }));
    let made = made.await;
    made.created();
    let first = tag(&made);
    let read = admin.get("/shops/a").await;
    assert_eq!(tag(&read), first);
    assert_eq!(tag(&admin.call("HEAD", "/shops/a").await), first);

    let patched = admin
        .json("PATCH", "/shops/a", json!({ "code": "c" }))
        .await;
    let second = tag(&patched);
    assert_ne!(second, first);
    assert_eq!(tag(&admin.get("/shops/a").await), second);
    let put = admin.json("PUT", "/shops/a", json!({ "code": "d" })).await;
    let third = tag(&put);
    assert!(third != first && third != second);

    // Written behind the API's back.
    let dao = admin.node.dao::<Shop>().unwrap();
    let change = |shop: &mut Shop| shop.code = Some("e".to_owned());
    dao.update_by("name", "a", change).await.unwrap().unwrap();
    let fourth = tag(&admin.get("/shops/a").await);
    assert_ne!(fourth, third);

    // By way of another row, too.
    let key = admin.json("POST", "/shops/a/keys", json!({ "key": "k" }));
    let key = tag(&key.await);
    assert_eq!(tag(&admin.get("/shops/a/keys/k").await), key);
    let parent = admin.get("/shop-keys/k/shop").await;
    assert_eq!(tag(&parent), fourth);
    let known = on(
        &admin,
        ("if-none-match", &fourth),
        "GET",
        "/shop-keys/k/shop",
        None,
    )
    .await;
    assert_eq!(known.status, 304);
    assert!(
        admin
            .get("/shops")
            .await
            .headers
            .get(header::ETAG)
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_client_has_is_not_sent_again() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let read = admin.get("/shops/a").await;
    let tag = tag(&read);

    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = on(&admin, ("if-none-match", &known), "GET", "/shops/a", None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (304, ""),
            "{known}"
        );
        assert_eq!(answer.headers[header::ETAG], tag.as_str());
    }
    on(
        &admin,
        ("if-none-match", "\"other\""),
        "GET",
        "/shops/a",
        None,
    )
    .await
    .ok();
    on(&admin, ("if-match", &tag), "GET", "/shops/a", None)
        .await
        .ok();
    failed(&on(&admin, ("if-match", "\"other\""), "GET", "/shops/a", None).await);
    on(&admin, ("if-none-match", "*"), "GET", "/shops/b", None)
        .await
        .not_found();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_a_condition_that_does_not_hold_changes_nothing() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    let old = tag(&admin.get("/shops/a").await);
    admin
        .json("PATCH", "/shops/a", json!({ "code": "c" }))
        .await
        .ok();
    let new = tag(&admin.get("/shops/a").await);
    let before = admin.everything().await;

    for (method, body) in [
        ("PUT", Some(json!({ "code": "d" }))),
        ("PATCH", Some(json!({ "code": "d" }))),
        ("DELETE", None),
    ] {
        for condition in [
            ("if-match", old.as_str()),
            ("if-match", &format!("W/{new}")),
            ("if-none-match", &new),
            ("if-none-match", &format!("W/{new}")),
            ("if-none-match", "*"),
        ] {
            failed(&on(&admin, condition, method, "/shops/a", body.clone()).await);
        }
        for condition in [
            ("if-match", "7"),
            ("if-none-match", "\"7"),
            ("if-match", ""),
        ] {
            let refused = on(&admin, condition, method, "/shops/a", body.clone()).await;
            refused.refused(400, 11, "invalid options");
        }
    }
    // A row that is not there is not as demanded, and is not made.
    let put = Some(json!({ "code": "z" }));
    failed(&on(&admin, ("if-match", "*"), "PUT", "/shops/z", put.clone()).await);
    failed(&on(&admin, ("if-match", &new), "PUT", "/shops/z", put.clone()).await);
    failed(&on(&admin, ("if-match", "*"), "DELETE", "/shops/z", None).await);
    on(&admin, ("if-match", "*"), "PATCH", "/shops/z", put.clone())
        .await
        .not_found();
    assert_eq!(admin.everything().await, before);

    let patched = on(
        &admin,
        ("if-match", &new),
        "PATCH",
        "/shops/a",
        Some(json!({ "code": "d" })),
    );
    let next = tag(&patched.await);
    let either = format!("\"x\", {next}");
    let put_again = on(
        &admin,
        ("if-match", &either),
        "PUT",
        "/shops/a",
        put.clone(),
    );
    put_again.await.ok();
    on(
        &admin,
        ("if-match", "*"),
        "PATCH",
        "/shops/a",
        Some(json!({ "code": "y" })),
    )
    .await
    .ok();
    let made = on(
        &admin,
        ("if-none-match", "*"),
        "PUT",
        "/shops/b",
        Some(json!({ "code": "b" })),
    );
    made.await.ok();
    on(&admin, ("if-match", "*"), "DELETE", "/shops/a", None)
        .await
        .no_content();
    on(&admin, ("if-none-match", "*"), "DELETE", "/shops/a", None)
        .await
        .no_content();
}

/// A change between the lookup and the write does not go unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_changes_after_it_was_judged_is_judged_again() {
    for (method, verb) in [
        (Method::Update, "PATCH"),
        (Method::Upsert, "PUT"),
        (Method::Delete, "DELETE"),
    ] {
        let admin = Admin::new().await;
        admin.shop("a").await;
        let old = tag(&admin.get("/shops/a").await);
        let dao = admin.node.dao::<Shop>().unwrap();
        let changed = async move {
            let change = |shop: &mut Shop| shop.code = Some("theirs".to_owned());
            dao.update_by("name", "a", change).await.unwrap().unwrap();
        };
        let shops = admin.node.table("shops").unwrap();
        shops.hook(Meddler::new(method, changed));

        let body = (verb != "DELETE").then(|| json!({ "code": "mine" }));
        failed(&on(&admin, ("if-match", &old), verb, "/shops/a", body).await);
        assert_eq!(admin.get("/shops/a").await.ok()["code"], "theirs", "{verb}");
    }

    // A row that is made in the meantime is not replaced.
    let admin = Admin::new().await;
    let dao = admin.node.dao::<Shop>().unwrap();
    let made = async move {
        let shop = Shop {
            id: Uuid::nil(),
            name: Some("a".to_owned()),
            code: Some("theirs".to_owned()),
            created_at: Default::default(),
            updated_at: Default::default(),
            tags: None,
        };
        dao.insert(shop).await.unwrap();
    };
    let shops = admin.node.table("shops").unwrap();
    shops.hook(Meddler::new(Method::Insert, made));
    let body = Some(json!({ "code": "mine" }));
    failed(&on(&admin, ("if-none-match", "*"), "PUT", "/shops/a", body).await);
    assert_eq!(admin.get("/shops/a").await.ok()["code"], "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_counts_the_writes_and_leads_the_tag() {
    let node = Node::builder()
        .store(Store::open(&url().await).await.unwrap())
        .node_id(NODE_ID)
        .workers(1)
        .entity::<Page>()
        .start()
        .await
        .unwrap();
    let admin = Admin::over(node, AdminOptions::new());
    // A version that is sent is not taken.
    let made = admin
        .json("POST", "/pages", json!({ "name": "a", "version": 7 }))
        .await;
    assert_eq!(made.created()["version"], 1);
    assert!(tag(&made).starts_with("\"1-"), "{made:?}");
    let put = admin
        .json("PUT", "/pages/a", json!({ "text": "t", "version": 7 }))
        .await;
    assert_eq!(put.ok()["version"], 2);
    let patched = admin
        .json("PATCH", "/pages/a", json!({ "version": 7 }))
        .await;
    assert_eq!(patched.ok()["version"], 3);
    assert!(tag(&patched).starts_with("\"3-"), "{patched:?}");
    let cleared = admin
        .json("PATCH", "/pages/a", json!({ "version": null }))
        .await;
    assert_eq!(cleared.wrong_fields(), ["version"]);
    let described = admin.get("/schemas/pages").await.ok();
    let fields = described["fields"].as_array().unwrap();
    assert!(
        fields.iter().any(|field| field["auto"] == "version"),
        "{described}"
    );

    // A row that is made again under its key is another one.
    let id = patched.ok()["id"].as_str().unwrap().to_owned();
    admin.delete("/pages/a").await.no_content();
    let again = admin
        .json(
            "PUT",
            &format!("/pages/{id}"),
            json!({ "name": "a", "text": "new" }),
        )
        .await;
    assert_eq!(again.ok()["version"], 1);
    assert_ne!(tag(&again), tag(&made));
    failed(
        &on(
            &admin,
            ("if-match", &tag(&made)),
            "DELETE",
            "/pages/a",
            None,
        )
        .await,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_of_the_api_says_it() {
    const WRITE: [&str; 4] = ["confirm", "X-Tidings-After", "If-Match", "If-None-Match"];
    let admin = Admin::new().await;
    let api = admin.get("/openapi.json").await.ok();
    let item = &api["paths"]["/shops/{id_or_name}"];
    for (verb, expected) in [
        ("get", &["X-Tidings-After", "If-Match", "If-None-Match"][..]),
        ("put", &WRITE),
        ("patch", &WRITE),
        ("delete", &WRITE),
    ] {
        let operation = &item[verb];
        let names = operation["parameters"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{verb}");
        assert!(operation["responses"]["412"].is_object(), "{verb}");
        let has_tag = operation["responses"]["200"]["headers"]["ETag"].is_object();
        assert_eq!(has_tag, verb != "delete", "{verb}");
    }
    assert!(item["get"]["responses"]["304"].is_object());
    let post = &api["paths"]["/shops"]["post"]["responses"]["201"];
    assert!(post["headers"]["ETag"].is_object());
}
