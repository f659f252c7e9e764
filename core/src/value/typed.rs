//! [`FieldValue`]: the Rust types that a field of an entity can have, and how each is stored.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::Value as Json;
use uuid::Uuid;

use super::{FieldKind, Value, number};
use crate::timestamp::{Timestamp, TimestampMicros};

/// A function that says why a value of the right kind is not a value of the type.
pub type Fit = fn(&Value) -> Result<(), String>;

/// A Rust type that a field can have.
///
/// It is implemented for `bool`, `i64`, `i32`, `u32`, `u64`, `f64`, `f32`, `String`, `Uuid`,
/// [`Timestamp`], [`TimestampMicros`], `Vec<u8>`, `BTreeSet<String>`, `Vec<String>`,
/// `BTreeMap<String, V>`, `HashMap<String, V>`, `serde_json::Value`, [`Json<T>`](crate::Json),
/// [`Ref`](crate::Ref) and an `Option` of each. Your own enums without fields and newtypes derive
/// it ([the macro](macro@crate::FieldValue)). If you implement it by hand, the type's serde form
/// must be the same as that of [`to_value`](Self::to_value).
///
/// # Examples
///
/// ```
/// use tidings_core::{FieldValue, Value};
///
/// assert_eq!(Some(7_u32).to_value(), Value::Integer(7));
/// assert_eq!(u32::from_value(Value::Integer(-1)), None);
/// ```
///
/// A field is absent in one way only:
///
/// ```compile_fail,E0080
/// tidings_core::Field::of::<Option<Option<i64>>>("number");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an entity's field",
    label = "not a type that a field can have",
    note = "a field is a `bool`, `i64`, `i32`, `u32`, `u64`, `f64`, `f32`, `String`, `Uuid`, `Timestamp`, \
            `TimestampMicros`, `Vec<u8>`, `BTreeSet<String>`, `Vec<String>`, a map from `String`, \
            `serde_json::Value`, `Json<T>` or `Ref<X>`, an `Option` of one of these, or a type with \
            `#[derive(FieldValue)]`"
)]
pub trait FieldValue: Sized {
    /// The kind of its values.
    const KIND: FieldKind;
    /// Whether one of its values means "absent".
    const OPTIONAL: bool = false;
    /// The range of its whole numbers, if it is smaller than that of an `i64`.
    const RANGE: Option<RangeInclusive<i64>> = None;
    /// The allowed texts; empty if any text is allowed.
    const VALUES: &'static [&'static str] = &[];
    /// Checks whether a value of the kind is one of the type; `None` if every value is.
    const FITS: Option<Fit> = None;

    /// Returns the entity and the primary key that its values refer to; `None` unless it is a
    /// [`Ref`](crate::Ref).
    #[must_use]
    fn refers_to() -> Option<(&'static str, &'static str)> {
        None
    }

    /// Returns the value without its type.
    #[must_use]
    fn to_value(&self) -> Value;

    /// Converts a value back. Returns `None` if it is of another kind, absent where it must not be,
    /// or out of range.
    #[must_use]
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! field_value {
    ($($type:ty, $kind:ident, $variant:ident $(, $range:expr)?;)*) => {$(
        impl FieldValue for $type {
            const KIND: FieldKind = FieldKind::$kind;
            $(const RANGE: Option<RangeInclusive<i64>> = Some($range);)?

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
    u64, Unsigned, Unsigned;
    i32, Integer, Integer, i32::MIN as i64..=i32::MAX as i64;
    u32, Integer, Integer, 0..=u32::MAX as i64;
    f64, Number, Number;
    String, Text, Text;
    Uuid, Uuid, Uuid;
    Timestamp, Timestamp, Integer;
    TimestampMicros, TimestampMicros, Integer;
    Vec<u8>, Bytes, Bytes;
    BTreeSet<String>, Set, Set;
}

impl FieldValue for f32 {
    const KIND: FieldKind = FieldKind::Float;

    fn to_value(&self) -> Value {
        Value::Number(number::widened(*self))
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(number as Self),
            _ => None,
        }
    }
}

impl FieldValue for Vec<String> {
    const KIND: FieldKind = FieldKind::List;

    fn to_value(&self) -> Value {
        Value::Json(self.iter().map(String::as_str).collect())
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Json(json) => serde_json::from_value(json).ok(),
            _ => None,
        }
    }
}

impl FieldValue for Json {
    const KIND: FieldKind = FieldKind::Json;

    // JSON's `null` is the absent value, as it is in the JSON form of a row.
    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            json => Value::Json(json.clone()),
        }
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Json(json) => Some(json),
            _ => None,
        }
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    const KIND: FieldKind = T::KIND;
    const OPTIONAL: bool = {
        assert!(
            !T::OPTIONAL,
            "an Option of an Option: a field is absent in one way only"
        );
        true
    };
    const RANGE: Option<RangeInclusive<i64>> = T::RANGE;
    const VALUES: &'static [&'static str] = T::VALUES;
    const FITS: Option<Fit> = T::FITS;

    fn refers_to() -> Option<(&'static str, &'static str)> {
        T::refers_to()
    }

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

impl<T: FieldValue> From<T> for Value {
    fn from(value: T) -> Self {
        value.to_value()
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
