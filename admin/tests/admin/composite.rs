//! Rows whose primary key is several fields, by their key's text.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tidings::{CachedRows, Entity, Node, Ref, Store};
use tidings_admin::AdminOptions;
use tracing::instrument::WithSubscriber as _;
use uuid::Uuid;

use super::{
    database::url,
    health::Log,
    node::{Admin, NODE_ID},
};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "owners", endpoint_key = "name", admin_api(name = "owners"))]
struct Owner {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
}

/// A shelf is unique within its owner, and named by itself there.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "stocks", admin_api(name = "stocks", nested = "stocks"))]
struct Stock {
    #[entity(primary_key, foreign, on_delete = "cascade")]
    owner: Ref<Owner>,
    #[entity(primary_key)]
    shelf: String,
    pieces: i64,
}

/// A key without a reference, beside a name.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "places", admin_api(name = "places"))]
struct Place {
    #[entity(primary_key)]
    row: i64,
    #[entity(primary_key)]
    on: bool,
    #[entity(primary_key, auto)]
    id: Uuid,
    note: Option<String>,
}

/// A key of which a part is a secret.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "grants", admin_api(name = "grants"))]
struct Grant {
    #[entity(primary_key)]
    tenant: i64,
    #[entity(primary_key, secret)]
    token: String,
    note: Option<String>,
}

async fn admin() -> (Admin, String) {
    let node = Node::builder()
        .store(Store::open(&url().await).await.unwrap())
        .node_id(NODE_ID)
        .workers(2)
        .entity::<Owner>()
        .entity::<Stock>()
        .entity::<Place>()
        .entity::<Grant>()
        .start()
        .await
        .unwrap();
    let admin = Admin::over(node, AdminOptions::new());
    let owner = admin.json("POST", "/owners", json!({"name": "ann"})).await;
    let id = owner.created()["id"].as_str().unwrap().to_owned();
    (admin, id)
}

#[tokio::test]
async fn a_row_lives_through_every_method_by_its_whole_key() {
    let (admin, ann) = admin().await;
    let body = json!({"owner": {"id": ann}, "shelf": "a", "pieces": 1});
    let made = admin.json("POST", "/stocks", body.clone()).await.created();
    assert_eq!(made, body);
    let again = admin.json("POST", "/stocks", body.clone()).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let path = format!("/stocks/{ann}:a");
    assert_eq!(admin.get(&path).await.ok(), made);
    admin.get(&format!("/stocks/{ann}:b")).await.not_found();

    let patched = admin.json("PATCH", &path, json!({"pieces": 2})).await.ok();
    assert_eq!(
        (&patched["shelf"], &patched["pieces"]),
        (&json!("a"), &json!(2))
    );
    let moved = admin.json("PATCH", &path, json!({"shelf": "b"})).await;
    assert_eq!(moved.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        moved.body()["fields"],
        json!({"shelf": "disagrees with the path"})
    );

    // What the path names need not be in the body, and must not differ there.
    let other = format!("/stocks/{ann}:b");
    let put = admin.json("PUT", &other, json!({"pieces": 3})).await.ok();
    assert_eq!(
        put,
        json!({"owner": {"id": ann}, "shelf": "b", "pieces": 3})
    );
    let put = admin.json("PUT", &other, json!({"pieces": 4})).await.ok();
    assert_eq!(put["pieces"], 4);
    let refused = admin
        .json("PUT", &other, json!({"shelf": "c", "pieces": 4}))
        .await;
    assert_eq!(
        refused.body()["fields"],
        json!({"shelf": "disagrees with the path"})
    );

    let list = admin.get(&format!("/stocks?size=1&owner={ann}")).await.ok();
    assert_eq!(list["data"], json!([patched]));
    let next = list["next"].as_str().unwrap();
    assert_eq!(admin.get(next).await.ok()["data"], json!([put]));
    assert_eq!(
        admin.get("/stocks?shelf=b").await.ok()["data"],
        json!([put])
    );

    admin.delete(&path).await.no_content();
    admin.delete(&path).await.no_content();
    admin.get(&path).await.not_found();
    assert_eq!(admin.get(&other).await.ok(), put, "one part differs");
    assert_eq!(
        admin.get(&format!("{other}/owner")).await.ok()["name"],
        "ann"
    );
}

