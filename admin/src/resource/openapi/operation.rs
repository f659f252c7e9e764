//! The arguments, headers and body of a method of a path, and its answers.

use http::Method;
use serde_json::{Map, Value as Json, json};
use tidings::core::Schema;

use crate::routes::{Resource, Writes};

/// The headers of a write: its position, and its confirmation.
const RECEIPT: [(&str, &str); 2] = [
    (
        "X-Tidings-Position",
        "the position of the write, for X-Tidings-After and /cluster/confirm",
    ),
    (
        "X-Tidings-Confirmed",
        "with confirm: all, or how many members have confirmed, such as 2/3",
    ),
];

/// Describes a method of a path.
pub(super) fn operation(resource: &Resource<'_>, method: &Method) -> Json {
    let rows = rows_of(resource);
    let shown = rows.filter(|it| it.admin_api().is_some());

    let mut operation = json!({ "responses": responses(resource, method, shown) });
    let mut parameters = parameters(resource, method, rows);
    if is_one_row(resource, shown) {
        parameters.extend(conditions());
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }

    if let Some(schema) = shown.filter(|_| takes_body(method)) {
        let input = reference(&format!("{}.input", schema.name()));
        operation["requestBody"] = json!({
            "content": {
                "application/json": {"schema": input},
                "application/x-www-form-urlencoded": {"schema": input},
            },
        });
    }

    if resource.is_public() {
        operation["security"] = json!([]);
    }
    operation
}

