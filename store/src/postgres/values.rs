//! Converts between [`Value`]s and PostgreSQL's types.
//!
//! | kind | column | also taken |
//! |---|---|---|
//! | boolean | `boolean` | |
//! | integer, timestamps | `bigint` | `integer`, `smallint`, where the field's range fits |
//! | unsigned | `numeric(20,0)` | |
//! | number | `double precision` | |
//! | float | `real` | |
//! | bytes | `bytea` | |
//! | string | `text` | `character varying` |
//! | uuid | `uuid` | |
//! | set | `jsonb` | |
//! | list, map, json | `json` | `jsonb` |

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sqlx::{
    Arguments as _, Column as _, Row as _, TypeInfo as _,
    postgres::{PgArguments, PgRow},
};
use tidings_core::{BoxError, Field, FieldKind, FieldValue as _, Row, RowError, Schema, Value};
use uuid::Uuid;

use crate::{
    error::{DatabaseError, Error},
    live::{Live, seconds},
    parameter::Parameter,
};

/// Returns the type of a column for a kind.
pub(crate) fn column_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "boolean",
        FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => "bigint",
        FieldKind::Unsigned => "numeric(20,0)",
        FieldKind::Number => "double precision",
        FieldKind::Float => "real",
        FieldKind::Bytes => "bytea",
        FieldKind::Uuid => "uuid",
        FieldKind::Set => "jsonb",
        FieldKind::List | FieldKind::Map | FieldKind::Json => "json",
        // Text, and any kind that core may add.
        _ => "text",
    }
}

/// Returns a value as an SQL literal that does not depend on the session's settings; `None` for an
/// absent one.
pub(crate) fn literal(value: &Value) -> Option<String> {
    let quoted = |text: &str| {
        let escaped = text.replace('\\', "\\\\").replace('\'', "''");
        format!("E'{escaped}'")
    };
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Bytes(value) => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            quoted(&format!("\\x{hex}"))
        }
        Value::Number(value) => format!("{value:?}"),
        Value::Text(text) => quoted(text),
        Value::Uuid(uuid) => quoted(&uuid.to_string()),
        Value::Set(_) | Value::Json(_) => quoted(&value.to_json().to_string()),
    })
}

/// Returns whether a column of an existing type can hold every value of a field, and no other.
pub(crate) fn fits(field: &Field, there: &str) -> bool {
    let range = field.range();
    let within = |least: i64, most: i64| {
        range.is_some_and(|range| *range.start() >= least && *range.end() <= most)
    };

    match field.kind() {
        FieldKind::Integer => match there {
            "integer" => within(i32::MIN.into(), i32::MAX.into()),
            "smallint" => within(i16::MIN.into(), i16::MAX.into()),
            there => there == "bigint",
        },
        FieldKind::Text => there == "text" || there.starts_with("character varying"),
        FieldKind::List | FieldKind::Map | FieldKind::Json => there == "json" || there == "jsonb",
        kind => there == column_type(kind),
    }
}

/// A parameter that owns its value, so that a statement can be sent again on another connection.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    Boolean(Option<bool>),
    Integer(Option<i64>),
    Number(Option<f64>),
    Float(Option<f32>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
    Uuid(Option<Uuid>),
    Booleans(Vec<bool>),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
}

impl Bound {
    /// Returns the parameters of a statement, in order: several for a list of keys of several
    /// fields.
    pub(crate) fn all(parameters: Vec<Parameter<'_>>) -> Vec<Self> {
        let mut all = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            match parameter {
                Parameter::One(kind, value) => all.push(Self::one(kind, value)),
                Parameter::Many(kind, values) => all.push(Self::many(kind, &values)),
                Parameter::Keys(fields) => {
                    let fields = fields.iter();
                    all.extend(fields.map(|(kind, values)| Self::many(*kind, values)));
                }
                Parameter::Texts(texts) => all.push(Self::Texts(texts.to_vec())),
                Parameter::Count(count) => all.push(Self::Integer(i64::try_from(count).ok())),
            }
        }

        all
    }

    fn one(kind: FieldKind, value: &Value) -> Self {
        match (kind, value) {
            (_, Value::Boolean(value)) => Self::Boolean(Some(*value)),
            (_, Value::Integer(value)) => Self::Integer(Some(*value)),
            // Cast by the statement.
            (_, Value::Unsigned(value)) => Self::Text(Some(value.to_string())),
            (_, Value::Bytes(value)) => Self::Bytes(Some(value.clone())),
            (FieldKind::Float, Value::Number(value)) => Self::Float(Some(*value as f32)),
            (_, Value::Number(value)) => Self::Number(Some(*value)),
            (_, Value::Text(value)) => Self::Text(Some(value.clone())),
            (_, Value::Uuid(value)) => Self::Uuid(Some(*value)),
            (_, Value::Set(_) | Value::Json(_)) => Self::Text(Some(value.to_json().to_string())),
            (FieldKind::Boolean, Value::Null) => Self::Boolean(None),
            (
                FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros,
                Value::Null,
            ) => Self::Integer(None),
            (FieldKind::Number, Value::Null) => Self::Number(None),
            (FieldKind::Float, Value::Null) => Self::Float(None),
            (FieldKind::Bytes, Value::Null) => Self::Bytes(None),
            (FieldKind::Uuid, Value::Null) => Self::Uuid(None),
            (_, Value::Null) => Self::Text(None),
        }
    }

    /// Makes a list parameter. Leaves out absent values, because they match nothing.
    fn many(kind: FieldKind, values: &[&Value]) -> Self {
        fn each<T>(values: &[&Value], get: impl Fn(&Value) -> Option<T>) -> Vec<T> {
            values.iter().filter_map(|value| get(value)).collect()
        }

        match kind {
            FieldKind::Boolean => Self::Booleans(each(values, |value| match value {
                Value::Boolean(value) => Some(*value),
                _ => None,
            })),
            FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => {
                Self::Integers(each(values, |value| match value {
                    Value::Integer(value) => Some(*value),
                    _ => None,
                }))
            }
            FieldKind::Number => Self::Numbers(each(values, |value| match value {
                Value::Number(value) => Some(*value),
                _ => None,
            })),
            FieldKind::Uuid => Self::Uuids(each(values, |value| match value {
                Value::Uuid(value) => Some(*value),
                _ => None,
            })),
            _ => Self::Texts(each(values, |value| match value {
                Value::Null => None,
                value => Some(value.to_text()),
            })),
        }
    }
}

