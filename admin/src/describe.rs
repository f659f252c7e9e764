//! A schema as JSON, for `/schemas/{entity}`.

use serde_json::{Map, Value as Json, json};
use tidings::{Auto, Field, OnDelete, Schema};

/// What is known of an entity: its fields, its keys, and its relations in both directions.
pub(crate) fn schema(schema: &Schema, all: &[&'static Schema]) -> Json {
    let name_of = |index: usize| schema.fields()[index].name();
    let fields: Vec<_> = schema.fields().iter().map(field).collect();
    let referred_by: Vec<_> = all
        .iter()
        .flat_map(|other| other.fields().iter().map(move |field| (other, field)))
        .filter_map(|(other, field)| {
            let foreign = field.reference()?;
            (foreign.entity == schema.name()).then(|| {
                json!({
                    "entity": other.name(),
                    "field": field.name(),
                    "on_delete": on_delete(foreign.on_delete),
                })
            })
        })
        .collect();
    let admin_api = schema
        .admin_api()
        .map(|api| json!({ "name": api.name, "nested": api.nested }));
    json!({
        "name": schema.name(),
        "primary_key": name_of(schema.primary_key()),
        "endpoint_key": schema.endpoint_key().map(name_of),
        "cache_key": schema.cache_key_fields(),
        "unique_together": schema.unique_together(),
        "at_least_one_of": schema.at_least_one_of(),
        "fields": fields,
        "referred_by": referred_by,
        "admin_api": admin_api,
    })
}

fn field(field: &Field) -> Json {
    let mut facts = Map::new();
    facts.insert("name".to_owned(), field.name().into());
    facts.insert("type".to_owned(), field.kind().name().into());
    facts.insert("required".to_owned(), field.is_required().into());
    facts.insert("unique".to_owned(), field.is_unique().into());
    if let Some(auto) = field.auto_value().and_then(auto) {
        facts.insert("auto".to_owned(), auto.into());
    }
    if let Some(foreign) = field.reference() {
        let reference = json!({
            "entity": foreign.entity,
            "key": foreign.key,
            "on_delete": on_delete(foreign.on_delete),
        });
        facts.insert("reference".to_owned(), reference);
    }
    Json::Object(facts)
}

fn auto(auto: Auto) -> Option<&'static str> {
    match auto {
        Auto::Random => Some("random"),
        Auto::CreateTime => Some("create_time"),
        Auto::UpdateTime => Some("update_time"),
        _ => None,
    }
}

fn on_delete(on_delete: OnDelete) -> &'static str {
    match on_delete {
        OnDelete::Restrict => "restrict",
        OnDelete::Cascade => "cascade",
        OnDelete::SetNull => "set_null",
    }
}
