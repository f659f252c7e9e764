//! `/openapi.json`: the API as OpenAPI 3.1, made from the schemas and the routing table.
//!
//! Every path and method of the table is in it, and no other. What a field must be is said as far
//! as JSON Schema can say it; the rest (check functions, one of several fields) is for the 400.

use http::Method;
use serde_json::{Map, Value as Json, json};
use tidings::core::{Field, FieldKind, Schema, Value};

use crate::routes::{Resource, Routes};

/// Describes the whole API.
pub(crate) fn of(routes: &Routes, schemas: &[&'static Schema]) -> Json {
    let mut paths = Map::new();
    for (path, resource) in routes.paths() {
        let (path, names) = templated(&path);
        let mut item = Map::new();
        if !names.is_empty() {
            let names = names.iter().map(|(name, what)| {
                json!({
                    "name": name, "in": "path", "required": true, "description": what,
                    "schema": {"type": "string"},
                })
            });
            item.insert("parameters".to_owned(), names.collect());
        }
        for method in resource.methods() {
            let verb = method.as_str().to_ascii_lowercase();
            item.insert(verb, operation(&resource, method));
        }
        paths.insert(path, item.into());
    }

    let mut components = Map::new();
    for schema in schemas.iter().filter(|it| it.admin_api().is_some()) {
        components.insert(schema.name().to_owned(), answered(schema));
        components.insert(format!("{}.input", schema.name()), input(schema));
    }
    components.insert("problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {"title": "tidings admin API", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        // Asked for where the node was given a token.
        "security": [{}, {"token": []}],
    })
}

/// Returns a path whose places have names that differ, and what each stands for.
fn templated(path: &str) -> (String, Vec<(String, String)>) {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut template = String::new();
    let mut rest = path;
    while let Some((before, place)) = rest.split_once('{') {
        let (what, after) = place.split_once('}').unwrap_or((place, ""));
        let mut name = what.replace(' ', "_");
        while names.iter().any(|(taken, _)| *taken == name) {
            name.push_str("_2");
        }
        template.push_str(&format!("{before}{{{name}}}"));
        names.push((name, what.to_owned()));
        rest = after;
    }
    (template + rest, names)
}

fn operation(resource: &Resource<'_>, method: &Method) -> Json {
    let rows = match resource {
        Resource::Collection(schema) | Resource::Item(schema, _) => Some(*schema),
        Resource::NestedCollection(nested, _) | Resource::NestedItem(nested, ..) => {
            Some(nested.child)
        }
        Resource::Referred(_, referred, _) => Some(referred.parent),
        _ => None,
    };
    let is_list = matches!(
        resource,
        Resource::Collection(..) | Resource::NestedCollection(..)
    );
    let entity = rows.filter(|it| it.admin_api().is_some());
    let shape = entity.map(|schema| reference(schema.name()));

    let (status, what, body) = match (method, shape) {
        _ if matches!(resource, Resource::ClusterProbe) => {
            ("200", "how long each node took", Some(probed()))
        }
        (&Method::POST, shape) => ("201", "the new row", shape),
        (&Method::DELETE, _) => ("204", "done", None),
        (_, Some(shape)) if is_list => ("200", "a page of rows", Some(page(&shape))),
        (_, Some(shape)) => ("200", "the row", Some(shape)),
        (_, None) if matches!(resource, Resource::Metrics) => ("200", "Prometheus text", None),
        (_, None) => ("200", "the answer", Some(json!({}))),
    };
    let mut answer = json!({ "description": what });
    if let Some(body) = body {
        answer["content"] = json!({"application/json": {"schema": body}});
    }
    let refusal = json!({
        "description": "a refusal",
        "content": {"application/json": {"schema": reference("problem")}},
    });
    let is_row =
        entity.is_some() && *method != Method::DELETE && !(is_list && *method == Method::GET);
    if is_row {
        answer["headers"] = json!({"ETag": {
            "description": "changes with the row", "schema": {"type": "string"},
        }});
    }
    let mut operation = json!({ "responses": {status: answer, "default": refusal} });
    if entity.is_some() && !is_list {
        conditions(&mut operation, method);
    }

    if matches!(resource, Resource::ClusterProbe) {
        let timeout = json!({
            "name": "timeout", "in": "query", "description": "as 500ms, 2s or 1m",
            "schema": {"type": "string", "default": "2s"},
        });
        operation["parameters"] = json!([timeout]);
    }
    if let Some(schema) = entity.filter(|_| takes_body(method)) {
        let input = reference(&format!("{}.input", schema.name()));
        operation["requestBody"] = json!({
            "content": {
                "application/json": {"schema": input},
                "application/x-www-form-urlencoded": {"schema": input},
            },
        });
    }
    if let Some(schema) = rows.filter(|_| is_list && *method == Method::GET) {
        operation["parameters"] = arguments(schema).into();
    }
    operation
}

/// Says what a request can demand of the row as it is, and what it is told if it is not so.
fn conditions(operation: &mut Json, method: &Method) {
    let header = |name: &str, what: &str| {
        json!({
            "name": name, "in": "header", "description": what, "schema": {"type": "string"},
        })
    };
    operation["parameters"] = json!([
        header(
            "If-Match",
            "* or entity tags: the row has to have one of these"
        ),
        header(
            "If-None-Match",
            "* or entity tags: the row must have none of these"
        ),
    ]);
    let refused = "If-Match does not hold, or If-None-Match of a write";
    operation["responses"]["412"] = json!({
        "description": refused,
        "content": {"application/json": {"schema": reference("problem")}},
    });
    if *method == Method::GET {
        let known = "If-None-Match names the row as it is";
        operation["responses"]["304"] = json!({ "description": known });
    }
}

fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
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

/// Returns what a list takes: the page, the tags, and a value of each field that is unique or
/// foreign.
fn arguments(schema: &Schema) -> Vec<Json> {
    let argument =
        |name: &str, schema: Json| json!({"name": name, "in": "query", "schema": schema});
    let mut arguments = vec![
        argument(
            "size",
            json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
        argument("offset", json!({"type": "string"})),
    ];
    if schema.field("tags").is_some() {
        arguments.push(argument("tags", json!({"type": "string"})));
    }
    let indexed = schema.fields().iter();
    let indexed = indexed.filter(|field| field.is_unique() || field.reference().is_some());
    arguments.extend(indexed.map(|field| argument(field.name(), json!({"type": "string"}))));
    arguments
}

/// Returns what a probe found: milliseconds by node, `null` for a silent one.
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

fn problem() -> Json {
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

/// Returns a row as answers show it: every field is there.
fn answered(schema: &Schema) -> Json {
    let fields = schema.fields().iter();
    let names: Vec<_> = fields.clone().map(Field::name).collect();
    let properties = fields.map(|field| {
        let shape = or_null(property(field), field.is_optional());
        (field.name().to_owned(), shape)
    });
    json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "required": names,
        "additionalProperties": false,
    })
}

/// Returns a row as it is sent: `null` is absent.
fn input(schema: &Schema) -> Json {
    let fields = schema.fields().iter();
    let required = fields.clone().filter(|field| field.is_required());
    let required: Vec<_> = required.map(Field::name).collect();
    let properties = fields.map(|field| {
        let mut shape = or_null(property(field), !field.is_required());
        if let Some(default) = field.default_value() {
            shape["default"] = field.to_json(&field.shown(default));
        }
        (field.name().to_owned(), shape)
    });
    let mut properties: Map<_, _> = properties.collect();
    if schema.expiry().is_some() {
        let seconds = json!({"type": ["integer", "null"], "minimum": 1});
        properties.insert("ttl".to_owned(), seconds);
    }
    let mut shape = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    // What is demanded of a new row; a change names what it changes.
    if !required.is_empty() {
        shape["x-required-on-create"] = required.into();
    }
    shape
}

fn or_null(shape: Json, optional: bool) -> Json {
    match optional {
        true => json!({ "anyOf": [shape, {"type": "null"}] }),
        false => shape,
    }
}

fn property(field: &Field) -> Json {
    let mut shape = kind(field);
    if field.is_secret() {
        shape["x-secret"] = true.into();
    }
    match field.reference() {
        None => shape,
        Some(foreign) => json!({
            "type": "object",
            "properties": {&foreign.key: shape},
            "required": [foreign.key],
        }),
    }
}

fn kind(field: &Field) -> Json {
    let mut shape = match field.kind() {
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Integer => json!({"type": "integer", "format": "int64"}),
        FieldKind::Unsigned => json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
        FieldKind::Number => json!({"type": "number", "format": "double"}),
        FieldKind::Float => json!({"type": "number", "format": "float"}),
        FieldKind::Uuid => json!({"type": "string", "format": "uuid"}),
        FieldKind::Timestamp => json!({"type": "integer", "description": "Unix seconds"}),
        FieldKind::TimestampMicros => {
            json!({"type": "integer", "description": "Unix microseconds"})
        }
        FieldKind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        FieldKind::Set => {
            return json!({"type": "array", "uniqueItems": true, "items": member(field)});
        }
        FieldKind::List => return json!({"type": "array", "items": member(field)}),
        FieldKind::Map => json!({"type": "object"}),
        FieldKind::Text => member(field),
        _ => json!({}),
    };
    if let Some(range) = field.range() {
        shape["minimum"] = (*range.start()).into();
        shape["maximum"] = (*range.end()).into();
    }
    shape
}

/// Returns a text, by itself or in a set or list.
fn member(field: &Field) -> Json {
    let mut shape = json!({"type": "string", "minLength": 1});
    let length = field
        .length_rule()
        .filter(|_| field.kind() == FieldKind::Text);
    if let Some(length) = length {
        shape["minLength"] = length.min.max(1).into();
        if let Some(max) = length.max {
            shape["maxLength"] = max.into();
        }
    } else if let Some(max) = field.max_length() {
        shape["maxLength"] = max.into();
    }
    if let Some(pattern) = field.pattern_rule() {
        shape["pattern"] = format!("^(?:{})$", pattern.as_str()).into();
    }
    if !field.allowed().is_empty() {
        shape["enum"] = field.allowed().iter().map(Value::to_json).collect();
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_path_have_names_that_differ() {
        let (path, names) = templated("/boxes/{label}/boxes/{label}");
        assert_eq!(path, "/boxes/{label}/boxes/{label_2}");
        assert_eq!(names[1], ("label_2".to_owned(), "label".to_owned()));
        let (path, _) = templated("/consumers/{id or username}");
        assert_eq!(path, "/consumers/{id_or_username}");
    }
}