/// Returns the schema of the rows that a path is about.
fn rows_of(resource: &Resource<'_>) -> Option<&'static Schema> {
    match resource {
        Resource::Collection(schema) | Resource::Item(schema, _) => Some(*schema),
        Resource::NestedCollection(nested, _) | Resource::NestedItem(nested, ..) => {
            Some(nested.child)
        }
        Resource::Referred(_, referred, _) => Some(referred.parent),
        _ => None,
    }
}

fn is_list(resource: &Resource<'_>) -> bool {
    matches!(
        resource,
        Resource::Collection(..) | Resource::NestedCollection(..)
    )
}

/// Returns whether a path is that of one row that answers show.
fn is_one_row(resource: &Resource<'_>, shown: Option<&Schema>) -> bool {
    shown.is_some() && !is_list(resource)
}

fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn responses(resource: &Resource<'_>, method: &Method, shown: Option<&Schema>) -> Json {
    let shape = shown.map(|schema| reference(schema.name()));
    let (status, what, body) = match (method, shape) {
        _ if matches!(resource, Resource::ClusterProbe) => (
            "200",
            "how long each node took to apply the probe",
            Some(probed()),
        ),
        _ if matches!(resource, Resource::Audit) => {
            ("200", "the results of the audit", Some(audited()))
        }
        (&Method::POST, shape) => ("201", "the new row", shape),
        (&Method::DELETE, _) => ("204", "done", None),
        (_, Some(shape)) if is_list(resource) => ("200", "a page of rows", Some(page(&shape))),
        (_, Some(shape)) => ("200", "the row", Some(shape)),
        (_, None) => match resource {
            Resource::Cache => ("200", "a page of the cached keys", Some(page(&cached()))),
            Resource::CacheExplain(..) => (
                "200",
                "the entry of the key, and its history",
                Some(explained()),
            ),
            Resource::ClusterConfirm => ("200", "every member has confirmed", Some(confirmed())),
            Resource::Metrics => ("200", "Prometheus text", None),
            Resource::Events => ("200", "the changes, as server-sent events", None),
            _ => ("200", "the answer", Some(json!({}))),
        },
    };
    let mut answer = json!({ "description": what });
    if let Some(body) = body {
        answer["content"] = json!({"application/json": {"schema": body}});
    }

    match resource {
        Resource::Events => answer["content"] = json!({"text/event-stream": {"schema": text()}}),
        Resource::Metrics => answer["content"] = json!({"text/plain": {"schema": text()}}),
        _ => {}
    }

    let mut responses = Map::new();
    let mut told = match resource.writes(method) {
        Writes::Nothing => Vec::new(),
        Writes::Rows | Writes::Cache => RECEIPT.to_vec(),
    };
    let is_row = *method != Method::DELETE && (!is_list(resource) || *method != Method::GET);
    if shown.is_some() && is_row {
        told.push(("ETag", "the version of the row; it changes with each write"));
    }

    answer["headers"] = headers(&told);
    if is_one_row(resource, shown) {
        let refused = json!({
            "description": "the row does not match If-Match, or matches the If-None-Match of a write",
            "headers": headers(&[]),
            "content": {"application/json": {"schema": reference("problem")}},
        });
        responses.insert("412".to_owned(), refused);

        if *method == Method::GET {
            let known = "the row still matches If-None-Match";
            let known = json!({ "description": known, "headers": headers(&[]) });
            responses.insert("304".to_owned(), known);
        }
    }

    if resource.writes(method) != Writes::Nothing || matches!(resource, Resource::ClusterConfirm) {
        responses.insert("202".to_owned(), accepted(resource, method));
    }

    responses.insert(status.to_owned(), answer);
    let refusal = json!({
        "description": "a refusal",
        "headers": headers(&[]),
        "content": {"application/json": {"schema": reference("problem")}},
    });
    responses.insert("default".to_owned(), refusal);
    Json::Object(responses)
}

/// Returns the answer to a write, or a question, that some members have not confirmed in time.
fn accepted(resource: &Resource<'_>, method: &Method) -> Json {
    let status = (
        "X-Tidings-Status",
        "the status of the answer if the write had been confirmed",
    );
    let what = match resource.writes(method) {
        Writes::Nothing => "some members have not confirmed in time",
        Writes::Rows | Writes::Cache => "written, but some members have not confirmed in time",
    };
    let named = match resource.writes(method) {
        Writes::Nothing => headers(&RECEIPT[1..]),
        Writes::Rows | Writes::Cache => headers(&[RECEIPT[0], RECEIPT[1], status]),
    };
    json!({
        "description": what,
        "headers": named,
        "content": {"application/json": {"schema": reference("unconfirmed")}},
    })
}

fn headers(further: &[(&str, &str)]) -> Json {
    let always = [
        ("X-Tidings-Node", "the node that answers"),
        ("X-Tidings-Request", "the request's id in the log"),
    ];
    let all = always.iter().chain(further);
    let described = all.map(|(name, what)| {
        let header = json!({ "description": what, "schema": text() });
        ((*name).to_owned(), header)
    });
    Json::Object(described.collect())
}

/// Returns the arguments of a method, in its query and its headers.
fn parameters(resource: &Resource<'_>, method: &Method, rows: Option<&Schema>) -> Vec<Json> {
    let mut all = match (resource, method) {
        (Resource::Collection(_) | Resource::NestedCollection(..), &Method::GET) => {
            rows.map(of_list).unwrap_or_default()
        }
        (Resource::SchemaCacheKey(schema), _) => {
            let fields = schema.fields().iter();
            let field = |name: &str| query(name, "the value of this field", text());
            fields.map(|it| field(it.name())).collect()
        }
        (Resource::Cache, &Method::GET) => {
            let entity = "the name with which the keys begin";
            let mut all = vec![query("entity", entity, text())];
            all.extend(of_page());
            all
        }
        (Resource::ClusterConfirm, _) => {
            let position = "the X-Tidings-Position of a write";
            let mut position = query("position", position, text());
            position["required"] = true.into();
            vec![position, timeout()]
        }
        (Resource::ClusterProbe, _) => vec![timeout()],
        (Resource::Audit, _) => {
            let shape = json!({"type": "string", "default": "10s"});
            vec![query(
                "for",
                "how long the audit runs, from 1s to 10m",
                shape,
            )]
        }
        (Resource::Events, _) => {
            let source = "a glob of sources: * matches any text, ? any one character";
            let last = "the id of the last event that was received, or the position of a write";
            vec![
                query("source", source, text()),
                query("event", "a glob of events, such as consumers:*", text()),
                header("Last-Event-ID", last),
            ]
        }
        _ => Vec::new(),
    };
    match resource.writes(method) {
        Writes::Nothing => {}
        Writes::Rows => all.push(confirm()),
        Writes::Cache => {
            let cluster = "whether every node evicts it";
            let shape = json!({"type": "boolean", "default": false});
            all.extend([query("cluster", cluster, shape), confirm()]);
        }
    }

    if !resource.is_public() {
        let after = "a position: the answer is no older than that write; 503 if the node does not reach the position in time";
        all.push(header("X-Tidings-After", after));
    }
    all
}

/// Returns the arguments of a list: the page, the tags, and a value of each field that is unique or
/// foreign.
fn of_list(schema: &Schema) -> Vec<Json> {
    let mut all = of_page();
    if schema.field("tags").is_some() {
        let tags = "a,b for rows that have all of them, a/b for any";
        all.push(query("tags", tags, text()));
    }

    let fields = schema.fields().iter();
    let indexed = fields
        .filter(|field| field.is_unique() || field.is_primary_key() || field.reference().is_some());
    all.extend(indexed.map(|field| query(field.name(), "rows with this value", text())));
    all
}

fn of_page() -> Vec<Json> {
    let size = json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
    vec![
        query("size", "the maximum number of rows in the page", size),
        query(
            "offset",
            "the token of the page, from the previous page",
            text(),
        ),
    ]
}

/// Returns the preconditions that a request can set.
fn conditions() -> [Json; 2] {
    [
        header(
            "If-Match",
            "* or entity tags: the row has to have one of these",
        ),
        header(
            "If-None-Match",
            "* or entity tags: the row must have none of these",
        ),
    ]
}

fn confirm() -> Json {
    let what = "how long to wait until every member has applied the write, such as 500ms, 2s or 1m, up to 10m; 202 if some have not";
    query("confirm", what, text())
}

fn timeout() -> Json {
    let shape = json!({"type": "string", "default": "2s"});
    query(
        "timeout",
        "the longest wait, such as 500ms, 2s or 1m, up to 10m",
        shape,
    )
}

fn query(name: &str, what: &str, shape: Json) -> Json {
    json!({ "name": name, "in": "query", "description": what, "schema": shape })
}

fn header(name: &str, what: &str) -> Json {
    json!({ "name": name, "in": "header", "description": what, "schema": text() })
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn page(of: &Json) -> Json {
    json!({
        "type": "object",
        "properties": {
            "data": {"type": "array", "items": of},
            "next": {"type": ["string", "null"]},
            "offset": {"type": "string"},
        },
        "required": ["data", "next"],
    })
}

/// Describes an entry of the cache, without its value.
fn cached() -> Json {
    json!({
        "type": "object",
        "properties": {
            "entity": {"type": "string"},
            "cache_key": {"type": "string"},
            "level": {"type": "string"},
            "kind": {"type": "string", "enum": ["value", "absence"]},
            "ttl": {"type": ["number", "null"]},
            "age": {"type": "number"},
            "bytes": {"type": "integer"},
        },

        "required": ["entity", "cache_key", "level", "kind", "ttl", "age", "bytes"],
    })
}

/// Describes what a key holds, and its recent history.
fn explained() -> Json {
    let number = json!({"type": ["number", "null"]});
    let text = json!({"type": ["string", "null"]});
    json!({
        "type": "object",
        "properties": {
            "entity": {"type": "string"},
            "cache_key": {"type": "string"},
            "kind": text,
            "type": text,
            "level": text,
            "age": number,
            "ttl": number,
            "number": number,
            "bytes": number,
            "loaded": {"type": ["object", "null"]},
            "loads": {"type": "array", "items": {"type": "object"}},
            "voided": {"type": "integer"},
            "invalidations": {"type": "array", "items": {"type": "object"}},

            "handlers": {"type": "array", "items": {"type": "object"}},
        },

        "required": ["entity", "cache_key", "kind", "loaded", "loads", "voided", "invalidations", "handlers"],
    })
}

fn confirmed() -> Json {
    json!({
        "type": "object",
        "properties": {"confirmed": {"type": "boolean"}},
        "required": ["confirmed"],
    })
}

/// Describes the findings of a probe: milliseconds by node, `null` for a silent one.
fn probed() -> Json {
    json!({
        "type": "object",
        "properties": {
            "position": {"type": "string"},
            "nodes": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        },
        "required": ["position", "nodes"],
    })
}

/// Describes the findings of an audit.
fn audited() -> Json {
    let count = json!({"type": "integer"});
    let seconds = json!({"type": ["number", "null"]});
    json!({
        "type": "object",
        "properties": {
            "checked": count,
            "inconsistent": count,
            "per_million": {"type": "number"},
            "oldest_seconds": seconds,
            "bound_seconds": seconds,
            "skipped": count,
        },

        "required": ["checked", "inconsistent", "per_million", "oldest_seconds", "bound_seconds", "skipped"],
    })
}

/// Describes which members have not confirmed.
pub(super) fn unconfirmed() -> Json {
    json!({
        "type": "object",
        "properties": {
            "confirmed": {"type": "boolean"},
            "unconfirmed": {"type": "array", "items": {"type": "string"}},
            "entity": {"type": ["object", "null"]},
        },
        "required": ["confirmed", "unconfirmed"],
    })
}

pub(super) fn problem() -> Json {
    json!({
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "name": {"type": "string"},
            "message": {"type": "string"},
            "fields": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["code", "name", "message"],
    })
}
