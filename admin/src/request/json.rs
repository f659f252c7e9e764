//! Reads JSON strictly. Refused are a key that is given twice (readers differ in which of the two
//! they take), anything after the value, a number with more digits than can be kept, and nesting
//! beyond 128 levels.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};
use tidings::core::{FieldKind, Value};

/// Reads a body that must be one JSON object.
///
/// # Errors
///
/// A message for the client that says what is wrong and where.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Json>, String> {
    match value(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(other) => Err(format!("expected a JSON object, got {}", word(&other))),
        Err(error) => Err(format!("cannot parse the body as JSON: {error}")),
    }
}

/// Reads one JSON value.
///
/// # Errors
///
/// What is wrong and where.
pub(crate) fn value(bytes: &[u8]) -> Result<Json, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict::deserialize(&mut reader).and_then(|json| reader.end().map(|()| json.0));
    let parsed = parsed.map_err(|error| error.to_string())?;
    match numbers(bytes).find(|number| !is_kept(number)) {
        Some(lost) => Err(format!("{lost} has more digits than can be kept exactly")),
        None => Ok(parsed),
    }
}

/// Returns the numbers in a text that is JSON, as they are written.
fn numbers(json: &[u8]) -> impl Iterator<Item = &str> {
    let (mut in_string, mut is_escaped) = (false, false);
    json.split(move |&byte| {
        let outside = !in_string;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
        !(outside && b"0123456789+-.eE".contains(&byte))
    })
    .filter(|part| part.iter().any(u8::is_ascii_digit))
    .filter_map(|part| std::str::from_utf8(part).ok())
}

/// Returns whether a number comes back as it was: a whole one that fits 64 bits does, another if a
/// float keeps it.
fn is_kept(number: &str) -> bool {
    number.parse::<i64>().is_ok()
        || number.parse::<u64>().is_ok()
        || Value::from_text(FieldKind::Number, number).is_ok()
}

fn word(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// A JSON value whose objects name no key twice.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("{name:?} is given twice")));
            }
            let Strict(value) = entries.next_value()?;
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_reads_as_it_was_written() {
        let written = json!({
            "a": null, "b": [true, 1, -2, 1.5, u64::MAX, "é\n"], "c": { "d": {} }
        });
        let read = object(written.to_string().as_bytes()).unwrap();
        assert_eq!(Json::Object(read), written);
    }

    #[test]
    fn a_number_that_would_come_back_as_another_is_refused() {
        for kept in [
            r#"{"a":[9007199254740993,-9223372036854775808,18446744073709551615,0.1,1e3,-0.0]}"#,
            r#"{"a":"0.12345678901234567890123","b\\":"\\\"1.000000000000000000001"}"#,
            r#"{"12345678901234567890.5":1e20}"#,
        ] {
            assert!(
                object(kept.as_bytes()).is_ok(),
                "{:?}",
                object(kept.as_bytes())
            );
        }
        for lost in [
            "99999999999999999999",
            "0.12345678901234567890123",
            "-1.00000000000000000001",
            "1e-999",
        ] {
            let refused = object(format!("{{\"a\":[[{lost}]]}}").as_bytes()).unwrap_err();
            assert!(refused.contains(lost), "{refused}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let deep = format!("{}{}", "{\"a\":[".repeat(5_000), "]}".repeat(5_000));
        let cases: [(&[u8], &str); 16] = [
            (b"", "EOF"),
            (b"{", "EOF"),
            (b"{\"a\":1", "EOF"),
            (b"{\"a\":}", "expected value"),
            (b"[]", "an array"),
            (b"[{}]", "an array"),
            (b"null", "null"),
            (b"\"a\"", "a string"),
            (b"7", "a number"),
            (b"true", "a boolean"),
            (b"{} {}", "trailing characters"),
            (b"{\"a\":1,\"a\":2}", "\"a\" is given twice"),
            (b"{\"a\":{\"b\":1,\"b\":1}}", "\"b\" is given twice"),
            (b"{\"a\":\"\xff\"}", "unicode"),
            (b"{\"a\":1e999}", "out of range"),
            (deep.as_bytes(), "recursion limit"),
        ];
        for (bytes, reason) in cases {
            let message = object(bytes).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }
}
