//! Decodes the texts of a row's image to values.

use std::{collections::BTreeSet, sync::Arc};

use tidings_core::{FieldKind, Value, log::Fields};
use uuid::Uuid;

use crate::logs::entities::LoggedEntity;

/// Which fields an image holds.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) fields: Vec<String>,
    /// Whether the image holds the whole row, and not its keys alone.
    pub(super) whole: bool,
}

/// The texts of one image.
pub(super) type Image = Vec<Option<String>>;

/// Decodes the fields of an image that the schema has; `None` if a text is not a value of its
/// field's kind.
pub(super) fn fields(known: &LoggedEntity, layout: &Layout, image: &Image) -> Option<Fields> {
    if image.len() != layout.fields.len() {
        return None;
    }
    let mut read = Vec::with_capacity(image.len());

    for (name, text) in layout.fields.iter().zip(image) {
        let Some((index, field)) = known.schema.field(name) else {
            continue;
        };
        let value = match text {
            Some(text) => value(field.kind(), text)?,
            None => Value::Null,
        };
        read.push((Arc::clone(&known.names[index]), value));
    }

    Some(if layout.whole {
        read.into_iter().collect()
    } else {
        Fields::keys_alone(read)
    })
}

/// Decodes a text as a value of a kind; `None` if it is not one.
pub(super) fn value(kind: FieldKind, text: &str) -> Option<Value> {
    match kind {
        FieldKind::Boolean => match text {
            "true" | "t" | "1" => Some(Value::Boolean(true)),
            "false" | "f" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        FieldKind::Integer | FieldKind::Timestamp | FieldKind::TimestampMicros => {
            text.parse().ok().map(Value::Integer)
        }
        FieldKind::Unsigned => text.parse().ok().map(Value::Unsigned),
        // Rust also parses PostgreSQL's NaN and Infinity. The text of a `real` is the number that
        // the store shows for it.
        FieldKind::Number | FieldKind::Float => text.parse().ok().map(Value::Number),
        FieldKind::Bytes => bytes(text).map(Value::Bytes),
        FieldKind::Text => Some(Value::Text(text.to_owned())),
        FieldKind::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
        FieldKind::Set => members(text).map(Value::Set),
        FieldKind::List | FieldKind::Map | FieldKind::Json => {
            match serde_json::from_str(text).ok()? {
                serde_json::Value::Null => Some(Value::Null),
                json => Some(Value::Json(json)).filter(|value| value.is(kind)),
            }
        }
        _ => None,
    }
}

/// Decodes bytes from PostgreSQL's hexadecimal form, `\x` and two digits for each.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let mut pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.by_ref().map(byte).collect();
    bytes.filter(|_| pairs.remainder().is_empty())
}

/// Returns the members of a set, from a JSON array or from PostgreSQL's text of a one-dimensional
/// array.
fn members(text: &str) -> Option<BTreeSet<String>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut members = BTreeSet::new();
    let mut rest = inner.chars().peekable();

    while rest.peek().is_some() {
        let mut member = String::new();
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => member.push(rest.next()?),
                    plain => member.push(plain),
                }
            }
        } else {
            while let Some(plain) = rest.next_if(|next| *next != ',') {
                match plain {
                    '{' | '}' | '"' => return None,
                    '\\' => member.push(rest.next()?),
                    plain => member.push(plain),
                }
            }

            if member.is_empty() || member == "NULL" {
                return None;
            }
        }
        members.insert(member);

        match rest.next() {
            None => break,
            Some(',') if rest.peek().is_some() => {}
            Some(_) => return None,
        }
    }

    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[&str]) -> Value {
        Value::Set(members.iter().map(|&it| it.to_owned()).collect())
    }

    #[test]
    fn arrays_are_read_as_postgresql_writes_them() {
        let read = |text| value(FieldKind::Set, text);
        assert_eq!(read("{}"), Some(set(&[])));
        assert_eq!(
            read("{a,\"b c\",\"q\\\"\\\\\",\"NULL\",\"\"}"),
            Some(set(&["a", "b c", "q\"\\", "NULL", ""]))
        );
        assert_eq!(read("[\"a\",\"b\"]"), Some(set(&["a", "b"])));
        for text in ["", "a", "{a", "{NULL}", "{a,}", "{{a},{b}}", "{\"a}", "[1]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_bits() {
        for text in [
            "-0",
            "5e-324",
            "1.7976931348623157e+308",
            "0.30000000000000004",
            "Infinity",
        ] {
            let Some(Value::Number(number)) = value(FieldKind::Number, text) else {
                panic!("{text}");
            };
            assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
        assert!(value(FieldKind::Number, "NaN").is_some());
    }
}
