//! From the text of a cache key back to the lookup that makes it, and from that of a primary key
//! back to its values.

use super::{Field, Schema};
use crate::{
    primary_key::PrimaryKey,
    row::{Breach, Rule},
    value::{FieldKind, Value},
};

impl Schema {
    /// Returns the fields of the [lookup](Self::lookups) that makes a key of this text, and the
    /// values that it makes it of; `None` where no lookup of this entity does. Whatever it returns,
    /// [`lookup_key`](Self::lookup_key) makes exactly this text of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("credentials")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("key").unique())
    ///     .field(Field::of::<String>("serial").unique())
    ///     .cache_key(&["key"])
    ///     .build();
    /// let lookup = |key| schema.lookup_of_key(key);
    /// assert_eq!(lookup("credentials:a%3Ab"), Some((vec!["key"], vec!["a:b".into()])));
    /// assert_eq!(lookup("credentials@7"), Some((vec!["id"], vec![7_i64.into()])));
    /// assert_eq!(lookup("credentials@serial:x"), Some((vec!["serial"], vec!["x".into()])));
    /// assert_eq!(lookup("credentials@007"), None); // no lookup writes it so
    /// assert_eq!(lookup("credentials:a:b"), None);
    /// ```
    #[must_use]
    pub fn lookup_of_key(&self, key: &str) -> Option<(Vec<&str>, Vec<Value>)> {
        let rest = key.strip_prefix(self.name.as_str())?;
        let (names, parts): (Vec<&str>, _) = match rest.strip_prefix('@') {
            None => {
                let names = self.cache_key_fields().iter().map(String::as_str);
                (names.collect(), rest.strip_prefix(':')?)
            }
            // A colon in a part is encoded: there is none in the key of a primary key of one part.
            // Before that of several there is no name.
            Some(rest) => match rest.split_once(':') {
                Some(("", parts)) => (self.primary_key_names(), parts),
                Some((names, parts)) => (names.split('@').collect(), parts),
                None => (vec![self.fields[self.single_key()?].name()], rest),
            },
        };

        let parts: Vec<_> = parts.split(':').collect();
        if parts.len() != names.len() {
            return None;
        }

        let mut fields = Vec::new();
        let mut values = Vec::new();
        for (name, part) in names.into_iter().zip(parts) {
            let (_, field) = self.field(name)?;
            fields.push(field.name());
            values.push(value(field.kind(), part)?);
        }

        // Names and spellings that no builder of keys uses lead nowhere.
        let made = self.lookup_key(&fields, &values)?;
        (made.as_str() == key).then_some((fields, values))
    }

    /// Reads the text that names a row in a path or a page token: the value of the primary key, or
    /// the values of its fields with colons between them, each written as in a cache key. Only
    /// the spelling counts that [`PrimaryKey::to_text`] makes.
    ///
    /// # Errors
    ///
    /// What was expected: the names of the parts, what is wrong with one of them, or the right
    /// spelling.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("stocks")
    ///     .field(Field::of::<String>("shelf").primary_key())
    ///     .field(Field::of::<i64>("place").primary_key())
    ///     .build();
    /// let key = schema.key_from_text("a%3A1:7").map_err(|breach| breach.message)?;
    /// assert_eq!(key.parts(), ["a:1".into(), 7_i64.into()]);
    ///
    /// let refused = |text| schema.key_from_text(text).unwrap_err().to_string();
    /// assert_eq!(refused("a1"), "expected shelf:place");
    /// assert_eq!(refused("a1:007"), "place: expected an integer, written as 7");
    /// assert_eq!(refused("%611:7"), "expected shelf:place, written as a1:7");
    /// # Ok::<(), String>(())
    /// ```
    pub fn key_from_text(&self, text: &str) -> Result<PrimaryKey, Breach> {
        self.read_key(text, Field::from_key_text)
    }

