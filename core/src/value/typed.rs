//! [`FieldValue`]: the Rust types that a field can have.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::Value as Json;
use uuid::Uuid;

use super::{FieldKind, Value};
use crate::timestamp::Timestamp;

/// A Rust type that a field can have.
///
/// It is implemented for `bool`, `i64`, `i32`, `u32`, `f64`, `String`, `Uuid`, [`Timestamp`],
/// `BTreeSet<String>`, `serde_json::Value`, [`Ref`](crate::Ref) and an `Option` of each. A newtype
/// of yours can implement it too; its serde form must then be that of [`to_value`](Self::to_value).
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
    note = "a field is a `bool`, `i64`, `i32`, `u32`, `f64`, `String`, `Uuid`, `Timestamp`, `BTreeSet<String>`, \
            `serde_json::Value` or `Ref<X>`, or an `Option` of one of these"
)]
pub trait FieldValue: Sized {
    /// The kind its values are of.
    const KIND: FieldKind;
    /// Whether it has a value for "absent".
    const OPTIONAL: bool = false;
    /// The whole numbers that it can hold, where these are fewer than an `i64` can.
    const RANGE: Option<RangeInclusive<i64>> = None;

    /// The entity and the primary key that its values refer to; `None` unless it is a
    /// [`Ref`](crate::Ref).
    #[must_use]
    fn refers_to() -> Option<(&'static str, &'static str)> {
        None
    }

    /// The value without its type.
    #[must_use]
    fn to_value(&self) -> Value;

    /// Takes a value back; `None` if it is of another kind, absent where it must not be, or out of
    /// range.
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
    i32, Integer, Integer, i32::MIN as i64..=i32::MAX as i64;
    u32, Integer, Integer, 0..=u32::MAX as i64;
    f64, Number, Number;
    String, Text, Text;
    Uuid, Uuid, Uuid;
    Timestamp, Timestamp, Integer;
    BTreeSet<String>, Set, Set;
}

impl FieldValue for Json {
    const KIND: FieldKind = FieldKind::Json;

    /// JSON's `null` is the absent value, as it is in the JSON form of a row.
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

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
