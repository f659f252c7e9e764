//! The parts of a gateway, each made from its settings.

use std::sync::Arc;

use tidings::{
    Cache, NodeBuilder,
    cache::{CacheBuilder, Policy, Ttl},
};
use tidings_admin::Metrics;

use super::StartError;
use crate::{
    Settings,
    counts::Counts,
    descriptors,
    front::{self, Cues},
    log::Sink,
    server::{Acceptor, Imprint, Listener, Seats},
    settings::Cluster,
};

/// Returns what the gateway counts besides its node.
pub(super) fn metrics(
    counts: &Arc<Counts>,
    seats: &Arc<Seats>,
    sink: &Sink,
    most: usize,
) -> Metrics {
    let (counts, seats, sink) = (Arc::clone(counts), Arc::clone(seats), sink.clone());
    Metrics::new().publish(move || counts.publish(seats.open(), most, sink.lost()))
}

/// Starts to serve a router on a listener, once its side is told to serve.
pub(super) fn serve_router(
    side: &'static str,
    listener: Listener,
    router: axum::Router,
    node_id: &str,
    settings: &Settings,
    cues: &Cues,
) -> Result<(), StartError> {
    let seats = Seats::new(1, descriptors::admin_connections());
    let acceptor = Acceptor::new(listener, seats, 0)
        .map_err(|error| StartError::new("the admin or the status side cannot accept", error))?;
    let imprint = admin_imprint(node_id);
    let limits = settings.limits.clone();

    // Its director has not begun to drain, so there is a cue.
    if let Some(cue) = cues.cue() {
        tokio::spawn(front::serve_admin(
            side, acceptor, router, imprint, limits, cue,
        ));
    }

    Ok(())
}

/// Makes a broker wake the node, if the settings name one.
pub(super) fn woken(node: NodeBuilder, settings: &Settings) -> Result<NodeBuilder, StartError> {
    match settings.cluster_engine() {
        #[cfg(feature = "nats")]
        Cluster::Nats(address) => {
            let carrier = tidings_carriers::Nats::new(address.expose(), &settings.cluster_name);
            Ok(node.wake_by(carrier.map_err(unusable_broker)?))
        }
        #[cfg(feature = "redis")]
        Cluster::Redis(address) => {
            let carrier = tidings_carriers::Redis::new(address.expose(), &settings.cluster_name);
            Ok(node.wake_by(carrier.map_err(unusable_broker)?))
        }
        Cluster::None | Cluster::Postgres | Cluster::Sqlite => Ok(node),
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
fn unusable_broker(error: tidings_carriers::CarrierError) -> StartError {
    StartError::new("the broker (--cluster) cannot be used", error)
}

/// Returns the cache's settings: its rows may be revoked, so nothing is served after its time,
/// whatever fails.
pub(super) fn cache(settings: &Settings) -> CacheBuilder {
    Cache::builder()
        .capacity(settings.cache_size)
        .policy(Policy::revocable())
        .ttl(settings.ttl.map_or(Ttl::Never, Ttl::After))
        .neg_ttl(settings.neg_ttl.map_or(Ttl::Never, Ttl::After))
}

/// Returns what hyper's own refusals are made to look like on the admin side.
fn admin_imprint(node_id: &str) -> Imprint {
    Imprint {
        lines: match node_id {
            "" => "".into(),
            id => format!("x-tidings-node: {id}\r\n").into(),
        },
        body: tidings_admin::malformed,
    }
}
