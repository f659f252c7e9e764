//! `/schemas/{entity}`: a schema as JSON, with the entities that refer to it.

use serde_json::{Value as Json, json};
use tidings::core::Schema;

/// Describes an entity: its fields, its keys, and its relations in both directions.
pub(crate) fn describe(schema: &Schema, all: &[&'static Schema]) -> Json {
    let referring = |other: &&'static Schema| -> Vec<Json> {
        let refers = |field: &&tidings::core::Field| {
            field
                .reference()
                .is_some_and(|foreign| foreign.entity == schema.name())
        };
        let fields = other.fields().iter().filter(refers);
        fields
            .map(|field| json!({ "entity": other.name(), "field": field.name() }))
            .collect()
    };
    let mut described = schema.to_json();
    described["referred_by"] = all.iter().flat_map(referring).collect();

    described
}