/// Returns the arguments of a statement, in order.
pub(crate) fn arguments(parameters: &[Bound]) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for parameter in parameters {
        let added: Result<(), BoxError> = match parameter {
            Bound::Boolean(value) => arguments.add(*value),
            Bound::Integer(value) => arguments.add(*value),
            Bound::Number(value) => arguments.add(*value),
            Bound::Float(value) => arguments.add(*value),
            Bound::Bytes(value) => arguments.add(value.clone()),
            Bound::Text(value) => arguments.add(value.clone()),
            Bound::Uuid(value) => arguments.add(*value),
            Bound::Booleans(values) => arguments.add(values.clone()),
            Bound::Integers(values) => arguments.add(values.clone()),
            Bound::Numbers(values) => arguments.add(values.clone()),
            Bound::Texts(values) => arguments.add(values.clone()),
            Bound::Uuids(values) => arguments.add(values.clone()),
        };
        added.map_err(|error| Error::Database(DatabaseError::other(error)))?;
    }

    Ok(arguments)
}

/// Reads a row whose columns are the schema's fields in order.
pub(crate) fn decode(schema: &Schema, stored: &PgRow) -> Result<Row, RowError> {
    let fields = schema.fields().iter().enumerate();
    let values = fields.map(|(index, field)| {
        value_at(stored, index, field.kind()).ok_or_else(|| RowError {
            entity: schema.name().to_owned(),
            field: field.name().to_owned(),
        })
    });
    values.collect::<Result<_, _>>().map(Row)
}

/// Reads a row, and the time that it has left if a column after its own holds that.
pub(crate) fn decode_live(schema: &Schema, stored: &PgRow) -> Result<Live<Row>, RowError> {
    let row = decode(schema, stored)?;
    let left = stored.try_get::<Option<f64>, _>(schema.fields().len());
    Ok(Live {
        row,
        left: left.ok().flatten().map(seconds),
    })
}

/// Returns a column's value; `None` if it is not a value of the kind.
fn value_at(stored: &PgRow, index: usize, kind: FieldKind) -> Option<Value> {
    let value = match kind {
        FieldKind::Boolean => stored
            .try_get::<Option<bool>, _>(index)
            .ok()?
            .map(Value::Boolean),
        FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => {
            integer(stored, index)?.map(Value::Integer)
        }
        FieldKind::Unsigned => match text(stored, index)? {
            Some(text) => Some(Value::Unsigned(text.parse().ok()?)),
            None => None,
        },
        FieldKind::Float => stored
            .try_get::<Option<f32>, _>(index)
            .ok()?
            .map(|value| value.to_value()),
        FieldKind::Bytes => stored
            .try_get::<Option<Vec<u8>>, _>(index)
            .ok()?
            .map(Value::Bytes),
        FieldKind::Number => stored
            .try_get::<Option<f64>, _>(index)
            .ok()?
            .map(Value::Number),
        FieldKind::Text => text(stored, index)?.map(Value::Text),
        FieldKind::Uuid => stored
            .try_get::<Option<Uuid>, _>(index)
            .ok()?
            .map(Value::Uuid),
        FieldKind::Set => match text(stored, index)? {
            Some(text) => Some(Value::Set(
                serde_json::from_str::<BTreeSet<String>>(&text).ok()?,
            )),
            None => None,
        },
        FieldKind::List | FieldKind::Map | FieldKind::Json => match text(stored, index)? {
            Some(text) => Some(Value::Json(serde_json::from_str::<Json>(&text).ok()?)),
            None => None,
        },
        _ => return None,
    };
    Some(value.unwrap_or_default())
}

fn text(stored: &PgRow, index: usize) -> Option<Option<String>> {
    stored.try_get(index).ok()
}

fn integer(stored: &PgRow, index: usize) -> Option<Option<i64>> {
    match stored.columns().get(index)?.type_info().name() {
        "INT2" => Some(stored.try_get::<Option<i16>, _>(index).ok()?.map(i64::from)),
        "INT4" => Some(stored.try_get::<Option<i32>, _>(index).ok()?.map(i64::from)),
        _ => stored.try_get(index).ok(),
    }
}
