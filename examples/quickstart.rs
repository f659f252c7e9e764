//! Declare an entity, register a handler on each worker, cache a lookup, change the row, see both.
//!
//! Run: `cargo run --example quickstart`

use serde::{Deserialize, Serialize};
use tidings::{CachedRows, CrudEvent, Entity, Node, Store};
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

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await?)
        .workers(2)
        .entity::<Flag>()
        .init_worker(|worker| {
            let id = worker.id();
            let handler = move |change: &CrudEvent<Flag>| {
                println!(
                    "worker {id} hears: {} {:?}",
                    change.operation, change.entity
                );
            };
            worker
                .worker_events()
                .register(handler, "crud", "flags")?
                .keep();

            Ok(())
        })
        .start()
        .await?;

    let flags = node.dao::<Flag>()?;
    let flag = flags
        .insert(Flag {
            id: Uuid::nil(),
            name: "beta".into(),
            on: false,
        })
        .await?;
    let cached = flags.cached()?;
    println!("before: {:?}", cached.select_by("name", "beta").await?);
    flags.update(flag.id, |flag| flag.on = true).await?; // returns after every worker's handlers

    let after = cached.select_by("name", "beta").await?;
    println!("after:  {after:?}");
    assert!(after.is_some_and(|flag| flag.on));

    let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
