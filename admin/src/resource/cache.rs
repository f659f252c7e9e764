//! `/cache`: shows what is cached under a key, and evicts it from the node or the cluster.
//! `/schemas/{entity}/cache-key`: computes the key of a row.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tidings::{
    CacheKey, Node,
    core::{Breach, Row, Rule, Schema, Value, Violations, log::EvictionTarget},
};

use super::cluster;
use crate::{
    AdminOptions, answer,
    audit::{self, AuditEntry},
    problem::Problem,
    request::query::{self, Query},
    rows::seal::Seal,
};

/// Returns the cache key of the field values in a query. A field that is left out is absent.
pub(crate) fn key_of(
    schema: &Schema,
    query: &Query,
    options: &AdminOptions,
) -> Result<Response, Problem> {
    let seal = Seal::of(options, schema);
    let mut row = Row::empty(schema);
    let mut violations = Violations::default();

    for (name, text) in query.arguments() {
        let text = text.as_ref();
        let text = text.map_err(|error| Breach::new(Rule::Kind, error.to_string()));
        match text.and_then(|text| parsed(schema, name, text)) {
            Ok((index, value)) if row.0[index].is_null() => {
                row.0[index] = match &seal {
                    Some(seal) => seal.stored(index, value),
                    None => value,
                };
            }
            Ok(_) => violations.add(name, Rule::Contradiction, "is given twice"),
            Err(breach) => violations.broken(name, breach),
        }
    }

    if !violations.0.is_empty() {
        return Err(Problem::violations(&violations));
    }

    if !schema.has_cache_key(&row) {
        let message = if schema.single_key().is_some() {
            let parts = schema.cache_key_fields().iter().map(String::as_str);
            let names: Vec<_> = parts.chain(schema.primary_key_names()).collect();
            format!("one of these is needed: {}", names.join(", "))
        } else {
            format!("a value is needed for {}", schema.parts_needed())
        };
        return Err(Problem::field("@entity", Rule::Required, message));
    }

    let key = schema.cache_key_of(&row);
    Ok(answer::json(
        StatusCode::OK,
        &json!({ "cache_key": key.as_str() }),
    ))
}

/// Reads a field's value from the query; a reference as `consumer=..` or `consumer.id=..`.
fn parsed(schema: &Schema, name: &str, text: &str) -> Result<(usize, Value), Breach> {
    let unknown = || Breach::new(Rule::Unknown, "unknown field");
    let (index, field) = query::field_of(schema, name).ok_or_else(unknown)?;
    Ok((index, field.from_key_text(text)?))
}

/// Returns what is cached under a key; a cached absence is `{}`.
pub(crate) fn show(node: &Node, key: &str) -> Result<Response, Problem> {
    let key = CacheKey::from_text(key);
    let probe = node
        .cache()
        .probe_json(&key)
        .ok_or_else(Problem::not_found)?;
    let value = probe.value.unwrap_or_else(|| json!({}));
    Ok(answer::json(StatusCode::OK, &value))
}

/// Evicts what is cached under a key, if anything is.
pub(crate) async fn invalidate(node: &Node, key: &str, query: &Query) -> Result<Response, Problem> {
    let key = CacheKey::from_text(key);
    let is_cluster = query.cluster()?;

    // Only the entity is logged: the rest of a key may be a secret.
    let entity = key.as_str().split([':', '@']).next().unwrap_or_default();
    let entry = audit_entry(format!("cache of {entity}"));
    if is_cluster {
        cluster::evict(node, EvictionTarget::Keys(vec![key])).await?;
    } else {
        node.cache().invalidate_local(&key);
    }

    Ok(audit::note(answer::no_content(), entry))
}

/// Evicts everything.
pub(crate) async fn purge(node: &Node, query: &Query) -> Result<Response, Problem> {
    if query.cluster()? {
        cluster::evict(node, EvictionTarget::All).await?;
    } else {
        node.cache().purge_local();
    }
    Ok(audit::note(
        answer::no_content(),
        audit_entry("cache".to_owned()),
    ))
}

fn audit_entry(what: String) -> AuditEntry {
    AuditEntry {
        what,
        row: None,
        fields: Vec::new(),
    }
}
