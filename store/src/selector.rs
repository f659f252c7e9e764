//! Which row a call means, and how a write is to be done.

use tidings_core::{Entity, Field, Ref, Schema, Timestamp, Value};
use uuid::Uuid;

use crate::Error;

/// Selects one row by a unique field.
///
/// # Examples
///
/// ```
/// use tidings_store::Selector;
/// use tidings_core::Value;
///
/// // The row whose field 1 is "abcd", if its field 2 (say, its owner) is 7.
/// let selector = Selector::by(1, Value::Text("abcd".to_owned())).and(2, Value::Integer(7));
/// assert_eq!(selector.field, 1);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The field, by index in the schema: unique, or the primary key.
    pub field: usize,
    /// Its value.
    pub value: Value,
    /// Further conditions, checked in the same transaction: a row that does not meet them counts as absent
    /// (for an upsert it is [`Error::Condition`]). `Null` means that the field is absent.
    pub and: Vec<(usize, Value)>,
}

impl Selector {
    /// The row with this value of a unique field.
    #[must_use]
    pub fn by(field: usize, value: Value) -> Self {
        Self {
            field,
            value,
            and: Vec::new(),
        }
    }

    /// The row with this primary key.
    #[must_use]
    pub fn primary(schema: &Schema, value: Value) -> Self {
        Self::by(schema.primary_key(), value)
    }

    /// Demands a value of one more field.
    #[must_use]
    pub fn and(mut self, field: usize, value: Value) -> Self {
        self.and.push((field, value));
        self
    }
}

/// How a write is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// No handler hears of the write. What is cached is evicted all the same.
    pub no_event: bool,
}

impl WriteOptions {
    /// A write that no handler hears of.
    #[must_use]
    pub fn silent() -> Self {
        Self { no_event: true }
    }
}

/// What an upsert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upserted {
    /// There was no such row; there is now.
    Created,
    /// The row was there and was replaced.
    Replaced,
}

/// A field's value, as the typed methods take it: text is read by the field's kind, so that a UUID may be
/// given as text.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldInput {
    /// A value of the field's kind.
    Value(Value),
    /// Text to be read as the field's kind.
    Text(String),
}

impl FieldInput {
    /// The value, if it is one of this field's.
    pub(crate) fn of(self, schema: &Schema, field: &Field) -> Result<Value, Error> {
        let value = match self {
            Self::Text(text) => Value::from_text(field.kind(), &text),
            Self::Value(value) if value.is(field.kind()) => Ok(value),
            Self::Value(_) => Err(format!("expected a {}", field.kind().name())),
        };
        value.map_err(|message| Error::WrongKind {
            entity: schema.name().to_owned(),
            field: field.name().to_owned(),
            message,
        })
    }
}

impl From<Value> for FieldInput {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for FieldInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FieldInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for FieldInput {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Uuid> for FieldInput {
    fn from(uuid: &Uuid) -> Self {
        Self::Value(Value::Uuid(*uuid))
    }
}

impl<E: Entity> From<&Ref<E>> for FieldInput {
    fn from(reference: &Ref<E>) -> Self {
        Self::Value(tidings_core::FieldValue::to_value(reference))
    }
}

impl<T: Into<Self>> From<Option<T>> for FieldInput {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Value(Value::Null), Into::into)
    }
}

macro_rules! field_input {
    ($($type:ty),*) => {$(
        impl From<$type> for FieldInput {
            fn from(value: $type) -> Self {
                Self::Value(tidings_core::FieldValue::to_value(&value))
            }
        }
    )*};
}

field_input!(bool, i64, i32, u32, f64, Uuid, Timestamp);
