//! Rows as answers show them and as they are sent, in JSON Schema.

use serde_json::{Map, Value as Json, json};
use tidings::core::{Field, FieldKind, Schema, Value};

/// Describes a row as answers show it: every field is present.
pub(super) fn answered(schema: &Schema) -> Json {
    let fields = schema.fields().iter();
    let names: Vec<_> = fields.clone().map(Field::name).collect();
    let properties = fields.map(|field| {
        let shape = if field.is_optional() {
            or_null(property(field))
        } else {
            property(field)
        };
        (field.name().to_owned(), shape)
    });
    json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "required": names,
        "additionalProperties": false,
    })
}

/// Describes a row as it is sent: `null` is absent.
pub(super) fn input(schema: &Schema) -> Json {
    let fields = schema.fields().iter();
    let required = fields.clone().filter(|field| field.is_required());
    let required: Vec<_> = required.map(Field::name).collect();
    let properties = fields.map(|field| {
        let mut shape = if field.is_required() {
            property(field)
        } else {
            or_null(property(field))
        };
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

    // Required only in a new row: a change names only what it changes.
    if !required.is_empty() {
        shape["x-required-on-create"] = required.into();
    }

    shape
}

fn or_null(shape: Json) -> Json {
    json!({ "anyOf": [shape, {"type": "null"}] })
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

/// Describes a text, by itself or in a set or list.
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
