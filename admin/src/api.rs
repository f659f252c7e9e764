//! From a request to its answer: guards, path, method, then the resource's own handler.
//!
//! Around all of it: a panic becomes a 500, every answer carries `X-Tidings-Node`, every write
//! leaves a line in the log, and internal causes go to the log alone, under the request's id.
//! `HEAD` is handled as `GET`; axum leaves out the body and keeps its length.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::{ConnectInfo, OriginalUri, Request, State},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, request::Parts};
use serde_json::Value as Json;
use tidings::{Node, core::panic_text};
use uuid::Uuid;

use crate::{
    AdminOptions, Metrics, Readiness, Waits, answer, audit,
    problem::{Kind, Problem},
    proof,
    request::{decode, guard, query::Query, token, upload::Upload},
    resource::{
        audits, cache,
        cached::{self, Walks},
        cluster, events, health, openapi, root,
        rows::{self, Input},
        schema, status,
    },
    routes::{Resource, Routes, Writes},
};

/// The node's name, on every answer.
const NODE: HeaderName = HeaderName::from_static("x-tidings-node");
/// The request's id, on every answer and on each line of the log that concerns it.
const REQUEST: HeaderName = HeaderName::from_static("x-tidings-request");

/// Makes the admin API of a node, for every entity whose schema asks for it.
///
/// The router has a single fallback that takes every request. So you can serve it as it is or nest
/// it under a prefix, and the links in its answers keep that prefix. If you serve it with axum's
/// `into_make_service_with_connect_info::<SocketAddr>()`, the log also shows where a write came
/// from.
///
/// # Cancel safety
///
/// A write belongs to the store. If its client goes away, it runs to its end, evictions and
/// handlers included.
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
        walks: Walks::default(),
    };
    Router::new().fallback(answer).with_state(Arc::new(api))
}

/// Serves only `/livez`, `/readyz` and `/metrics`, without a token and under any host name. It is
/// for a listener of its own, which may start before its node.
///
/// Give it the same readiness and metrics as the [`router`].
pub fn status_router(node: Arc<OnceLock<Node>>, readiness: Readiness, metrics: Metrics) -> Router {
    let pages = Pages {
        node,
        readiness,
        metrics,
    };
    Router::new().fallback(page).with_state(pages)
}

/// The state of a status listener's pages.
#[derive(Clone, Debug)]
struct Pages {
    node: Arc<OnceLock<Node>>,
    readiness: Readiness,
    metrics: Metrics,
}

async fn page(State(pages): State<Pages>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let node = pages.node.get();
    let path = parts.uri.path();
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let mut response = match (path.strip_suffix('/').unwrap_or(path), node) {
        ("/livez" | "/readyz" | "/metrics", _) if !is_read => {
            Problem::method_not_allowed("GET, HEAD".to_owned()).into_response()
        }
        ("/livez", _) => health::live(),
        ("/metrics", Some(node)) => health::metrics(node, &pages.metrics),
        ("/readyz", node) | ("/metrics", node) => health::ready(node, &pages.readiness).await,
        _ => Problem::not_found().into_response(),
    };

    let headers = response.headers_mut();
    let name = node.and_then(|node| HeaderValue::from_str(node.id()).ok());
    if let Some(name) = name {
        headers.insert(NODE, name);
    }
    Upload::new(&parts.headers, body).end(headers).await;
    response
}

/// The state that all requests share.
#[derive(Debug)]
struct Api {
    node: Node,
    name: HeaderValue,
    routes: Routes,
    options: AdminOptions,
    /// Walks through the cache that wait for their next page.
    walks: Walks,
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let mut body = Upload::new(&parts.headers, body);

    // The guard may drop state that a panic left half done; nothing is shared but the node, whose
    // locks recover.
    let responded = AssertUnwindSafe(api.respond(&id, &parts, &mut body)).catch_unwind();
    let outcome = responded.await.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        Err(Problem::internal(format!("panicked: {text}")))
    });

    let collection = collection(&parts);
    let mut response = outcome.unwrap_or_else(|problem| {
        let cause = problem.cause().map(str::to_owned);
        let response = problem.into_response();
        let method = &parts.method;
        match cause {
            Some(cause) if response.status().is_server_error() => {
                tracing::error!(request = id, %method, collection, cause, "an admin request failed");
            }
            // A client's mistake is no operator's emergency.
            Some(cause) => {
                tracing::info!(request = id, %method, collection, cause, "an admin request was refused");
            }
            None => {}
        }

        response
    });
    audit_write(&id, &parts, &mut response);

    let (method, status) = (&parts.method, response.status().as_u16());
    tracing::debug!(request = id, %method, collection, status, "an admin request was answered");

    let headers = response.headers_mut();
    headers.insert(NODE, api.name.clone());
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST, id);
    }
    body.end(headers).await;
    response
}

/// Returns the first segment of a path. The others may hold a secret, such as an API key.
fn collection(parts: &Parts) -> &str {
    parts.uri.path().split('/').nth(1).unwrap_or_default()
}

/// Logs what a request wrote, once.
fn audit_write(id: &str, parts: &Parts, response: &mut Response) {
    if parts.method.is_safe() {
        return;
    }
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let from = from.map(|connection| connection.0);
    audit::log(id, &parts.method, collection(parts), from, response);
}

