//! Field values without their Rust type: what a [`Schema`](crate::Schema) describes, a store holds
//! and an admin API parses.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What a field can hold.
mod kind;

// Decimal numbers as floats, if no digit is lost.
pub(crate) mod number;

// Bytes as text.
mod bytes;

// The Rust types of values.
mod typed;

// The Rust types of values that are stored as JSON.
mod json;

// How much memory values take.
mod weight;

use std::collections::BTreeSet;

use serde_json::Value as RawJson;
use uuid::Uuid;

use crate::key::{KeyBuilder, KeyPart};

pub use self::{
    json::Json,
    kind::FieldKind,
    typed::{FieldValue, Fit},
};

/// One field's value.
///
/// # Examples
///
/// ```
/// use tidings_core::{FieldKind, Value};
///
/// let value = Value::from_text(FieldKind::Integer, "7")?;
/// assert_eq!(value, Value::from(7_i64));
/// assert_eq!(value.to_json(), serde_json::json!(7));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Absent.
    #[default]
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number; timestamps are Unix seconds, or microseconds.
    Integer(i64),
    /// A whole number that is not negative, of a field of the kind [`FieldKind::Unsigned`].
    Unsigned(u64),
    /// A floating-point number.
    Number(f64),
    /// Text.
    Text(String),
    /// A UUID.
    Uuid(Uuid),
    /// Bytes; base64 as text and in JSON.
    Bytes(Vec<u8>),
    /// A set of texts in order.
    Set(BTreeSet<String>),
    /// Any JSON except `null`, which is [`Value::Null`]. Lists and maps are stored as this, too.
    Json(RawJson),
}

