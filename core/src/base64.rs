//! Serde's form of bytes as base64, which is also their form in the JSON of a row: for
//! `#[serde(with = "..")]` on a field of bytes. Without it serde writes an array of numbers.
//!
//! # Examples
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidings_core::Entity;
//!
//! #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
//! #[entity(name = "images")]
//! struct Image {
//!     #[entity(primary_key)]
//!     id: i64,
//!     #[serde(with = "tidings_core::base64")]
//!     data: Vec<u8>,
//! }
//!
//! let image = Image { id: 1, data: b"hi".to_vec() };
//! assert_eq!(serde_json::to_value(&image)?, image.to_row().to_json(Image::schema()));
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::value::{FieldKind, FieldValue, Value};

/// Writes bytes, or their absence.
///
/// # Errors
///
/// The serializer's.
pub fn serialize<B: FieldValue, S: Serializer>(
    bytes: &B,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.to_value().to_json().serialize(serializer)
}

/// Reads bytes, or their absence.
///
/// # Errors
///
/// The input is not base64.
pub fn deserialize<'de, B: FieldValue, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<B, D::Error> {
    let json = serde_json::Value::deserialize(deserializer)?;
    let value = Value::from_json(FieldKind::Bytes, &json).map_err(D::Error::custom)?;
    let expected = || D::Error::custom("expected bytes in base64");
    B::from_value(value).ok_or_else(expected)
}
