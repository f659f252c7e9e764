//! The examples run. Each is a module here, so that they link once: those that end by themselves
//! run whole and check what they show; those that serve are asked what their first lines promise.

#[expect(dead_code, reason = "its `main` serves until it is interrupted")]
#[path = "../../examples/axum_service.rs"]
mod axum_service;
#[path = "../../examples/bus_alone.rs"]
mod bus_alone;
#[path = "../../examples/cache_alone.rs"]
mod cache_alone;
#[path = "../../examples/entity_by_hand.rs"]
mod entity_by_hand;
#[expect(dead_code, reason = "its `main` serves until it is interrupted")]
#[path = "../../examples/own_plugin.rs"]
mod own_plugin;
#[path = "../../examples/permissions.rs"]
mod permissions;
#[path = "../../examples/plain_sqlx.rs"]
mod plain_sqlx;
#[path = "../../examples/quickstart.rs"]
mod quickstart;
#[path = "../../examples/sea_orm.rs"]
mod sea_orm;
#[path = "../../examples/shared_invalidations.rs"]
mod shared_invalidations;
#[path = "../../examples/tower_layer.rs"]
mod tower_layer;
#[path = "../../examples/with_the_kit.rs"]
mod with_the_kit;

use std::{collections::BTreeSet, fs, time::Duration};

use axum::body::{Body, to_bytes};
use http::{Method, Request};
use serde_json::json;
use tidings::Node;
use tidings_gateway::Settings;
use tidings_streams::{JetStream, Redis};
use tidings_testkit::{Broker, Protocol};
use tower::ServiceExt as _;

use crate::client::Client;

#[test]
fn the_examples_that_end_by_themselves_run() {
    bus_alone::main().expect("bus_alone");
    cache_alone::main().expect("cache_alone");
    entity_by_hand::main().expect("entity_by_hand");
    permissions::main().expect("permissions");
    plain_sqlx::main().expect("plain_sqlx");
    quickstart::main().expect("quickstart");
    sea_orm::main().expect("sea_orm");
    shared_invalidations::main().expect("shared_invalidations");
    tower_layer::main().expect("tower_layer");
    with_the_kit::main().expect("with_the_kit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_share_their_invalidations_over_a_redis_stream() {
    let broker = Broker::start(Protocol::Redis);
    let stream = || Ok(Node::builder().stream(Redis::new(&broker.url(), "shop")?));
    shared_invalidations::run(stream).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_share_their_invalidations_over_a_jetstream() {
    let broker = Broker::start(Protocol::Nats);
    let stream = || Ok(Node::builder().stream(JetStream::new(&broker.url(), "shop")?));
    shared_invalidations::run(stream).await.expect("it runs");
}

#[tokio::test]
async fn the_axum_service_reads_from_memory_and_toggles_at_once() {
    let node = axum_service::start("sqlite::memory:")
        .await
        .expect("a node");
    let routes = axum_service::routes(&node).expect("routes");
    let ask = async |method, path| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).expect("a request");
        let answer = routes.clone().oneshot(request).await.expect("an answer");
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    };
    assert_eq!(ask(Method::GET, "/flags/beta").await, "false\n");
    assert_eq!(ask(Method::GET, "/flags/beta").await, "false\n");
    assert_eq!(node.cache().stats().loads, 1);
    assert_eq!(ask(Method::PUT, "/flags/beta").await, "true\n");
    assert_eq!(ask(Method::GET, "/flags/beta").await, "true\n");
    assert!(
        ask(Method::GET, "/metrics")
            .await
            .contains("tidings_cache_hits_total")
    );
    assert!(node.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_lets_known_tenants_pass_and_its_entity_has_routes() {
    let settings = Settings {
        proxy_listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        database: "sqlite::memory:".to_owned(),
        workers: 2,
        ..Settings::default()
    };
    let gateway = own_plugin::start(settings).await.expect("a gateway");
    let mut proxy = Client::connect(gateway.proxy_address()).await;
    let mut admin = Client::connect(gateway.admin_address()).await;

    let host = gateway.proxy_address().to_string();
    proxy.get("/").await.expect(404);
    let tenant = json!({"host": host, "plan": "gold"});
    admin.post("/tenants", tenant).await.expect(201);
    let seen = proxy.get("/").await.expect(200).json();
    assert_eq!(seen["headers"]["x-tenant-plan"], "gold");
    admin.delete(&format!("/tenants/{host}")).await.expect(204);
    proxy.get("/").await.expect(404);
    gateway.shutdown().await;
}

#[test]
fn every_example_is_run_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let entries = fs::read_dir(folder).expect("the examples are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let there: BTreeSet<_> = names.map(|name| name.expect("a name in UTF-8")).collect();

    let run = include_str!("examples.rs")
        .split("path = \"../../examples/")
        .skip(1);
    let run = run.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    assert_eq!(there, run.collect(), "each example has a line above");
}
