//! A gateway with a plugin and an entity of your own: a request passes if its host is a known
//! tenant.
//!
//! Run: `cargo run --example own_plugin`, then
//!
//! ```text
//! curl -i localhost:8000/ -H 'host: acme.example'                   # 404
//! curl -s localhost:8001/tenants -d host=acme.example -d plan=gold  # the entity brings its routes
//! curl -i localhost:8000/ -H 'host: acme.example'                   # 200, with x-tenant-plan
//! ```

use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidings::{BoxError, CachedBy, CachedRows, Entity, Worker};
use tidings_gateway::{BuiltIn, Gateway, Plugin, ProxyRequest, Response, Settings, refuse};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "tenants",
    endpoint_key = "host",
    cache_key("host"),
    admin_api(name = "tenants")
)]
struct Tenant {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    host: String,
    plan: String,
}

/// Lets requests of known tenants pass, and adds a header with their plan for the upstream.
#[derive(Debug)]
struct Tenants {
    by_host: CachedBy<Tenant>,
}

impl Plugin for Tenants {
    type Config = ();

    fn init_worker(_config: &(), worker: &Worker) -> Result<Self, BoxError> {
        let by_host = worker.dao::<Tenant>()?.cached()?.by("host")?;
        Ok(Self { by_host })
    }

    async fn access(&self, request: &mut ProxyRequest) -> Result<(), Response> {
        let host = request.headers().get(header::HOST);
        let Some(host) = host.and_then(|host| host.to_str().ok()) else {
            return Err(refuse(StatusCode::BAD_REQUEST, "No host"));
        };

        let tenant = self.by_host.get(host).await.map_err(|error| {
            eprintln!("a tenant could not be loaded: {error}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "Unexpected error")
        })?;
        let Some(tenant) = tenant else {
            return Err(refuse(StatusCode::NOT_FOUND, "No such tenant"));
        };

        if let Ok(plan) = HeaderValue::from_str(&tenant.plan) {
            request.headers_mut().insert("x-tenant-plan", plan);
        }
        Ok(())
    }
}

/// Starts a gateway whose only check is this plugin.
pub(crate) async fn start(settings: Settings) -> Result<Gateway, BoxError> {
    let settings = Settings {
        plugins: BuiltIn::None,
        ..settings
    };
    let gateway = Gateway::builder(settings)
        .node(|node| node.entity::<Tenant>())
        .plugin::<Tenants>(());
    Ok(gateway.start().await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let settings = Settings {
        database: "sqlite::memory:".to_owned(),
        ..Settings::default()
    };
    let gateway = start(settings).await?;
    println!("proxy listening on {}", gateway.proxy_address());
    println!("admin listening on {}", gateway.admin_address());

    tokio::signal::ctrl_c().await?;
    gateway.shutdown().await;
    Ok(())
}
