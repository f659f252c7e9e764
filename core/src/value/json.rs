//! [`Json`]: a field of any type that serde can write and read, stored as JSON; and maps.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as RawJson;

use super::{FieldKind, FieldValue, Value, typed::Fit};

/// A value of your own type, stored as JSON.
///
/// JSON that the type cannot be read from is refused. A value that serializes as `null` makes the
/// field absent.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings_core::{Field, FieldValue, Json};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Limits {
///     per_minute: u32,
/// }
///
/// let field = Field::of::<Json<Limits>>("limits");
/// assert!(field.from_text(r#"{"per_minute": 60}"#).is_ok());
/// assert!(field.from_text(r#"{"per_hour": 60}"#).is_err());
/// assert_eq!(Json(Limits { per_minute: 60 }).per_minute, 60);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Writes a value as JSON. A value that fails to serialize becomes absent, so it is refused
/// wherever the field is required.
fn written<T: Serialize>(value: &T) -> Value {
    match serde_json::to_value(value) {
        Ok(RawJson::Null) | Err(_) => Value::Null,
        Ok(json) => Value::Json(json),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    match value {
        Value::Json(json) => serde_json::from_value(json).ok(),
        _ => None,
    }
}

/// Returns why a type cannot be read from JSON.
fn fits<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    let Value::Json(json) = value else {
        return Ok(());
    };
    let read = T::deserialize(json);
    read.map(drop).map_err(|error| error.to_string())
}

impl<T: Serialize + DeserializeOwned> FieldValue for Json<T> {
    const KIND: FieldKind = FieldKind::Json;
    const FITS: Option<Fit> = Some(fits::<T>);

    fn to_value(&self) -> Value {
        written(&self.0)
    }

    fn from_value(value: Value) -> Option<Self> {
        read(value).map(Self)
    }
}

impl<V: Serialize + DeserializeOwned> FieldValue for BTreeMap<String, V> {
    const KIND: FieldKind = FieldKind::Map;
    const FITS: Option<Fit> = Some(fits::<Self>);

    fn to_value(&self) -> Value {
        written(self)
    }

    fn from_value(value: Value) -> Option<Self> {
        read(value)
    }
}

impl<V: Serialize + DeserializeOwned, S: BuildHasher + Default> FieldValue
    for HashMap<String, V, S>
{
    const KIND: FieldKind = FieldKind::Map;
    const FITS: Option<Fit> = Some(fits::<Self>);

    fn to_value(&self) -> Value {
        written(self)
    }

    fn from_value(value: Value) -> Option<Self> {
        read(value)
    }
}
