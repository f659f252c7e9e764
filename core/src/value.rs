//! Field values without their Rust type: what a [`Schema`](crate::Schema) describes, a store holds and an
//! admin API parses.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{Entity, KeyBuilder, KeyPart};

/// One field's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Absent.
    #[default]
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number; timestamps are Unix seconds.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// Text.
    Text(String),
    /// A UUID.
    Uuid(Uuid),
    /// A set of texts in order.
    Set(BTreeSet<String>),
    /// Anything that JSON can say.
    Json(Json),
}

/// What kind of value a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldKind {
    /// `bool`
    Boolean,
    /// `i64`, `i32`, `u32`
    Integer,
    /// `f64`
    Number,
    /// `String`
    Text,
    /// `Uuid`
    Uuid,
    /// [`Timestamp`]
    Timestamp,
    /// `BTreeSet<String>`
    Set,
    /// `serde_json::Value`
    Json,
}

impl FieldKind {
    /// The word for this kind in schemas and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::Uuid => "uuid",
            Self::Timestamp => "timestamp",
            Self::Set => "set",
            Self::Json => "json",
        }
    }

    /// Whether a value of this kind is made of several: such a field can be neither unique nor part of a key.
    #[must_use]
    pub fn is_composite(self) -> bool {
        matches!(self, Self::Set | Self::Json)
    }
}

impl Value {
    /// Whether the value is absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether the value is of a kind; an absent value is of every kind.
    #[must_use]
    pub fn is(&self, kind: FieldKind) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(_) => kind == FieldKind::Boolean,
            Self::Integer(_) => matches!(kind, FieldKind::Integer | FieldKind::Timestamp),
            Self::Number(_) => kind == FieldKind::Number,
            Self::Text(_) => kind == FieldKind::Text,
            Self::Uuid(_) => kind == FieldKind::Uuid,
            Self::Set(_) => kind == FieldKind::Set,
            Self::Json(_) => kind == FieldKind::Json,
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Uuid(value) => value.to_string().into(),
            Self::Set(values) => values.iter().cloned().collect(),
            Self::Json(value) => value.clone(),
        }
    }

    /// Reads a value of a kind from JSON.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_json(kind: FieldKind, json: &Json) -> Result<Self, String> {
        let value = match (kind, json) {
            (_, Json::Null) => Some(Self::Null),
            (FieldKind::Boolean, Json::Bool(value)) => Some(Self::Boolean(*value)),
            (FieldKind::Integer | FieldKind::Timestamp, Json::Number(value)) => {
                value.as_i64().map(Self::Integer)
            }
            (FieldKind::Number, Json::Number(value)) => value.as_f64().map(Self::Number),
            (FieldKind::Text, Json::String(value)) => Some(Self::Text(value.clone())),
            (FieldKind::Uuid, Json::String(value)) => Uuid::try_parse(value).ok().map(Self::Uuid),
            (FieldKind::Set, Json::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Self::Set),
            (FieldKind::Json, value) => Some(Self::Json(value.clone())),
            _ => None,
        };
        value.ok_or_else(|| kind.expectation().to_owned())
    }

    /// Reads a value of a kind from text, as a path, a query or a form holds it.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_text(kind: FieldKind, text: &str) -> Result<Self, String> {
        let value = match kind {
            FieldKind::Text => Some(Self::Text(text.to_owned())),
            FieldKind::Boolean => text.parse().ok().map(Self::Boolean),
            FieldKind::Integer | FieldKind::Timestamp => text.parse().ok().map(Self::Integer),
            FieldKind::Number => text.parse().ok().map(Self::Number),
            FieldKind::Uuid => Uuid::try_parse(text).ok().map(Self::Uuid),
            FieldKind::Set => Some(Self::Set(text.split(',').map(str::to_owned).collect())),
            FieldKind::Json => serde_json::from_str(text).ok().map(Self::Json),
        };
        value.ok_or_else(|| kind.expectation().to_owned())
    }
}

impl FieldKind {
    fn expectation(self) -> &'static str {
        match self {
            Self::Boolean => "expected a boolean",
            Self::Integer => "expected an integer",
            Self::Number => "expected a number",
            Self::Text => "expected a string",
            Self::Uuid => "expected a valid UUID",
            Self::Timestamp => "expected a timestamp in Unix seconds",
            Self::Set => "expected a set of strings",
            Self::Json => "expected JSON",
        }
    }
}

