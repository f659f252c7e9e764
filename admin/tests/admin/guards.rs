//! What the API withstands: panics, hooks that refuse, clients that go away, a prefix.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, body::Body};
use http::header;
use http_body_util::BodyExt as _;
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};
use tidings::{
    CacheKey, CrudEvent, GetOptions, Operation,
    store::{BoxError, Call, Hook, Method},
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::ServiceExt as _;

use super::node::{Admin, request};
use crate::entities::{Secret, ShopKey};

/// Cached JSON that can no longer be written.
#[derive(Clone)]
struct Bomb(Arc<AtomicBool>);

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0.load(Ordering::SeqCst), "the fuse of vault 7 burns");
        serializer.serialize_unit()
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing_and_harms_no_one() {
    let admin = Admin::new().await;
    let burning = Arc::new(AtomicBool::new(false));
    let bomb = Bomb(Arc::clone(&burning));
    let key = CacheKey::new("bombs", &["1"]);
    let load = || async move { Ok::<_, std::io::Error>(Some(bomb)) };
    let cache = admin.node.cache();
    cache.get(&key, GetOptions::default(), load).await.unwrap();
    admin.get("/cache/bombs:1").await.ok();

    burning.store(true, Ordering::SeqCst);
    let answer = admin.get("/cache/bombs:1").await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.body(),
        json!({ "code": 0, "name": "internal error", "message": "An unexpected error occurred" })
    );
    assert!(answer.headers.contains_key("x-tidings-request"));
    admin.delete("/cache/bombs:1").await.no_content();
    admin.get("/status").await.ok();
}

/// Refuses shops called "refused", and panics at those called "panic".
#[derive(Debug)]
struct Picky;

impl Hook for Picky {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        let row = format!("{:?}", call.row);
        assert!(!row.contains("\"panic\""), "index 9 of table x");
        match row.contains("\"refused\"") {
            true => Err("the quota of tenant 7 is used up".into()),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_a_hook_says_is_not_for_the_client() {
    let admin = Admin::new().await;
    admin.node.table("shops").unwrap().hook(Arc::new(Picky));
    let refused = admin
        .json("POST", "/shops", json!({ "name": "refused" }))
        .await;
    refused.refused(400, 27, "refused");
    assert!(!refused.text.contains("tenant"), "{refused:?}");
    let panicked = admin
        .json("POST", "/shops", json!({ "name": "panic" }))
        .await;
    assert_eq!(panicked.status, 500);
    assert_eq!(
        panicked.body(),
        json!({ "code": 0, "name": "internal error", "message": "An unexpected error occurred" })
    );
    assert_eq!(admin.get("/shops").await.ok()["data"], json!([]));
    admin.shop("fine").await;
}

/// Tells when a write begins and when it has ended.
struct Watch {
    begun: UnboundedSender<()>,
    ended: UnboundedSender<()>,
}

impl Hook for Watch {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        if call.method == Method::Update {
            self.begun.send(())?;
        }
        Ok(())
    }

    fn after(&self, call: &Call<'_>) {
        if call.method == Method::Update {
            self.ended.send(()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_whose_client_hangs_up_is_carried_to_its_end() {
    let admin = Admin::new().await;
    let (begun_tx, mut begun) = unbounded_channel();
    let (ended_tx, mut ended) = unbounded_channel();
    let (heard_tx, mut heard) = unbounded_channel();
    let watch = Watch {
        begun: begun_tx,
        ended: ended_tx,
    };
    admin.node.table("shop_keys").unwrap().hook(Arc::new(watch));
    let hear = move |change: &CrudEvent<ShopKey>| {
        heard_tx
            .send((change.operation, change.entity.key.clone()))
            .unwrap_or_default();
    };
    let events = admin.node.worker_events();
    events.register(hear, "crud", "shop_keys").unwrap().keep();

    // Registered before the first write: a write without a handler does not wait for its event.
    admin.shop("a").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k0" }))
        .await
        .created();
    let made = (Operation::Create, Some("k0".to_owned()));
    assert_eq!(heard.recv().await.unwrap(), made);

    let mut hung_up = 0;
    for round in 0..20 {
        let (old, new) = (format!("k{round}"), format!("k{}", round + 1));
        assert!(look_up(&admin, &old).await);
        assert!(!look_up(&admin, &new).await);
        let path = format!("/shops/a/keys/{old}");
        let request = admin.json("PATCH", &path, json!({ "key": new }));
        // The select drops the handler's future, as a server does when its client is gone.
        tokio::select! {
            biased;
            () = async { begun.recv().await.unwrap() } => hung_up += 1,
            _ = request => begun.recv().await.unwrap(),
        }
        ended.recv().await.unwrap();
        assert!(!look_up(&admin, &old).await, "round {round}");
        assert!(look_up(&admin, &new).await, "round {round}");
        assert_eq!(heard.recv().await.unwrap(), (Operation::Update, Some(new)));
    }
    assert!(hung_up > 0, "no client went away in time");
}

async fn look_up(admin: &Admin, key: &str) -> bool {
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let cache_key = keys.cache_key(&[key]).unwrap();
    let load = keys.select_by("key", key);
    let found = admin
        .node
        .cache()
        .get(&cache_key, GetOptions::default(), || load);
    found.await.unwrap().is_some()
}

#[tokio::test]
async fn links_keep_the_prefix_that_the_api_is_served_under() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin.shop("b").await;
    let router = Router::new().nest("/admin/v1", admin.router());
    let request = request("GET", "/admin/v1/shops?size=1")
        .body(Body::empty())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let list: Json = serde_json::from_slice(&bytes).unwrap();
    let next = list["next"].as_str().unwrap();
    assert!(next.starts_with("/admin/v1/shops?offset="), "{next}");
}

#[tokio::test]
async fn what_the_api_does_not_show_cannot_be_written_through_it() {
    let admin = Admin::new().await;
    let secrets = admin.node.dao::<Secret>().unwrap();
    let secret = secrets
        .insert(Secret {
            id: uuid::Uuid::nil(),
            text: "x".to_owned(),
        })
        .await
        .unwrap();
    for path in ["/secrets".to_owned(), format!("/secrets/{}", secret.id)] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            admin
                .json(method, &path, json!({ "text": "y" }))
                .await
                .not_found();
        }
    }
    assert_eq!(secrets.select(secret.id).await.unwrap().unwrap().text, "x");
}

/// A server that speaks HTTP/1.1 over a socket.
#[tokio::test]
async fn the_router_serves_over_a_socket() {
    let admin = Admin::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, admin.router()).await });
    let exchange = async |request: &str| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let made = exchange(
        "POST /shops HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n\r\nname=a",
    );
    let made = made.await;
    assert!(made.starts_with("HTTP/1.1 201 Created\r\n"), "{made}");
    let head =
        exchange("HEAD /shops/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let length = format!("{}: ", header::CONTENT_LENGTH);
    assert!(
        head.contains(&length) && !head.contains(&format!("{length}0\r")),
        "{head}"
    );
    server.abort();
}
