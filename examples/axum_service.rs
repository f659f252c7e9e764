//! A node inside an axum service on a plain multi-thread tokio runtime.
//!
//! Run: `cargo run --example axum_service`, then
//!
//! ```text
//! curl localhost:3000/flags/beta            # false: loaded once, then from memory
//! curl -X PUT localhost:3000/flags/beta     # turns it over
//! curl localhost:3000/flags/beta            # true, at once
//! ```
//!
//! The node has a runtime of its own for loads and the store. The service's threads are not
//! workers; each gets an L1 when it starts, so that a hit costs them no more than a worker.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tidings::{BoxError, Dao, Entity, GetOptions, Node, Store};
use tokio::{net::TcpListener, runtime};
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

struct Service {
    node: Node,
    flags: Dao<Flag>,
}

fn main() -> Result<(), BoxError> {
    let background = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let node = background.block_on(async {
        let store = Store::open("sqlite::memory:").await?;
        let node = Node::builder()
            .store(store)
            .entity::<Flag>()
            .start()
            .await?;
        node.dao::<Flag>()?
            .insert(Flag {
                id: Uuid::nil(),
                name: "beta".into(),
                on: false,
            })
            .await?;
        Ok::<_, BoxError>(node)
    })?;

    let cache = node.cache().clone();
    let service = runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(move || cache.attach_thread("http").keep())
        .build()?;
    let flags = node.dao::<Flag>()?;
    service.block_on(serve(Service {
        node: node.clone(),
        flags,
    }))?;
    let report = background.block_on(node.shutdown(Duration::from_secs(5)));
    println!(
        "stopped, {}",
        if report.is_clean() {
            "all done"
        } else {
            "some left"
        }
    );
    Ok(())
}

async fn serve(service: Service) -> Result<(), BoxError> {
    let router = Router::new()
        .route("/flags/{name}", get(read).put(turn))
        .with_state(Arc::new(service));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 3000))).await?;
    println!("listening on {}", listener.local_addr()?);
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(axum::serve(listener, router)
        .with_graceful_shutdown(interrupted)
        .await?)
}

async fn read(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<String, StatusCode> {
    let flags = service.flags.clone();
    let key = flags.cache_key(&[&name]).map_err(internal)?;
    let load = || flags.select_by("name", name.as_str());
    let flag = service
        .node
        .cache()
        .get(&key, GetOptions::default(), load)
        .await
        .map_err(internal)?;
    flag.map(|flag| format!("{}\n", flag.on))
        .ok_or(StatusCode::NOT_FOUND)
}

async fn turn(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<String, StatusCode> {
    let turned = service
        .flags
        .update_by("name", name.as_str(), |flag| flag.on = !flag.on);
    let flag = turned.await.map_err(internal)?;
    flag.map(|flag| format!("{}\n", flag.on))
        .ok_or(StatusCode::NOT_FOUND)
}

fn internal(error: impl std::error::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
