//! Removes expired rows at intervals, for every entity whose rows expire.
//!
//! Readers no longer see an expired row. Its removal frees its space, and handlers receive its
//! deletion. Nodes that share a database take turns: the store lets one of them work on an entity
//! at a time.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{Chain, Schema, clock::Clock};
use tidings_store::{Cleared, Error, Store};
use tokio_util::sync::CancellationToken;

/// Removes expired rows at intervals until the node stops.
pub(crate) async fn remove_expired(
    store: Store,
    schemas: Vec<&'static Schema>,
    every: Duration,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let expiring = schemas.into_iter().filter(|it| it.expiry().is_some());
    let expiring: Vec<_> = expiring.map(Schema::name).collect();
    if expiring.is_empty() {
        return;
    }

    loop {
        let stopped = std::pin::pin!(stop.cancelled());
        if let Either::Left(_) = select(stopped, clock.sleep(every)).await {
            return;
        }

        for entity in &expiring {
            let stopped = std::pin::pin!(stop.cancelled());
            let removing = std::pin::pin!(remove_of(&store, entity));
            match select(stopped, removing).await {
                Either::Left(_) => return,
                Either::Right((Ok(cleared), _)) if cleared == Cleared::default() => {}
                Either::Right((Ok(cleared), _)) => {
                    let Cleared { removed, kept, .. } = cleared;
                    tracing::info!(entity, removed, kept, "rows past their time were removed");
                }
                Either::Right((Err(error), _)) => {
                    tracing::warn!(entity, error = %Chain(&error), "rows past their time were not removed");
                }
            }
        }
    }
}

async fn remove_of(store: &Store, entity: &str) -> Result<Cleared, Error> {
    store.table(entity)?.remove_expired().await
}
