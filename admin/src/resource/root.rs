//! `/`: names the program and its version, and links to the rest of the API.

use serde_json::{Map, Value as Json, json};
use tidings::Node;

use crate::routes::Routes;

/// Returns name, version, node and links; `path` is that of the request, which may have a prefix.
pub(crate) fn of(node: &Node, routes: &Routes, path: &str) -> Json {
    let prefix = path.trim_end_matches('/');
    let own = ["status", "cluster", "cache", "metrics", "livez", "readyz"];
    let collections = routes.collections().chain(own);
    let mut links: Map<String, Json> = collections
        .map(|name| (name.to_owned(), format!("{prefix}/{name}").into()))
        .collect();

    let schemas: Map<String, Json> = node
        .schemas()
        .iter()
        .map(|schema| {
            let name = schema.name();
            (name.to_owned(), format!("{prefix}/schemas/{name}").into())
        })
        .collect();
    links.insert("schemas".to_owned(), schemas.into());

    // It describes everything that is not linked here.
    let openapi = format!("{prefix}/openapi.json");
    links.insert("openapi".to_owned(), openapi.into());

    json!({
        "name": "tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": node.id(),
        "links": links,
    })
}
