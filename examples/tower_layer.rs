//! A tower layer that lets requests with a known API key pass, in front of any service.
//!
//! Run: `cargo run --example tower_layer`

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tidings::{BoxError, CachedBy, CachedRows, Entity, Node, Store};
use tower::{Layer, Service, ServiceExt as _};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "api_keys", cache_key("key"))]
struct ApiKey {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    key: String,
    owner: String,
}

/// Puts [`Guarded`] in front of a service.
#[derive(Clone)]
struct KeyLayer {
    keys: CachedBy<ApiKey>,
}

/// A service behind the check. A hit costs a lookup in the thread's own table.
#[derive(Clone)]
struct Guarded<S> {
    keys: CachedBy<ApiKey>,
    inner: S,
}

impl<S> Layer<S> for KeyLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        let keys = self.keys.clone();
        Guarded { keys, inner }
    }
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let keys = self.keys.clone();
        // Call the service that was polled ready, and leave its clone in its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);

        Box::pin(async move {
            let header = request.headers().get("apikey");
            let Some(key) = header.and_then(|key| key.to_str().ok()) else {
                return Ok(StatusCode::UNAUTHORIZED.into_response());
            };

            match keys.get(key).await {
                Ok(Some(row)) => {
                    request.extensions_mut().insert(row);
                    inner.call(request).await
                }
                Ok(None) => Ok(StatusCode::UNAUTHORIZED.into_response()),
                Err(error) => {
                    eprintln!("a key could not be loaded: {error}");
                    Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
                }
            }
        })
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let store = Store::open("sqlite::memory:").await?;
    let node = Node::builder()
        .store(store)
        .entity::<ApiKey>()
        .start()
        .await?;
    let rows = node.dao::<ApiKey>()?;
    let row = ApiKey {
        id: Uuid::nil(),
        key: "abcd".into(),
        owner: "alice".into(),
    };
    rows.insert(row).await?;

    let keys = rows.cached()?.by("key")?;
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(KeyLayer { keys });
    let ask = async |key: &str| {
        let request = Request::get("/").header("apikey", key).body(Body::empty());
        let answer = app.clone().oneshot(request?).await?;
        Ok::<_, BoxError>(answer.status().as_u16())
    };

    assert_eq!(ask("abcd").await?, 200);
    assert_eq!(ask("wxyz").await?, 401);
    rows.delete_by("key", "abcd").await?;
    assert_eq!(ask("abcd").await?, 401); // revoked: no request that begins later passes
    println!("200, 401, and 401 once it was revoked");

    let _ = node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