    /// Reads the text of a primary key as [`key_from_text`](Self::key_from_text) does, whatever the
    /// rules of its fields are beyond their kinds: a row that another program has written may break
    /// them.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn stored_key_from_text(&self, text: &str) -> Result<PrimaryKey, Breach> {
        let wrong = |message| Breach::new(Rule::Kind, message);
        self.read_key(text, |field, text| {
            Value::from_key_text(field.kind(), text).map_err(wrong)
        })
    }

    fn read_key(
        &self,
        text: &str,
        read: impl Fn(&Field, &str) -> Result<Value, Breach>,
    ) -> Result<PrimaryKey, Breach> {
        if let Some(field) = self.single_key() {
            return read(&self.fields[field], text).map(PrimaryKey::from);
        }

        let expected = || format!("expected {}", self.primary_key_names().join(":"));
        let wrong = |message: String| Breach::new(Rule::Kind, message);
        let texts: Vec<_> = text.split(':').collect();
        if texts.len() != self.primary_key().len() {
            return Err(wrong(expected()));
        }

        let part = |(field, text): (&Field, &str)| {
            let text = decoded(text).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| wrong(expected()))?;
            read(field, &text).map_err(|breach| {
                let message = format!("{}: {}", field.name(), breach.message);
                Breach::new(breach.rule, message)
            })
        };

        let parts = self.primary_key_fields().zip(texts).map(part);
        let key = PrimaryKey::of(parts.collect::<Result<_, _>>()?);
        let canonical = key.to_text();
        if canonical == text {
            Ok(key)
        } else {
            Err(wrong(format!("{}, written as {canonical}", expected())))
        }
    }
}

/// Reads a part of a key.
fn value(kind: FieldKind, part: &str) -> Option<Value> {
    if part == "~" {
        return Some(Value::Null);
    }
    let bytes = decoded(part)?;
    if kind == FieldKind::Bytes {
        return Some(Value::Bytes(bytes));
    }
    let text = String::from_utf8(bytes).ok()?;
    Value::from_key_text(kind, &text).ok()
}

/// Returns the bytes of a part, of which some are written as `%` and two digits.
fn decoded(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }

    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{key::CacheKey, schema::Field};

    fn schema() -> Schema {
        Schema::builder("things")
            .field(Field::of::<Uuid>("id").primary_key())
            .field(Field::of::<Option<String>>("name").unique())
            .field(Field::of::<Option<i64>>("number"))
            .field(Field::of::<bool>("on"))
            .field(Field::of::<Vec<u8>>("digest").unique())
            .cache_key(&["name", "number"])
            .cache_key(&["number", "on"])
            .build()
    }

    fn all(schema: &Schema, text: &Option<String>, number: Option<i64>, digest: &[u8]) {
        let text = text.clone().map_or(Value::Null, Value::Text);
        let number = number.map_or(Value::Null, Value::Integer);
        let id = Value::Uuid(Uuid::from_u128(7));
        let digest = Value::Bytes(digest.to_vec());
        for (fields, values) in [
            (vec!["name", "number"], vec![text.clone(), number.clone()]),
            (vec!["number", "on"], vec![number, Value::Boolean(true)]),
            (vec!["name"], vec![text]),
            (vec!["digest"], vec![digest]),
            (vec!["id"], vec![id]),
        ] {
            let key = schema.lookup_key(&fields, &values).expect("a lookup");
            let found = schema.lookup_of_key(key.as_str());
            assert_eq!(found, Some((fields, values)), "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_of_a_lookup_leads_back_to_it(
            text in prop::option::of("[:%~@a\u{1}é ]{0,6}"),
            number in any::<Option<i64>>(),
            digest in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            all(&schema(), &text, number, &digest);
        }

        #[test]
        fn no_text_leads_to_a_lookup_that_makes_another(text in "things[:@~%a-z0-9+]{0,24}") {
            let schema = schema();
            if let Some((fields, values)) = schema.lookup_of_key(&text) {
                let key = schema.lookup_key(&fields, &values).expect("a lookup");
                prop_assert_eq!(key, CacheKey::from_text(&text));
            }
        }
    }

    #[test]
    fn a_text_that_no_lookup_makes_leads_nowhere() {
        let schema = schema();
        for text in [
            "",
            "things",
            "thing:a:7",
            "things:a",
            "things:a:007",
            "things:a:+7",
            "things:a:7:8",
            "things:%61:7",
            "things:%3a:7",
            "things:%:7",
            "things:%7:7",
            "things@x",
            "things@00000000-0000-0000-0000-00000000000A",
            "things@on:true",
            "things@name@number:a:7",
            "things@other:a",
            "things of another:a:7",
        ] {
            assert_eq!(schema.lookup_of_key(text), None, "{text}");
        }
    }
}
