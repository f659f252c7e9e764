//! The entity tag of a row.
//!
//! It is a digest of the whole row, preceded by the version if the entity has one. So it changes
//! with every change of the row, including writes of other programs and a new row under the same
//! key, and it is the same on every node.

use sha2::{Digest as _, Sha256};
use tidings::core::{Row, Schema};

use crate::request::condition::Tag;

/// How much of the digest is shown: 96 bits.
const BYTES: usize = 12;

/// Returns the tag of a row as it is stored.
pub(crate) fn of(schema: &Schema, row: &Row) -> Tag {
    let digest = Sha256::digest(row.to_json(schema).to_string());
    let mut opaque = String::new();
    if let Some(version) = schema.version() {
        opaque.push_str(&row.0[version].to_text());
        opaque.push('-');
    }

    for byte in digest.iter().take(BYTES) {
        opaque.push_str(&format!("{byte:02x}"));
    }
    Tag::new(opaque)
}
