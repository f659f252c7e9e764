//! The parts of a gateway, each made from its settings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidings::{
    AuditSettings, Cache, Entity as _, NodeBuilder, Store,
    cache::{CacheBuilder, Policy, Ttl},
    store::Sharing,
};
use tidings_admin::{AdminOptions, Metrics};

use super::StartError;
use crate::{
    Acl, Consumer, KeyAuthCredential, Settings,
    counts::Counts,
    descriptors, digest,
    front::{self, PhaseReceivers},
    log::Sink,
    server::{Acceptor, Imprint, Listener, Seats},
    settings::{Cluster, KeyStorage},
};

/// How long the database may take to open before the log says that the start waits for it.
const QUIET: Duration = Duration::from_millis(500);

/// Returns the metrics, with the gateway's own beside those of its node.
pub(super) fn metrics(
    counts: &Arc<Counts>,
    seats: &Arc<Seats>,
    sink: &Sink,
    most: usize,
) -> Metrics {
    let (counts, seats, sink) = (Arc::clone(counts), Arc::clone(seats), sink.clone());
    Metrics::new().publish(move || counts.publish(seats.open(), most, sink.lost()))
}

/// Serves a router on a listener, once its phase lets it accept.
pub(super) fn serve_router(
    side: &'static str,
    listener: Listener,
    router: axum::Router,
    node_id: &str,
    settings: &Settings,
    phases: &PhaseReceivers,
) -> Result<(), StartError> {
    let seats = Seats::new(1, descriptors::admin_connections());
    let acceptor = Acceptor::new(listener, seats, 0)
        .map_err(|error| StartError::new("the admin or the status side cannot accept", error))?;
    let imprint = admin_imprint(node_id);
    let limits = settings.limits.clone();

    // The drain has not begun, so there is a receiver.
    if let Some(phases) = phases.receiver() {
        tokio::spawn(front::serve_admin(
            side, acceptor, router, imprint, limits, phases,
        ));
    }

    Ok(())
}

/// Serves the status side, if the settings name an address for it. Returns that address.
pub(super) fn serve_status(
    pages: axum::Router,
    settings: &Settings,
    phases: &PhaseReceivers,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = settings.status_listen else {
        return Ok(None);
    };
    let listener = Listener::bind("status", address)?;
    let address = listener.address();
    serve_router("status", listener, pages, "", settings, phases)?;
    Ok(Some(address))
}

/// Opens the database. If that takes long, the log says so.
pub(super) async fn open(settings: &Settings) -> Result<Store, StartError> {
    let sharing = match settings.cluster_engine() {
        Cluster::None => Sharing::Alone,
        _ => Sharing::Cluster,
    };
    let store = Store::options(&settings.database).sharing(sharing);

    let mut opening = std::pin::pin!(store.open());
    let opened = match tokio::time::timeout(QUIET, &mut opening).await {
        Ok(opened) => opened,
        Err(_) => {
            let database = settings.database_shown();
            tracing::warn!(database, "the database does not answer yet: waiting for it");
            opening.await
        }
    };
    opened.map_err(|error| StartError::new("the database (--database) cannot be opened", error))
}

/// Sets a node up as the settings say, with the gateway's own entities.
pub(super) fn set_up(node: NodeBuilder, settings: &Settings) -> Result<NodeBuilder, StartError> {
    let mut node = node
        .workers(settings.workers)
        .cache(cache(settings))
        .cluster_name(&settings.cluster_name)
        .log_retention(settings.cluster_retention)
        .log_poll(settings.cluster_poll)
        .max_staleness(settings.max_staleness)
        .stale_policy(settings.stale_policy)
        .audit(AuditSettings::new().reads_per_second(settings.audit_reads))
        .entity::<Consumer>()
        .entity::<KeyAuthCredential>()
        .entity::<Acl>();
    if let Some(node_id) = &settings.node_id {
        node = node.node_id(node_id);
    }

    woken(node, settings)
}

/// Lets a broker wake the node, if the settings name one.
fn woken(node: NodeBuilder, settings: &Settings) -> Result<NodeBuilder, StartError> {
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

/// Returns the settings of the cache. Its rows may be revoked, so no entry is served past its time,
/// whatever fails.
fn cache(settings: &Settings) -> CacheBuilder {
    Cache::builder()
        .capacity(settings.cache_size)
        .policy(Policy::revocable())
        .ttl(settings.ttl.map_or(Ttl::Never, Ttl::After))
        .neg_ttl(settings.neg_ttl.map_or(Ttl::Never, Ttl::After))
}

/// Returns the options of the admin side.
pub(super) fn admin_options(settings: &Settings) -> AdminOptions {
    // Users of the API that this one follows expect keys in lists; with digests there are none.
    let mut options = AdminOptions::new()
        .list_secrets()
        .after_timeout(settings.after_timeout);
    if settings.hash_keys == KeyStorage::Digest {
        options = options.digest(KeyAuthCredential::NAME, "key", digest::of);
    }

    if let Some(token) = &settings.admin_token {
        options = options.token(token.expose());
    }
    options
}

/// Returns the headers of every answer of the admin side, and the form of hyper's own refusals.
fn admin_imprint(node_id: &str) -> Imprint {
    Imprint {
        lines: match node_id {
            "" => "".into(),
            id => format!("x-tidings-node: {id}\r\n").into(),
        },
        body: tidings_admin::malformed,
    }
}
