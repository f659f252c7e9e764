//! The tokens of pages: letters, digits, `-` and `_`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::json;
use tidings_core::{PrimaryKey, Row, Schema, Value};

use super::{Direction, Ordered};

/// Makes the token of the page that follows a row: the row's primary key, and in another order,
/// before it the field and its value.
pub(super) fn token(schema: &Schema, order: Option<Ordered>, last: &Row) -> String {
    let key = schema.key_of(last).to_text();
    let name = schema.name();
    BASE64.encode(match order {
        None => format!("{name}:{key}"),
        Some(order) => {
            let value = &last.0[order.field];
            let value = (!value.is_null()).then(|| value.to_text());
            format!("{name}{}:{}", mark(schema, order), json!([value, key]))
        }
    })
}

/// Returns the mark of an order in a token. No name of an entity contains such characters.
fn mark(schema: &Schema, order: Ordered) -> String {
    let direction = match order.direction {
        Direction::Ascending => '+',
        Direction::Descending => '-',
    };
    format!("{direction}{}", schema.fields()[order.field].name())
}

/// Reads the value of the order's field, and the primary key, from a token; `None` if it is not a
/// token of this entity in this order.
pub(super) fn read_token(
    schema: &Schema,
    order: Option<Ordered>,
    token: &str,
) -> Option<(Option<Value>, PrimaryKey)> {
    let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
    let rest = text.strip_prefix(schema.name())?;
    let read =
        |field: usize, text: &str| Value::from_key_text(schema.fields()[field].kind(), text).ok();
    let key = |text: &str| schema.stored_key_from_text(text).ok();
    let Some(order) = order else {
        return Some((None, key(rest.strip_prefix(':')?)?));
    };

    let rest = rest.strip_prefix(&mark(schema, order))?.strip_prefix(':')?;
    let (value, last): (Option<String>, String) = serde_json::from_str(rest).ok()?;
    let value = match value {
        Some(text) => read(order.field, &text)?,
        None => Value::Null,
    };
    Some((Some(value), key(&last)?))
}

#[cfg(test)]
mod tests {
    use tidings_core::Field;

    use super::*;

    fn schema(name: &str) -> Schema {
        Schema::builder(name)
            .field(Field::of::<String>("id").primary_key())
            .build()
    }

    #[test]
    fn a_token_leads_back_to_its_key_and_serves_no_other_entity() {
        let schema_a = schema("a");
        for text in ["x", "a:b", "\"quoted\"", "\u{1F980} /?&=", "%00"] {
            let last = Value::Text(text.to_owned());
            let token = token(&schema_a, None, &Row(vec![last.clone()]));
            let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(token.chars().all(safe), "{token}");
            assert_eq!(
                read_token(&schema_a, None, &token),
                Some((None, last.into()))
            );
            assert_eq!(read_token(&schema("b"), None, &token), None);
            assert_eq!(read_token(&schema_a, None, &token[1..]), None);
            let order = Ordered {
                field: 0,
                direction: Direction::Ascending,
            };
            assert_eq!(read_token(&schema_a, Some(order), &token), None);
        }
        for token in ["", "!", "Yg", "\u{0}"] {
            let read = read_token(&schema_a, None, token);
            assert!(read.is_none(), "{token:?} is {read:?}");
        }
    }

    #[test]
    fn a_token_holds_every_part_of_a_key() {
        let schema = Schema::builder("a")
            .field(Field::of::<String>("shelf").primary_key())
            .field(Field::of::<i64>("place").primary_key())
            .build();
        let order = Ordered {
            field: 1,
            direction: Direction::Descending,
        };
        // A control character, which no write of ours would store, works too.
        for shelf in ["x", "a:b", "%3A", "\u{1}", ""] {
            let last = Row(vec![shelf.into(), Value::Integer(7)]);
            let key = schema.key_of(&last);
            let token_of = |order| token(&schema, order, &last);
            assert_eq!(
                read_token(&schema, None, &token_of(None)),
                Some((None, key.clone()))
            );
            assert_eq!(
                read_token(&schema, Some(order), &token_of(Some(order))),
                Some((Some(Value::Integer(7)), key))
            );
        }
        for other in ["a:x", "a:x:7:8", "a:x:007", "a:%78:7"] {
            let read = read_token(&schema, None, &BASE64.encode(other));
            assert_eq!(read, None, "{other}");
        }
    }

    #[test]
    fn a_token_of_another_spelling_of_a_key_is_not_one() {
        let schema = Schema::builder("a")
            .field(Field::of::<i64>("id").primary_key())
            .build();
        let written = |last: &str| {
            let read = read_token(&schema, None, &BASE64.encode(format!("a:{last}")));
            read.map(|(_, key)| key)
        };
        assert_eq!(written("7"), Some(Value::Integer(7).into()));
        for other in ["007", "+7", "-0", " 7", ""] {
            assert_eq!(written(other), None, "{other:?}");
        }
    }
}
