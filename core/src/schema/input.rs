//! Turns the input of clients into rows: reads JSON by a schema, makes absent values, and checks
//! the whole row.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{Auto, Field, Schema};
use crate::{
    row::{Patch, Row, Rule, Violations},
    timestamp::TimestampMicros,
    value::{FieldKind, Value},
};

/// The letters of a text made by [`Auto::Random`].
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The length of such a text; 62^32 is more than 2^190.
const RANDOM_TEXT: usize = 32;

impl Schema {
    /// Reads the fields that a JSON object names; `null` clears one.
    ///
    /// Fields that it does not name are no error here: [`complete_insert`](Self::complete_insert)
    /// says which of them are missing.
    ///
    /// # Errors
    ///
    /// One violation for each unknown field and each value that its field cannot hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tidings_core::{Field, Schema, Timestamp};
    /// use uuid::Uuid;
    ///
    /// let schema = Schema::builder("consumers")
    ///     .field(Field::of::<Uuid>("id").primary_key())
    ///     .field(Field::of::<String>("username").unique())
    ///     .build();
    /// let body = json!({"nmae": "bob", "username": 7});
    /// let violations = schema.patch_from_json(body.as_object().unwrap()).unwrap_err();
    /// assert_eq!(violations.to_string(), "nmae: unknown field; username: expected a string");
    /// ```
    pub fn patch_from_json(&self, object: &Map<String, Json>) -> Result<Patch, Violations> {
        let mut violations = Violations::default();
        let mut patch = Patch::default();
        for (name, json) in object {
            let Some((_, field)) = self.field(name) else {
                violations.add(name, Rule::Unknown, "unknown field");
                continue;
            };
            match field.from_json(json) {
                Ok(value) => patch.set(name.clone(), value),
                Err(breach) => violations.broken(name, breach),
            }
        }

        violations.or(patch)
    }

    /// Makes the absent values of a row that is about to be inserted, and checks it.
    ///
    /// Only an absent value is made, whatever the given ones are; a row taken from a struct goes
    /// through [`leave_unset`](Self::leave_unset) first. A time of update and a version are always
    /// made. A row of fewer values than the schema has fields lacks the last ones.
    ///
    /// # Errors
    ///
    /// One violation for each required field without a value and each rule that is broken.
    pub fn complete_insert(
        &self,
        mut row: Row,
        now: impl Into<TimestampMicros>,
    ) -> Result<Row, Violations> {
        let now = now.into();
        row.0.resize(self.fields.len(), Value::Null);

        for (field, value) in self.fields.iter().zip(&mut row.0) {
            match field.auto_value() {
                Some(Auto::UpdateTime) => *value = time(field.kind(), now),
                Some(Auto::Version) => *value = Value::Integer(1),
                Some(Auto::CreateTime) if value.is_null() => {
                    *value = time(field.kind(), now);
                }
                Some(Auto::Random) if value.is_null() => *value = random(field.kind()),
                _ => {}
            }

            if value.is_null()
                && let Some(default) = field.default_value()
            {
                value.clone_from(default);
            }
        }

        self.checked(row)
    }

    /// Makes the values absent that a struct left to be made: a nil UUID, an empty text or a zero
    /// timestamp in a field whose values are made. A struct whose field is no `Option` has no other
    /// way to say so. Clients can leave a field out, so their values are taken as they are.
    #[must_use]
    pub fn leave_unset(&self, mut row: Row) -> Row {
        for (field, value) in self.fields.iter().zip(&mut row.0) {
            if field.is_made() && is_unset(value) {
                *value = Value::Null;
            }
        }
        row
    }

    /// Notes the time of an update in a row that is about to be stored over another, and checks it.
    ///
    /// Nothing else is made: a field that the update clears is absent afterwards, or refused where
    /// it must be set.
    ///
    /// # Errors
    ///
    /// As [`complete_insert`](Self::complete_insert).
    pub fn complete_update(
        &self,
        mut row: Row,
        now: impl Into<TimestampMicros>,
    ) -> Result<Row, Violations> {
        let now = now.into();
        row.0.resize(self.fields.len(), Value::Null);
        for (field, value) in self.fields.iter().zip(&mut row.0) {
            if field.auto_value() == Some(Auto::UpdateTime) {
                *value = time(field.kind(), now);
            }
        }
        self.checked(row)
    }

