//! Reading a JSON object, strictly: a key that stands twice is refused, since readers differ in which of the two
//! they take, and so is anything after the object. Nesting beyond 128 levels is refused by the parser.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

/// Reads a body that must be one JSON object.
///
/// # Errors
///
/// A message for the client that says what is wrong and where.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Json>, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict::deserialize(&mut reader).and_then(|json| reader.end().map(|()| json.0));
    match parsed {
        Ok(Json::Object(object)) => Ok(object),
        Ok(other) => Err(format!("expected a JSON object, and got {}", word(&other))),
        Err(error) => Err(format!("cannot parse the body as JSON: {error}")),
    }
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
                return Err(de::Error::custom(format_args!("{name:?} stands twice")));
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

    /// AD5
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
            (b"{\"a\":1,\"a\":2}", "\"a\" stands twice"),
            (b"{\"a\":{\"b\":1,\"b\":1}}", "\"b\" stands twice"),
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
