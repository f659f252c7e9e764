//! Converts between [`Value`]s and SQLite's storage classes.
//!
//! | kind | column |
//! |---|---|
//! | boolean, integer, timestamps | INTEGER |
//! | unsigned | TEXT, 20 digits, so that the order of texts is that of numbers |
//! | number, float | REAL |
//! | bytes | BLOB |
//! | string | TEXT |
//! | uuid | TEXT, hyphenated and lower case |
//! | set, list, map, json | TEXT that holds JSON |

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sqlx::{
    Arguments as _, Row as _,
    sqlite::{SqliteArguments, SqliteRow},
};
use tidings_core::{BoxError, FieldKind, Row, RowError, Schema, Value};
use uuid::Uuid;

use crate::{
    error::Error,
    live::{Live, seconds},
    parameter::Parameter,
    sqlite::codes::failed,
};

/// Returns the declared type of a column.
pub(crate) fn column_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean
        | FieldKind::Integer
        | FieldKind::Timestamp
        | FieldKind::TimestampMicros => "INTEGER",
        FieldKind::Number | FieldKind::Float => "REAL",
        FieldKind::Bytes => "BLOB",
        // Text, unsigned, uuid, set, list, map, json, and any kind that core may add, as JSON.
        _ => "TEXT",
    }
}

/// Returns a value as an SQL literal; `None` for an absent one.
pub(crate) fn literal(value: &Value) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => i64::from(*value).to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Unsigned(value) => quoted(&digits(*value)),
        Value::Bytes(value) => format!("X'{}'", hex(value)),
        // With a fraction or an exponent, so that it is not read as an integer.
        Value::Number(value) => format!("{value:?}"),
        Value::Text(text) => quoted(text),
        Value::Uuid(uuid) => quoted(&uuid.to_string()),
        Value::Set(_) | Value::Json(_) => quoted(&value.to_json().to_string()),
    })
}

/// Returns the arguments of a statement, in order.
pub(crate) fn arguments<'a>(
    parameters: impl IntoIterator<Item = Parameter<'a>>,
) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for parameter in parameters {
        let added = match parameter {
            Parameter::One(_, value) => bind(&mut arguments, value),
            Parameter::Many(_, values) => arguments.add(list(&values).to_string()),
            Parameter::Keys(fields) => arguments.add(keys(&fields)),
            Parameter::Texts(texts) => arguments.add(Json::from(texts.to_vec()).to_string()),
            Parameter::Count(count) => arguments.add(i64::try_from(count).unwrap_or(i64::MAX)),
        };
        added.map_err(|error| failed(sqlx::Error::Encode(error)))?;
    }

    Ok(arguments)
}

/// Adds one value to the arguments of a statement.
fn bind(arguments: &mut SqliteArguments, value: &Value) -> Result<(), BoxError> {
    match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Boolean(value) => arguments.add(i64::from(*value)),
        Value::Integer(value) => arguments.add(*value),
        Value::Unsigned(value) => arguments.add(digits(*value)),
        Value::Bytes(value) => arguments.add(value.clone()),
        Value::Number(value) => arguments.add(*value),
        Value::Text(value) => arguments.add(value.clone()),
        Value::Uuid(value) => arguments.add(value.to_string()),
        Value::Set(_) | Value::Json(_) => arguments.add(value.to_json().to_string()),
    }
}

/// Returns values as one JSON array, for `IN (SELECT value FROM json_each(?))`: one parameter,
/// regardless of their number.
fn list(values: &[&Value]) -> Json {
    let stored = |value: &&Value| match value {
        Value::Boolean(value) => Json::from(i64::from(*value)),
        Value::Unsigned(value) => Json::from(digits(*value)),
        value => value.to_json(),
    };
    values.iter().map(stored).collect()
}

/// Returns keys of several fields as one JSON array, with an array for each key.
fn keys(fields: &[(FieldKind, Vec<&Value>)]) -> String {
    let count = fields.first().map_or(0, |(_, values)| values.len());
    let key = |place: usize| {
        let parts = fields.iter().filter_map(|(_, values)| values.get(place));
        list(&parts.copied().collect::<Vec<_>>())
    };
    (0..count).map(key).collect::<Json>().to_string()
}

/// Returns an unsigned number as it is stored.
fn digits(number: u64) -> String {
    format!("{number:020}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads a row whose columns are the schema's fields in order.
pub(crate) fn decode(schema: &Schema, stored: &SqliteRow) -> Result<Row, RowError> {
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
pub(crate) fn decode_live(schema: &Schema, stored: &SqliteRow) -> Result<Live<Row>, RowError> {
    let row = decode(schema, stored)?;
    let left = stored.try_get::<Option<f64>, _>(schema.fields().len());
    Ok(Live {
        row,
        left: left.ok().flatten().map(seconds),
    })
}

/// Returns a column's value; `None` if it is not a value of the kind.
pub(crate) fn value_at(stored: &SqliteRow, index: usize, kind: FieldKind) -> Option<Value> {
    fn text(stored: &SqliteRow, index: usize) -> Option<Option<String>> {
        stored.try_get(index).ok()
    }

    let value = match kind {
        FieldKind::Boolean => stored
            .try_get::<Option<i64>, _>(index)
            .ok()?
            .map(|value| Value::Boolean(value != 0)),
        FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => stored
            .try_get::<Option<i64>, _>(index)
            .ok()?
            .map(Value::Integer),
        FieldKind::Unsigned => match text(stored, index)? {
            Some(text) => Some(Value::Unsigned(text.parse().ok()?)),
            None => None,
        },
        FieldKind::Bytes => stored
            .try_get::<Option<Vec<u8>>, _>(index)
            .ok()?
            .map(Value::Bytes),
        FieldKind::Number | FieldKind::Float => stored
            .try_get::<Option<f64>, _>(index)
            .ok()?
            .map(Value::Number),
        FieldKind::Text => text(stored, index)?.map(Value::Text),
        FieldKind::Uuid => match text(stored, index)? {
            Some(text) => Some(Value::Uuid(Uuid::try_parse(&text).ok()?)),
            None => None,
        },
        FieldKind::Set => match text(stored, index)? {
            Some(text) => Some(Value::Set(
                serde_json::from_str::<BTreeSet<String>>(&text).ok()?,
            )),
            None => None,
        },
        FieldKind::List | FieldKind::Map | FieldKind::Json => match text(stored, index)? {
            Some(text) => Some(Value::Json(serde_json::from_str(&text).ok()?)),
            None => None,
        },
        _ => return None,
    };
    Some(value.unwrap_or_default())
}
