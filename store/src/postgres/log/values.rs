//! Values as PostgreSQL writes them.

use tidings_core::Value;

/// A key's text, as the triggers log it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Uuid(uuid) => uuid.to_string(),
        other => other.to_json().to_string(),
    }
}
