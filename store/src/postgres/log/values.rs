//! Writes values in the form of PostgreSQL's triggers.

use tidings_core::{PrimaryKey, Value};

/// Returns a value's text, as the triggers log it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Bytes(bytes) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("\\x{}", digits.collect::<String>())
        }
        // JSON cannot represent some numbers, and writes negative zero differently.
        Value::Number(number) => number.to_string(),
        other => other.to_json().to_string(),
    }
}

/// Returns a primary key as the log holds it: the text of its value, or of an array of the texts of
/// its parts, as PostgreSQL writes an array.
pub(super) fn text_of_key(key: &PrimaryKey) -> String {
    if let Some(value) = key.single() {
        return text_of(value);
    }

    let parts = key.parts().iter().map(|part| {
        let text = text_of(part);
        let is_special = |letter: char| matches!(letter, '"' | '\\' | '{' | '}' | ',');
        // What PostgreSQL treats as white space.
        let is_blank = |letter: char| letter == ' ' || ('\t'..='\r').contains(&letter);
        let is_plain = !text.is_empty() && !text.eq_ignore_ascii_case("null");
        if is_plain && !text.contains(|letter| is_special(letter) || is_blank(letter)) {
            return text;
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

/// Returns a number of the log as a PostgreSQL integer.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