impl Api {
    async fn respond(
        &self,
        id: &str,
        parts: &Parts,
        body: &mut Upload,
    ) -> Result<Response, Problem> {
        let segments = decode::segments(parts.uri.path());
        let resource = match &segments {
            Ok(Some(segments)) => self.routes.resolve(segments),
            Ok(None) | Err(_) => None,
        };
        if !resource.as_ref().is_some_and(Resource::is_public) {
            guard::check(&self.options, parts)?;
            if let Some(token) = &self.options.token {
                token::check(token, &parts.headers)?;
            }
        }

        // Only after the check of the token: strangers must not learn whether a path exists.
        if let Err(error) = &segments {
            let message = format!("cannot read the path: {error}");
            return Err(Problem::new(Kind::InvalidPath, message));
        }

        let resource = resource.ok_or_else(Problem::not_found)?;
        let method = match &parts.method {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        if !resource.methods().contains(&method) {
            return Err(Problem::method_not_allowed(resource.allow()));
        }

        let query = Query::parse(parts.uri.query());
        if !resource.takes_arguments(&method) {
            query.none()?;
        }

        let writes = resource.writes(&method);
        let confirm = match writes {
            Writes::Nothing => None,
            Writes::Rows => query.confirm()?,
            Writes::Cache => query.confirm_of_cache()?,
        };
        let waits = parts.extensions.get::<Waits>();
        if !resource.is_public() {
            let timeout = self.options.after_timeout;
            proof::catch_up(&self.node, &parts.headers, timeout, waits).await?;
        }

        let asked = confirm.or(match resource {
            Resource::ClusterConfirm => Some(query.position()?.1),
            Resource::ClusterProbe => Some(query.probe()?),
            Resource::Audit => Some(query.audit()?),
            _ => None,
        });
        if let (Some(waits), Some(asked)) = (waits, asked) {
            waits.tell(asked);
        }

        let original = parts.extensions.get::<OriginalUri>();
        let input = Input {
            node: &self.node,
            path: original.map_or(parts.uri.path(), |uri| uri.0.path()),
            query: &query,
            headers: &parts.headers,
            body,
            options: &self.options,
        };
        let reaches_other_nodes = match writes {
            Writes::Nothing => false,
            Writes::Rows => true,
            Writes::Cache => query.cluster()?,
        };
        if !reaches_other_nodes {
            return self.handle(resource, method, input).await;
        }

        let handled = self.handle(resource, method, input);
        let (outcome, receipt) = self.node.with_receipt(handled).await;
        let mut response = outcome?;
        audit_write(id, parts, &mut response);
        Ok(proof::tell(response, &receipt, confirm).await)
    }

    async fn handle(
        &self,
        resource: Resource<'_>,
        method: Method,
        input: Input<'_>,
    ) -> Result<Response, Problem> {
        let node = &self.node;
        let ok = |body: &Json| Ok(answer::json(StatusCode::OK, body));
        match resource {
            Resource::Collection(schema) => {
                let all = rows::rows(node, schema, &self.options)?;
                rows::collection(&all, &method, input).await
            }
            Resource::Item(schema, item) => {
                let all = rows::rows(node, schema, &self.options)?;
                rows::item(&all, item, &method, input).await
            }
            Resource::NestedCollection(nested, parent) => {
                let all = rows::nested_rows(node, nested, parent, &self.options).await?;
                rows::collection(&all, &method, input).await
            }
            Resource::NestedItem(nested, parent, item) => {
                let all = rows::nested_rows(node, nested, parent, &self.options).await?;
                rows::item(&all, item, &method, input).await
            }
            Resource::Referred(schema, referred, item) => {
                rows::referred(node, schema, referred, item, input.headers, &self.options).await
            }
            Resource::Schema(of) => ok(&schema::describe(of, node.schemas())),
            Resource::SchemaCacheKey(schema) => cache::key_of(schema, input.query, &self.options),
            Resource::Cache if method == Method::DELETE => cache::purge(node, input.query).await,
            Resource::Cache => cached::list(node, input.query, input.path, &self.walks).await,
            Resource::CacheExplain(key) => cached::explain(node, key),
            Resource::CacheEntry(key) if method == Method::DELETE => {
                cache::invalidate(node, key, input.query).await
            }
            Resource::Events => {
                let readiness = &self.options.readiness;
                events::of(node, input.query, input.headers, readiness)
            }
            Resource::Cluster => ok(&cluster::of(node).await),
            Resource::ClusterMember(name) => cluster::remove(node, name).await,
            Resource::CacheEntry(key) => cache::show(node, key),
            Resource::ClusterConfirm => {
                let (token, timeout) = input.query.position()?;
                proof::confirm(node, &token, timeout).await
            }
            Resource::ClusterProbe => {
                let timeout = input.query.probe()?;
                cluster::probe(node, timeout).await
            }
            Resource::Audit => {
                let time = input.query.audit()?;
                audits::run(node, time, &self.options.readiness).await
            }
            Resource::Status => ok(&status::of(node).await),
            Resource::Metrics => Ok(health::metrics(node, &self.options.metrics)),
            Resource::Livez => Ok(health::live()),
            Resource::Readyz => Ok(health::ready(Some(node), &self.options.readiness).await),
            Resource::OpenApi => ok(&openapi::of(&self.routes, node.schemas())),
            Resource::Root => ok(&root::of(node, &self.routes, input.path)),
        }
    }
}