    /// Sets the version of a row that is about to be stored over another to the next one, if the
    /// entity's rows have versions.
    pub fn count_up(&self, old: &Row, new: &mut Row) {
        let Some(version) = self.version() else {
            return;
        };

        let before = match old.0.get(version) {
            Some(Value::Integer(before)) => *before,
            _ => 0,
        };
        if let Some(value) = new.0.get_mut(version) {
            *value = Value::Integer(before.saturating_add(1));
        }
    }

    /// Checks that a row which is about to be stored over another keeps what cannot change.
    ///
    /// # Errors
    ///
    /// One violation for each immutable field, the primary key among them, whose value differs.
    pub fn check_kept(&self, old: &Row, new: &Row) -> Result<(), Violations> {
        let mut violations = Violations::default();
        let values = old.0.iter().zip(&new.0);
        for (field, (old, new)) in self.fields.iter().zip(values) {
            if field.is_primary_key() && old != new {
                let message = "the primary key cannot be changed";
                violations.add(field.name(), Rule::Immutable, message);
            } else if field.is_immutable() && old != new {
                violations.add(field.name(), Rule::Immutable, "cannot be changed");
            }
        }

        violations.or(())
    }

    fn checked(&self, row: Row) -> Result<Row, Violations> {
        let mut violations = Violations::default();
        for (field, value) in self.fields.iter().zip(&row.0) {
            if value.is_null() && !field.is_optional() {
                violations.add(field.name(), Rule::Required, "required field missing");
            } else if let Err(breach) = field.check(value) {
                violations.broken(field.name(), breach);
            }
        }

        for names in &self.at_least_one_of {
            let is_set = |name: &String| {
                self.field(name)
                    .and_then(|(index, _)| row.0.get(index))
                    .is_some_and(|value| !value.is_null())
            };

            if !names.iter().any(is_set) {
                let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
                violations.add(
                    "@entity",
                    Rule::AtLeastOneOf,
                    format!(
                        "at least one of these fields must be non-empty: {}",
                        names.join(", ")
                    ),
                );
            }
        }

        // Functions of the application see only rows whose fields are right by themselves.
        if violations.is_empty() {
            for check in &self.checks {
                if let Err(objections) = check.run(&row) {
                    violations.0.extend(objections.0);
                }
            }
        }

        violations.or(row)
    }
}

impl Field {
    /// Makes a value as [`Auto::Random`] does, where the field's are made so.
    #[must_use]
    pub fn random(&self) -> Option<Value> {
        let is_random = self.auto_value() == Some(Auto::Random);
        is_random.then(|| random(self.kind()))
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Integer(0) => true,
        Value::Uuid(uuid) => uuid.is_nil(),
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

fn time(kind: FieldKind, now: TimestampMicros) -> Value {
    match kind {
        FieldKind::TimestampMicros => Value::Integer(now.as_micros()),
        _ => Value::Integer(now.seconds().as_unix()),
    }
}

fn random(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Uuid => Value::Uuid(Uuid::new_v4()),
        FieldKind::Text => Value::Text(random_text()),
        // `check_all` refuses `auto` on other kinds.
        _ => Value::Null,
    }
}

/// Makes a random text of letters and digits, each equally likely: a byte that would favour the
/// first ones is thrown away.
fn random_text() -> String {
    let fair = u8::MAX - u8::MAX % LETTERS.len() as u8;

    // Bytes 6 and 8 of a version 4 UUID hold fixed bits; the others are random.
    let bytes = std::iter::repeat_with(|| *Uuid::new_v4().as_bytes())
        .flat_map(|bytes| bytes.into_iter().enumerate())
        .filter(|(index, _)| !matches!(index, 6 | 8))
        .map(|(_, byte)| byte);
    bytes
        .filter(|byte| *byte < fair)
        .map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
        .take(RANDOM_TEXT)
        .collect()
}