impl Value {
    /// Returns whether the value is absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns whether the value is of a kind; an absent value is of every kind.
    #[must_use]
    pub fn is(&self, kind: FieldKind) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(_) => kind == FieldKind::Boolean,
            Self::Integer(_) => matches!(
                kind,
                FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros
            ),
            Self::Unsigned(_) => kind == FieldKind::Unsigned,
            Self::Number(_) => matches!(kind, FieldKind::Number | FieldKind::Float),
            Self::Text(_) => kind == FieldKind::Text,
            Self::Uuid(_) => kind == FieldKind::Uuid,
            Self::Bytes(_) => kind == FieldKind::Bytes,
            Self::Set(_) => kind == FieldKind::Set,
            Self::Json(json) => match kind {
                FieldKind::Json => true,
                FieldKind::Map => json.is_object(),
                FieldKind::List => is_list(json),
                _ => false,
            },
        }
    }

    /// Returns the value as JSON. JSON has no form for a number that is not finite: it becomes
    /// `null`. [`Field::check`](crate::Field::check) keeps such numbers out of rows.
    #[must_use]
    pub fn to_json(&self) -> RawJson {
        match self {
            Self::Null => RawJson::Null,
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Unsigned(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Uuid(value) => value.to_string().into(),
            Self::Bytes(value) => bytes::to_text(value).into(),
            Self::Set(values) => values.iter().cloned().collect(),
            Self::Json(value) => value.clone(),
        }
    }

    /// Reads a value of a kind from JSON; `null` is the absent value of every kind.
    ///
    /// [`Field::from_json`](crate::Field::from_json) also checks what a field demands beyond its
    /// kind.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_json(kind: FieldKind, json: &RawJson) -> Result<Self, String> {
        let value = match (kind, json) {
            (_, RawJson::Null) => Some(Self::Null),
            (FieldKind::Boolean, RawJson::Bool(value)) => Some(Self::Boolean(*value)),
            (
                FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros,
                RawJson::Number(value),
            ) => value.as_i64().map(Self::Integer),
            (FieldKind::Unsigned, RawJson::Number(value)) => value.as_u64().map(Self::Unsigned),
            (FieldKind::Number, RawJson::Number(value)) => return exact(value).map(Self::Number),
            (FieldKind::Float, RawJson::Number(value)) => {
                let number = exact(value)?;
                return number::single(number).map(Self::Number);
            }
            (FieldKind::Bytes, RawJson::String(value)) => bytes::from_text(value).map(Self::Bytes),
            (FieldKind::List, value) if is_list(value) => Some(Self::Json(value.clone())),
            (FieldKind::Map, RawJson::Object(_)) => Some(Self::Json(json.clone())),
            (FieldKind::Text, RawJson::String(value)) => Some(Self::Text(value.clone())),
            (FieldKind::Uuid, RawJson::String(value)) => {
                Uuid::try_parse(value).ok().map(Self::Uuid)
            }
            (FieldKind::Set, RawJson::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Self::Set),
            (FieldKind::Json, value) => Some(Self::Json(value.clone())),
            _ => None,
        };
        value.ok_or_else(|| kind.expectation().to_owned())
    }

    /// Reads a value of a kind from text in a path, a query or a form. The members of a set are
    /// separated by commas; bytes are base64; lists, maps and JSON are JSON.
    ///
    /// [`Field::from_text`](crate::Field::from_text) also checks what a field demands beyond its
    /// kind.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_text(kind: FieldKind, text: &str) -> Result<Self, String> {
        let value = match kind {
            FieldKind::Text => Some(Self::Text(text.to_owned())),
            FieldKind::Boolean => text.parse().ok().map(Self::Boolean),
            FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => {
                text.parse().ok().map(Self::Integer)
            }
            FieldKind::Unsigned => text.parse().ok().map(Self::Unsigned),
            FieldKind::Number => return number::parsed(text).map(Self::Number),
            FieldKind::Float => {
                let number = number::parsed(text)?;
                return number::single(number).map(Self::Number);
            }
            FieldKind::Bytes => bytes::from_text(text).map(Self::Bytes),
            FieldKind::Uuid => Uuid::try_parse(text).ok().map(Self::Uuid),
            FieldKind::Set => Some(Self::Set(text.split(',').map(str::to_owned).collect())),
            FieldKind::List | FieldKind::Map => serde_json::from_str::<RawJson>(text)
                .ok()
                .map(Self::Json)
                .filter(|value| value.is(kind)),
            FieldKind::Json => serde_json::from_str::<RawJson>(text)
                .ok()
                .map(|json| json.into()),
        };
        value.ok_or_else(|| kind.expectation().to_owned())
    }

    /// Returns the text that [`from_text`](Self::from_text) reads as this value: the canonical one,
    /// if there are several. The text of an absent value is empty.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(value) => value.clone(),
            Self::Uuid(value) => value.to_string(),
            Self::Bytes(value) => bytes::to_text(value),
            Self::Set(members) => members.iter().cloned().collect::<Vec<_>>().join(","),
            value => value.to_json().to_string(),
        }
    }

    /// Reads a value of a kind from text that names a row: in a path, a page token or the parts of
    /// a cache key. Only the canonical spelling counts: another one, such as `007`, may be the name
    /// of another row.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{FieldKind, Value};
    ///
    /// assert_eq!(Value::from_key_text(FieldKind::Integer, "7"), Ok(Value::Integer(7)));
    /// assert_eq!(
    ///     Value::from_key_text(FieldKind::Integer, "007"),
    ///     Err("expected an integer, written as 7".to_owned())
    /// );
    /// ```
    pub fn from_key_text(kind: FieldKind, text: &str) -> Result<Self, String> {
        let value = Self::from_text(kind, text)?;
        let canonical = value.to_text();
        if canonical == text {
            Ok(value)
        } else {
            Err(format!("{}, written as {canonical}", kind.expectation()))
        }
    }
}

/// Returns whether the JSON is an array of texts.
fn is_list(json: &RawJson) -> bool {
    let members = json.as_array();
    members.is_some_and(|members| members.iter().all(RawJson::is_string))
}

/// Returns the number as a float. A whole number that a float cannot hold exactly is an error.
fn exact(number: &serde_json::Number) -> Result<f64, String> {
    let whole = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    match (whole, number.as_f64()) {
        (Some(whole), Some(float)) if float as i128 != whole => Err(number::INEXACT.to_owned()),
        (_, Some(float)) => Ok(float),
        (_, None) => Err(FieldKind::Number.expectation().to_owned()),
    }
}

impl KeyPart for Value {
    // Injective among the values of one kind, which is all that one field holds.
    fn write(&self, key: &mut KeyBuilder) {
        match self {
            Self::Null => None::<&str>.write(key),
            Self::Boolean(value) => value.write(key),
            Self::Integer(value) => value.write(key),
            Self::Unsigned(value) => value.write(key),
            Self::Number(value) => value.to_string().write(key),
            Self::Text(value) => value.write(key),
            Self::Uuid(value) => value.write(key),
            Self::Bytes(value) => value.write(key),
            Self::Set(_) | Self::Json(_) => self.to_json().to_string().write(key),
        }
    }
}
