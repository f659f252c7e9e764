//! The admin API knows no entity by name: one that only this test declares has every route.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::{Entity, Node, Ref, Store, Timestamp};
use tidings_admin::AdminOptions;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::client::Client;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "shelves", endpoint_key = "label", admin_api(name = "shelves"))]
struct Shelf {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    label: String,
    height: Option<i64>,
    #[entity(auto_create_time)]
    created_at: Timestamp,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "books",
    endpoint_key = "isbn",
    cache_key("shelf", "place"),
    unique("shelf", "place"),
    admin_api(name = "books", nested = "books")
)]
struct Book {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    isbn: String,
    #[entity(foreign, on_delete = "cascade")]
    shelf: Ref<Shelf>,
    place: i64,
    lent: Option<bool>,
    weight: Option<f64>,
    tags: Option<BTreeSet<String>>,
}

async fn library() -> (Node, SocketAddr) {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.expect("memory opens"))
        .entity::<Shelf>()
        .entity::<Book>()
        .start()
        .await
        .expect("the node starts");
    let router = tidings_admin::router(node.clone(), AdminOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (node, address)
}

#[tokio::test]
async fn an_entity_of_the_users_own_has_every_route() {
    let (node, address) = library().await;
    let mut admin = Client::connect(address).await;

    let shelf = admin
        .post("/shelves", json!({"label": "A", "height": 3}))
        .await
        .expect(201)
        .json();
    let id = shelf["id"].as_str().expect("made").to_owned();
    admin.get(&format!("/shelves/{id}")).await.expect(200);
    assert_eq!(admin.get("/shelves/A").await.expect(200).json(), shelf);
    admin.put("/shelves/B", json!({})).await.expect(200);
    assert_eq!(
        admin.get("/shelves").await.expect(200).json()["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let cleared = admin
        .patch("/shelves/A", json!({"height": null}))
        .await
        .expect(200)
        .json();
    assert!(cleared["height"].is_null());

    let book = json!({"isbn": "1", "place": 7, "weight": 1.5, "lent": false, "tags": ["new"]});
    let book = admin
        .post("/shelves/A/books", book)
        .await
        .expect(201)
        .json();
    assert_eq!(book["shelf"]["id"], shelf["id"]);
    let taken = json!({"isbn": "2", "place": 7, "shelf": {"id": shelf["id"]}});
    admin.post("/books", taken).await.expect(409);
    assert_eq!(admin.get("/books/1").await.expect(200).json(), book);
    assert_eq!(
        admin.get("/shelves/A/books/1").await.expect(200).json(),
        book
    );
    admin.get("/shelves/B/books/1").await.expect(404);
    assert_eq!(
        admin.get("/books/1/shelf").await.expect(200).json()["label"],
        "A"
    );
    assert_eq!(
        admin.get("/books?tags=new").await.expect(200).json()["data"],
        json!([book])
    );
    admin
        .put(
            "/books/1",
            json!({"place": 8, "shelf": {"id": shelf["id"]}}),
        )
        .await
        .expect(200);
    let replaced = admin.get("/books/1").await.expect(200).json();
    assert_eq!(
        (&replaced["id"], &replaced["place"]),
        (&book["id"], &json!(8))
    );
    assert!(replaced["weight"].is_null(), "a PUT replaces the whole row");
    admin
        .patch("/shelves/A/books/1", json!({"place": 9}))
        .await
        .expect(200);

    let schema = admin.get("/schemas/books").await.expect(200).json();
    assert!(schema.to_string().contains("isbn"));
    let key = format!("/schemas/books/cache-key?shelf={id}&place=9");
    let key = admin.get(&key).await.expect(200).json()["cache_key"].clone();
    assert_eq!(key, format!("books:{id}:9"));
    admin.get("/schemas/nothing").await.expect(404);

    admin.delete("/shelves/A").await.expect(204);
    admin.get("/books/1").await.expect(404);
    assert!(node.shutdown(Duration::from_secs(5)).await.is_clean());
}
