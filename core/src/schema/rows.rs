//! Rows by the fields of a schema.

use serde_json::{Map, Value as Json};

use super::{Schema, field::MASK};
use crate::{
    primary_key::PrimaryKey,
    row::{Patch, Row, RowError, Rule, Violations},
    value::{FieldValue, Value},
};

impl Schema {
    /// Returns the primary key of a row.
    #[must_use]
    pub fn key_of(&self, row: &Row) -> PrimaryKey {
        let value = |field: &usize| row.0.get(*field).cloned().unwrap_or_default();
        match self.primary_key() {
            [field] => PrimaryKey::from(value(field)),
            fields => PrimaryKey::of(fields.iter().map(value).collect()),
        }
    }

    /// Returns a primary key as it may be shown: parts that are secrets are masked.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, PrimaryKey, Schema};
    ///
    /// let schema = Schema::builder("grants")
    ///     .field(Field::of::<i64>("tenant").primary_key())
    ///     .field(Field::of::<String>("token").secret().primary_key())
    ///     .build();
    /// let key = PrimaryKey::of(vec![7_i64.into(), "abcd".into()]);
    /// assert_eq!(schema.shown_key(&key).to_text(), "7:***");
    /// ```
    #[must_use]
    pub fn shown_key(&self, key: &PrimaryKey) -> PrimaryKey {
        let mut fields = self.primary_key_fields();
        let shown = key.parts().iter().map(|part| match fields.next() {
            Some(field) => field.shown(part),
            // A part of which the field is not known may be a secret.
            None => MASK.into(),
        });
        PrimaryKey::of(shown.collect())
    }

    /// Returns whether two rows have the same primary key.
    #[must_use]
    pub fn is_same_row(&self, one: &Row, other: &Row) -> bool {
        let mut key = self.primary_key().iter();
        key.all(|&field| one.0.get(field) == other.0.get(field))
    }
}

impl Row {
    /// Makes a row with every field absent.
    #[must_use]
    pub fn empty(schema: &Schema) -> Self {
        Self(vec![Value::Null; schema.fields().len()])
    }

    /// Returns the row as a JSON object; absent fields are `null`, references are `{"id": ..}`.
    #[must_use]
    pub fn to_json(&self, schema: &Schema) -> Json {
        let object: Map<_, _> = schema
            .fields()
            .iter()
            .zip(&self.0)
            .map(|(field, value)| (field.name().to_owned(), field.to_json(value)))
            .collect();
        Json::Object(object)
    }

    /// Returns the row as [`to_json`](Self::to_json) makes it, with secrets masked: for whatever
    /// shows rows beside their own answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Row, Schema};
    ///
    /// let schema = Schema::builder("tokens")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("token").secret())
    ///     .build();
    /// let row = Row(vec![7_i64.into(), "abcd".into()]);
    /// assert_eq!(row.to_shown_json(&schema), serde_json::json!({"id": 7, "token": "***"}));
    /// ```
    #[must_use]
    pub fn to_shown_json(&self, schema: &Schema) -> Json {
        let shown = schema.fields().iter().zip(&self.0);
        let shown = shown.map(|(field, value)| field.shown(value));
        Self(shown.collect()).to_json(schema)
    }

    /// Returns the row with a patch laid over it.
    ///
    /// # Errors
    ///
    /// One violation for each field that the schema does not have. Values are not checked:
    /// [`Schema::complete_insert`] and [`Schema::complete_update`] do that for the whole row.
    pub fn patched(&self, schema: &Schema, patch: &Patch) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let mut row = self.clone();
        row.0.resize(schema.fields().len(), Value::Null);

        for (name, value) in patch.iter() {
            match schema.field(name) {
                Some((index, _)) => row.0[index].clone_from(value),
                None => violations.add(name, Rule::Unknown, "unknown field"),
            }
        }

        violations.or(row)
    }

    /// Takes one field's value out as its Rust type and leaves it absent; what derived code calls.
    ///
    /// # Errors
    ///
    /// The value is absent where the type cannot be, of another kind, or out of range.
    pub fn take<T: FieldValue>(&mut self, index: usize, schema: &Schema) -> Result<T, RowError> {
        let value = self.0.get_mut(index).map_or(Value::Null, std::mem::take);
        T::from_value(value).ok_or_else(|| {
            let field = schema.fields().get(index);
            RowError {
                entity: schema.name().to_owned(),
                field: field.map_or_else(|| format!("#{index}"), |field| field.name().to_owned()),
            }
        })
    }
}