#[tokio::test]
async fn a_part_is_written_as_in_a_cache_key() {
    let (admin, ann) = admin().await;
    for shelf in ["a:b", "%", "~", "@/?#"] {
        let body = json!({"owner": {"id": ann}, "shelf": shelf, "pieces": 1});
        let made = admin.json("POST", "/stocks", body).await.created();
        let part = shelf
            .replace('%', "%25")
            .replace(':', "%3A")
            .replace('~', "%7E")
            .replace('@', "%40");
        // Then all of it is encoded for the path.
        let segment = format!("{ann}:{part}").replace('%', "%25");
        let segment = segment
            .replace('/', "%2F")
            .replace('?', "%3F")
            .replace('#', "%23");
        assert_eq!(
            admin.get(&format!("/stocks/{segment}")).await.ok(),
            made,
            "{shelf}"
        );
        let key = admin
            .get(&format!(
                "/schemas/stocks/cache-key?owner={ann}&shelf={}",
                encoded(shelf)
            ))
            .await
            .ok();
        assert_eq!(key["cache_key"], format!("stocks@:{ann}:{part}"));
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_key_in_another_spelling_is_refused_with_the_right_one() {
    let (admin, ann) = admin().await;
    let id = "11111111-2222-4333-8444-555555555555";
    let shouted = ann.to_uppercase();
    let cases = [
        ("/stocks/a".to_owned(), "expected owner:shelf".to_owned()),
        (format!("/stocks/{ann}"), "expected owner:shelf".to_owned()),
        (
            format!("/stocks/{ann}:a:b"),
            "expected owner:shelf".to_owned(),
        ),
        (
            format!("/stocks/{ann}:%2561"),
            format!("expected owner:shelf, written as {ann}:a"),
        ),
        (
            format!("/stocks/{shouted}:a"),
            format!("owner: expected a valid UUID, written as {ann}"),
        ),
        (
            format!("/places/007:true:{id}"),
            "row: expected an integer, written as 7".to_owned(),
        ),
        (
            format!("/places/7:1:{id}"),
            "on: expected a boolean".to_owned(),
        ),
        (
            format!("/places/7:true:{id}:"),
            "expected row:on:id".to_owned(),
        ),
    ];
    for (path, message) in cases {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            if path.starts_with("/places") && matches!(method, "PUT" | "PATCH") {
                continue; // The body is of another entity.
            }
            let body = json!({"pieces": 1});
            let answer = match method {
                "PUT" | "PATCH" => admin.json(method, &path, body).await,
                _ => admin.call(method, &path).await,
            };
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {path}");
            assert_eq!(answer.body()["code"], 2, "{method} {path}");
            assert_eq!(
                answer.body()["fields"],
                json!({"@entity": message}),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn below_its_parent_a_row_is_named_by_the_rest_of_its_key() {
    let (admin, ann) = admin().await;
    let bob = admin.json("POST", "/owners", json!({"name": "bob"})).await;
    let bob = bob.created()["id"].as_str().unwrap().to_owned();
    let made = admin
        .json("PUT", "/owners/ann/stocks/a", json!({"pieces": 1}))
        .await
        .ok();
    assert_eq!(
        made,
        json!({"owner": {"id": ann}, "shelf": "a", "pieces": 1})
    );
    for path in [
        "/owners/ann/stocks/a".to_owned(),
        format!("/owners/{ann}/stocks/{ann}:a"),
        format!("/stocks/{ann}:a"),
    ] {
        assert_eq!(admin.get(&path).await.ok(), made, "{path}");
    }
    admin.get("/owners/bob/stocks/a").await.not_found();
    admin
        .get(&format!("/owners/bob/stocks/{ann}:a"))
        .await
        .not_found();
    admin
        .delete(&format!("/owners/bob/stocks/{ann}:a"))
        .await
        .not_found();
    let posted = admin
        .json(
            "POST",
            "/owners/bob/stocks",
            json!({"shelf": "a", "pieces": 2}),
        )
        .await
        .created();
    assert_eq!(posted["owner"], json!({"id": bob}));

    // The rows of a parent go with it.
    admin.delete("/owners/ann").await.no_content();
    assert_eq!(admin.get("/stocks").await.ok()["data"], json!([posted]));
}

#[tokio::test]
async fn a_row_without_a_part_that_is_made_gets_one() {
    let (admin, _) = admin().await;
    let made = admin
        .json("POST", "/places", json!({"row": 7, "on": true}))
        .await
        .created();
    let id = made["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/places/7:true:{id}")).await.ok(), made);
    let refused = admin.json("POST", "/places", json!({"row": 7})).await;
    assert_eq!(
        refused.body()["fields"],
        json!({"on": "required field missing"})
    );
}

#[tokio::test]
async fn what_is_cached_by_the_whole_key_is_evicted_and_explained() {
    let (admin, ann) = admin().await;
    for shelf in ["a", "b"] {
        let body = json!({"owner": {"id": ann}, "shelf": shelf, "pieces": 1});
        admin.json("POST", "/stocks", body).await.created();
    }
    let cached = admin.node.dao::<Stock>().unwrap().cached().unwrap();
    let by_key = cached.by_all(&["owner", "shelf"]).unwrap();
    let id = Uuid::try_parse(&ann).unwrap();
    for shelf in ["a", "b"] {
        assert!(by_key.get((id, shelf)).await.unwrap().is_some());
    }
    let path = |shelf: &str| format!("/cache/stocks@:{ann}:{shelf}");
    assert_eq!(admin.get(&path("a")).await.ok()["pieces"], 1);

    let changed = admin
        .json("PATCH", &format!("/stocks/{ann}:a"), json!({"pieces": 2}))
        .await;
    changed.ok();
    admin.get(&path("a")).await.not_found();
    assert_eq!(admin.get(&path("b")).await.ok()["pieces"], 1);
    let found = by_key.get((id, "a")).await.unwrap();
    assert_eq!(found.map(|row| row.pieces), Some(2));

    let told = admin.get(&format!("{}/explain", path("a"))).await.ok();
    let rows = told["invalidations"].as_array().unwrap().iter();
    let named: Vec<_> = rows.map(|it| (&it["entity"], &it["row"])).collect();
    let row = Json::from(format!("{ann}:a"));
    // The update and the create of the row, and nothing of the one that differs in a part.
    let own = (&json!("stocks"), &row);
    assert_eq!(named, [own, own], "{told}");
    let audited = admin.call("POST", "/audit?for=1s").await;
    assert_eq!(audited.status, StatusCode::OK, "{audited:?}");
    assert_eq!(audited.body()["inconsistent"], 0, "{audited:?}");
    assert!(
        audited.body()["checked"].as_u64().unwrap() > 0,
        "{audited:?}"
    );
}

#[tokio::test]
async fn a_secret_part_of_a_key_is_in_no_line_of_the_log_and_no_explanation() {
    let (admin, _) = admin().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let write = async {
        let body = json!({"tenant": 7, "token": "s3cret"});
        admin.json("POST", "/grants", body).await.created();
        let body = json!({"note": "changed"});
        admin.json("PATCH", "/grants/7:s3cret", body).await.ok();
    };
    write.with_subscriber(subscriber).await;
    let told = admin.get("/cache/grants@:7:s3cret/explain").await.ok();
    let named = &told["invalidations"][0]["row"];
    assert_eq!(named, &json!("7:***"), "{told}");
    assert!(!told.to_string().contains("s3cret"), "{told}");

    let log = log.text();
    assert_eq!(log.matches("7:***").count(), 2, "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn the_document_and_the_schema_say_how_a_row_is_named() {
    let (admin, _) = admin().await;
    let schema = admin.get("/schemas/stocks").await.ok();
    assert_eq!(schema["primary_key"], json!(["owner", "shelf"]));
    assert_eq!(schema["cache_key"], json!(["owner", "shelf"]));
    let refused = admin.get("/schemas/stocks/cache-key?shelf=a").await;
    assert_eq!(
        refused.body()["fields"],
        json!({"@entity": "a value is needed for all of: owner, shelf"})
    );

    let document = admin.get("/openapi.json").await.ok();
    let paths = document["paths"].as_object().unwrap();
    let names: Vec<_> = paths
        .keys()
        .filter(|path| path.contains("stocks/{"))
        .collect();
    assert_eq!(
        names,
        [
            "/owners/{id_or_name}/stocks/{owner_shelf_or_shelf}",
            "/stocks/{owner_shelf}",
            "/stocks/{owner_shelf}/owner",
        ]
    );
    let parameter = &document["paths"]["/stocks/{owner_shelf}"]["parameters"][0];
    let said = parameter["description"].as_str().unwrap();
    assert!(said.starts_with("owner:shelf; in each part"), "{said}");
    let arguments = document["paths"]["/stocks"]["get"]["parameters"].to_string();
    assert!(arguments.contains("\"shelf\""), "{arguments}");
}