impl KeyPart for Value {
    fn write(&self, key: &mut KeyBuilder) {
        match self {
            Self::Null => None::<&str>.write(key),
            Self::Boolean(value) => value.write(key),
            Self::Integer(value) => value.write(key),
            Self::Number(value) => value.to_string().write(key),
            Self::Text(value) => value.write(key),
            Self::Uuid(value) => value.write(key),
            Self::Set(_) | Self::Json(_) => self.to_json().to_string().write(key),
        }
    }
}

/// A Rust type that a field can have.
pub trait FieldValue: Sized {
    /// The kind its values are of.
    const KIND: FieldKind;
    /// Whether it has a value for "absent".
    const OPTIONAL: bool = false;

    /// The value without its type.
    fn to_value(&self) -> Value;

    /// Takes a value back; `None` if it is of another kind, absent where it must not be, or out of range.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! field_value {
    ($($type:ty, $kind:ident, $variant:ident;)*) => {$(
        impl FieldValue for $type {
            const KIND: FieldKind = FieldKind::$kind;

            fn to_value(&self) -> Value {
                Value::$variant(self.clone().into())
            }

            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => value.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

field_value! {
    bool, Boolean, Boolean;
    i64, Integer, Integer;
    i32, Integer, Integer;
    u32, Integer, Integer;
    f64, Number, Number;
    String, Text, Text;
    Uuid, Uuid, Uuid;
    Timestamp, Timestamp, Integer;
    BTreeSet<String>, Set, Set;
    Json, Json, Json;
}

impl<T: FieldValue> FieldValue for Option<T> {
    const KIND: FieldKind = T::KIND;
    const OPTIONAL: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn from_value(value: Value) -> Option<Self> {
        if value.is_null() {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

impl<E: Entity> FieldValue for Ref<E> {
    const KIND: FieldKind = E::Id::KIND;

    fn to_value(&self) -> Value {
        self.id.to_value()
    }

    fn from_value(value: Value) -> Option<Self> {
        E::Id::from_value(value).map(Self::new)
    }
}

/// Unix seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that lies so many seconds after the epoch. Zero stands for "not set".
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn as_unix(self) -> i64 {
        self.0
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl From<i64> for Timestamp {
    fn from(seconds: i64) -> Self {
        Self(seconds)
    }
}

/// A reference to a row of another entity, by its primary key. In JSON: `{"id": ..}`.
pub struct Ref<E: Entity> {
    /// The primary key of the row that is meant.
    pub id: E::Id,
    entity: PhantomData<fn() -> E>,
}

impl<E: Entity> Ref<E> {
    /// A reference by primary key.
    pub fn new(id: E::Id) -> Self {
        Self {
            id,
            entity: PhantomData,
        }
    }

    /// A reference to a row at hand.
    pub fn to(entity: &E) -> Self {
        Self::new(entity.id().clone())
    }
}

impl<E: Entity> Clone for Ref<E> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone())
    }
}

impl<E: Entity> fmt::Debug for Ref<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({} {:?})", E::NAME, self.id)
    }
}

impl<E: Entity> PartialEq for Ref<E> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<E: Entity> Eq for Ref<E> where E::Id: Eq {}

impl<E: Entity> Hash for Ref<E>
where
    E::Id: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<E: Entity> Serialize for Ref<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(E::PRIMARY_KEY, &self.id)?;
        map.end()
    }
}

impl<'de, E: Entity> Deserialize<'de> for Ref<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<E>(PhantomData<fn() -> E>);

        impl<'de, E: Entity> de::Visitor<'de> for Visitor<E> {
            type Value = Ref<E>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map with the one entry `{}`", E::PRIMARY_KEY)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Ref<E>, A::Error> {
                let mut id = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != E::PRIMARY_KEY {
                        return Err(de::Error::unknown_field(&key, &[E::PRIMARY_KEY]));
                    }
                    id = Some(map.next_value()?);
                }
                id.map(Ref::new)
                    .ok_or_else(|| de::Error::missing_field(E::PRIMARY_KEY))
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}
