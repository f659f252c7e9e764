//! Writes values as the triggers of PostgreSQL write them.

use tidings_core::Value;

/// Returns a value's text, as the triggers log it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Bytes(bytes) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("\\x{}", digits.collect::<String>())
        }
        // JSON has no word for some numbers, and another one for zero below zero.
        Value::Number(number) => number.to_string(),
        other => other.to_json().to_string(),
    }
}

/// Returns a number of the log's as PostgreSQL takes it.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
