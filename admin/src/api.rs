//! From a request to its answer: token, path, method, then the resource's own handler.
//!
//! Around all of it: a panic becomes a 500, every answer carries `X-Tidings-Node`, and what only the log may
//! know goes there under the request's id. `HEAD` is handled as `GET`; axum leaves out the body and keeps its length.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{OriginalUri, Request, State},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tidings::Node;
use uuid::Uuid;

use crate::{
    AdminOptions, answer,
    problem::{Kind, Problem},
    request::{decode, query::Query, token},
    resource::{
        cache, metrics,
        rows::{self, Input},
        schema, status,
    },
    routes::{Resource, Routes},
};

/// The node's name, on every answer.
const NODE: HeaderName = HeaderName::from_static("x-tidings-node");
/// The request's id, on every answer and on each line of the log that concerns it.
const REQUEST: HeaderName = HeaderName::from_static("x-tidings-request");

/// The admin API of a node, for every entity that its schema shows there.
///
/// The router has no paths of its own kind: one fallback takes every request, so it can be served as it is or
/// nested under a prefix, and the links in its answers keep that prefix.
///
/// # Cancel safety
///
/// A write whose client goes away is carried to its end, evictions and handlers included: it belongs to the store.
///
/// # Examples
///
/// ```no_run
/// # async fn serve(node: tidings::Node) -> Result<(), Box<dyn std::error::Error>> {
/// use tidings_admin::AdminOptions;
///
/// let router = tidings_admin::router(node, AdminOptions::new().token("s3cret"));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8001").await?;
/// axum::serve(listener, router).await?;
/// # Ok(())
/// # }
/// ```
pub fn router(node: Node, options: AdminOptions) -> Router {
    let routes = Routes::new(node.schemas());
    let name = HeaderValue::from_str(node.id()).unwrap_or_else(|_| {
        tracing::error!(node = node.id(), "the node's name does not fit a header");
        HeaderValue::from_static("unnamed")
    });
    let api = Api {
        node,
        name,
        routes,
        options,
    };
    Router::new().fallback(answer).with_state(Arc::new(api))
}

/// What every request needs.
#[derive(Debug)]
struct Api {
    node: Node,
    name: HeaderValue,
    routes: Routes,
    options: AdminOptions,
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    // A path may hold a secret, such as an API key; its first segment names no row.
    let collection = request
        .uri()
        .path()
        .split('/')
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    // The guard may drop state that a panic left half done; nothing is shared but the node, whose locks heal.
    let responded = AssertUnwindSafe(api.respond(request)).catch_unwind().await;
    let outcome = responded.unwrap_or_else(|panic| Err(Problem::internal(panic_message(&*panic))));
    let mut response = outcome.unwrap_or_else(|problem| {
        let cause = problem.cause().map(str::to_owned);
        let response = problem.into_response();
        match cause {
            Some(cause) if response.status().is_server_error() => {
                tracing::error!(request = id, %method, collection, cause, "an admin request failed");
            }
            // What a client did wrong wakes nobody up.
            Some(cause) => {
                tracing::info!(request = id, %method, collection, cause, "an admin request was refused");
            }
            None => {}
        }
        response
    });
    let headers = response.headers_mut();
    headers.insert(NODE, api.name.clone());
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST, id);
    }
    response
}

impl Api {
    async fn respond(&self, request: Request) -> Result<Response, Problem> {
        refuse_cross_site(request.headers())?;
        if let Some(token) = &self.options.token {
            token::check(token, request.headers())?;
        }
        let (parts, body) = request.into_parts();
        let segments = decode::segments(parts.uri.path())
            .map_err(|error| {
                Problem::new(Kind::InvalidPath, format!("cannot read the path: {error}"))
            })?
            .ok_or_else(Problem::not_found)?;
        let resource = self
            .routes
            .resolve(&segments)
            .ok_or_else(Problem::not_found)?;
        let method = match parts.method {
            Method::HEAD => Method::GET,
            method => method,
        };
        if !resource.methods().contains(&method) {
            return Err(Problem::method_not_allowed(resource.allow()));
        }
        let query = Query::parse(parts.uri.query());
        let original = parts.extensions.get::<OriginalUri>();
        let input = Input {
            path: original.map_or(parts.uri.path(), |uri| uri.0.path()),
            query: &query,
            headers: &parts.headers,
            body,
            options: &self.options,
        };
        self.handle(resource, method, input).await
    }

    async fn handle(
        &self,
        resource: Resource<'_>,
        method: Method,
        input: Input<'_>,
    ) -> Result<Response, Problem> {
        let node = &self.node;
        match resource {
            Resource::Collection(schema) => {
                let all = rows::rows(node, schema)?;
                rows::collection(&all, &method, input).await
            }
            Resource::Item(schema, item) => {
                let all = rows::rows(node, schema)?;
                rows::item(&all, item, &method, input).await
            }
            Resource::NestedCollection(nested, parent) => {
                let all = rows::nested_rows(node, nested, parent).await?;
                rows::collection(&all, &method, input).await
            }
            Resource::NestedItem(nested, parent, item) => {
                let all = rows::nested_rows(node, nested, parent).await?;
                rows::item(&all, item, &method, input).await
            }
            Resource::Referred(schema, referred, item) => {
                rows::referred(node, schema, referred, item).await
            }
            Resource::Schema(of) => {
                let described = schema::describe(of, node.schemas());
                Ok(answer::json(StatusCode::OK, &described))
            }
            Resource::SchemaCacheKey(schema) => cache::key_of(schema, input.query),
            Resource::Cache => cache::purge(node, input.query),
            Resource::CacheEntry(key) if method == Method::DELETE => {
                cache::invalidate(node, key, input.query)
            }
            Resource::CacheEntry(key) => cache::show(node, key),
            Resource::Status => Ok(answer::json(StatusCode::OK, &status::of(node).await)),
            Resource::Metrics => Ok(metrics::of(node)),
        }
    }
}

/// Refuses what a browser sends for a page of another site: such a page can post a form without being asked, and
/// an API on a loopback address may have no token. Other clients do not send the header.
fn refuse_cross_site(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site.as_bytes() == b"cross-site") {
        let message = "this API takes no requests from pages of other sites";
        return Err(Problem::new(Kind::CrossSite, message));
    }
    Ok(())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "panicked: {}",
        text.unwrap_or("with a value that is not text")
    )
}
