//! The node as its admin side shows it: links, readiness, and the log of writes.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Request, header};
use serde_json::json;
use tidings::{
    CrudEvent, Node, Store,
    events::{AsyncOptions, Received},
};
use tidings_admin::{AdminOptions, Readiness, Unready};
use tracing::instrument::WithSubscriber as _;

use super::node::{Admin, NODE_ID};
use crate::entities::Shop;

#[tokio::test]
async fn the_root_tells_what_this_is_and_where_to_go_on() {
    let admin = Admin::new().await;
    let root = admin.get("/").await.ok();
    assert_eq!(root["name"], "tidings");
    assert_eq!(root["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(root["node_id"], NODE_ID);
    let links = root["links"].as_object().unwrap();
    assert_eq!(links["shop-keys"], "/shop-keys");
    assert_eq!(links["openapi"], "/openapi.json");
    assert_eq!(links["cache"], "/cache");
    for (name, link) in links {
        if name == "schemas" {
            for link in link.as_object().unwrap().values() {
                admin.get(link.as_str().unwrap()).await.ok();
            }
        } else {
            let answer = admin.get(link.as_str().unwrap()).await;
            assert_eq!(answer.status, 200, "{name}");
        }
    }
    admin
        .call("POST", "/")
        .await
        .refused(405, 23, "method not allowed");
}

#[tokio::test]
async fn probes_need_no_token_and_no_name() {
    let readiness = Readiness::new();
    let options = AdminOptions::new()
        .token("s3cret")
        .readiness(readiness.clone());
    let admin = Admin::with(options).await;
    let probe = async |path: &str| {
        let request = Request::get(path).header(header::HOST, "10.0.0.7:8001");
        admin.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(probe("/livez").await.ok(), json!({ "live": true }));
    assert_eq!(probe("/readyz").await.ok(), json!({ "ready": true }));
    readiness.begin(Unready::WarmingUp);
    readiness.begin(Unready::Draining);
    let unready = probe("/readyz").await;
    assert_eq!(unready.status, 503);
    assert_eq!(
        unready.body(),
        json!({ "ready": false, "reasons": ["warming up", "draining"] })
    );
    probe("/livez").await.ok();
    readiness.end(Unready::WarmingUp);
    readiness.end(Unready::Draining);
    probe("/readyz").await.ok();
    probe("/status").await.refused(401, 22, "unauthorized");
}

#[tokio::test]
async fn a_database_that_is_away_is_told_plainly() {
    let admin = Admin::new().await;
    let connected = admin.get("/status").await.ok();
    assert_eq!(connected["database"]["state"], "connected");
    admin.node.store().close().await.unwrap();
    let away = admin.get("/status").await.ok();
    assert_eq!(away["database"]["state"], "away");
    let unready = admin.get("/readyz").await;
    assert_eq!(unready.status, 503);
    assert_eq!(unready.body()["reasons"], json!(["database"]));
    admin.get("/livez").await.ok();
}

/// Lines of the log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns all of it.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_write_leaves_a_line_that_tells_no_value() {
    let admin = Admin::new().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let id = async {
        admin.shop("a").await;
        let key = json!({ "key": "very-s3cret", "tags": ["t"] });
        let made = admin.json("POST", "/shops/a/keys", key).await.created();
        admin.get("/shop-keys/very-s3cret").await.ok();
        let changed = json!({ "key": "other-s3cret" });
        admin
            .json("PATCH", "/shop-keys/very-s3cret", changed)
            .await
            .ok();
        admin
            .delete("/shops/a/keys/other-s3cret")
            .await
            .no_content();
        admin.delete("/shop-keys/gone-s3cret").await.no_content();
        admin
            .delete("/cache/shop_keys:very-s3cret")
            .await
            .no_content();
        admin
            .json("POST", "/shop-keys", json!({ "key": "bad-s3cret" }))
            .await
            .wrong_fields();
        made["id"].as_str().unwrap().to_owned()
    };
    let id = id.with_subscriber(subscriber).await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("s3cret"), "{log}");
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("tidings::audit"))
        .collect();
    let expected: [&[&str]; 7] = [
        &["POST", "shops", "fields=\"name\"", "status=201"],
        &[
            "POST",
            "shop_keys",
            &id,
            "fields=\"key,tags\"",
            "status=201",
        ],
        &["PATCH", "shop_keys", &id, "fields=\"key\"", "status=200"],
        &["DELETE", "shop_keys", &id, "status=204"],
        &["DELETE", "shop_keys", "row=\"none\"", "status=204"],
        &["DELETE", "cache of shop_keys", "status=204"],
        &["POST", "shop-keys", "refused", "status=400"],
    ];
    assert_eq!(lines.len(), expected.len(), "{log}");
    for (line, words) in lines.iter().zip(expected) {
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
        assert!(
            line.contains("from=\"unknown\"") && line.contains("request="),
            "{line}"
        );
    }
}

/// The line is there before anything is waited for: a caller that goes away ends the waiting.
#[tokio::test]
async fn a_write_is_audited_before_it_is_confirmed() {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.unwrap())
        .handler_deadline(Duration::from_millis(1))
        .entity::<Shop>()
        .start()
        .await
        .unwrap();
    // A handler that does not end: the write is committed, and not confirmed.
    let bus = node.worker_events();
    let hangs = |_: Received<CrudEvent<Shop>>| std::future::pending::<()>();
    let held = bus.register_async(hangs, "crud", "shops", AsyncOptions::new());
    held.unwrap().keep();

    let admin = Admin::over(node, AdminOptions::new());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let shop = json!({ "name": "a" });
    let write = admin.json("POST", "/shops?confirm=10m", shop);
    let mut write = pin!(write.with_subscriber(subscriber));
    let audited = || String::from_utf8_lossy(&log.0.lock().unwrap()).contains("tidings::audit");
    let audit = async {
        while !audited() {
            let answered = futures_util::poll!(write.as_mut()).is_ready();
            assert!(!answered, "it waits to be confirmed");
            tokio::task::yield_now().await;
        }
    };
    let bounded = tokio::time::timeout(Duration::from_secs(60), audit);
    bounded.await.expect("a line in the log");
}
