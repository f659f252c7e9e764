//! A node inside an axum service, on the tokio runtime that the service already has.
//!
//! Run: `cargo run --example axum_service`, then
//!
//! ```text
//! curl localhost:3000/flags/beta            # false: loaded once, then from memory
//! curl -X PUT localhost:3000/flags/beta     # toggles it
//! curl localhost:3000/flags/beta            # true, at once
//! curl localhost:3000/metrics               # what the node has counted
//! ```
//!
//! The service's threads are not workers. Each gets an L1 when it first uses the cache, so a hit
//! costs it no more than it costs a worker.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tidings::{BoxError, Cached, CachedRows, Dao, Entity, Node, Store};
use tidings_admin::{Metrics, Readiness, status_router};
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "flags", cache_key("name"))]
struct Flag {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
    on: bool,
}

#[derive(Clone)]
struct Flags {
    rows: Dao<Flag>,
    cached: Cached<Flag>,
}

/// Starts the node on the current runtime.
pub(crate) async fn start(database: &str) -> Result<Node, BoxError> {
    let store = Store::open(database).await?;
    let node = Node::builder()
        .store(store)
        .entity::<Flag>()
        .start()
        .await?;
    let beta = Flag {
        id: Uuid::nil(),
        name: "beta".into(),
        on: false,
    };
    node.dao::<Flag>()?.upsert_by("name", "beta", beta).await?;

    Ok(node)
}

/// Makes the routes of the service, and `/metrics`, `/livez` and `/readyz` beside them.
pub(crate) fn routes(node: &Node) -> Result<Router, BoxError> {
    let rows = node.dao::<Flag>()?;
    let cached = rows.cached()?;
    let started = Arc::new(OnceLock::from(node.clone()));
    let status = status_router(started, Readiness::new(), Metrics::new());
    Ok(Router::new()
        .route("/flags/{name}", get(read).put(toggle))
        .with_state(Flags { rows, cached })
        .fallback_service(status))
}

async fn read(State(flags): State<Flags>, Path(name): Path<String>) -> Result<String, StatusCode> {
    let flag = flags.cached.select_by("name", name).await;
    let flag = flag.map_err(internal)?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{}\n", flag.on))
}

async fn toggle(
    State(flags): State<Flags>,
    Path(name): Path<String>,
) -> Result<String, StatusCode> {
    let toggled = flags
        .rows
        .update_by("name", name, |flag| flag.on = !flag.on);
    let flag = toggled.await.map_err(internal)?;
    let flag = flag.ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{}\n", flag.on))
}

fn internal(error: impl std::error::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let node = start("sqlite::memory:").await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);

    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, routes(&node)?)
        .with_graceful_shutdown(interrupted)
        .await?;

    // No request is running now. The node delivers what its bus accepted and closes the store.
    let report = node.shutdown(Duration::from_secs(5)).await;
    println!("stopped, {report:?}");
    Ok(())
}
