//! Rows and patches without their type, and what is wrong with a row that a schema refuses.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::{FieldValue, Schema, Value};

/// A row: one value per field, in the order of its schema's fields.
///
/// A missing value at the end counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// A row with every field absent.
    #[must_use]
    pub fn empty(schema: &Schema) -> Self {
        Self(vec![Value::Null; schema.fields().len()])
    }

    /// The row as a JSON object; absent fields are `null`, references are `{"id": ..}`.
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

    /// The row with a patch laid over it; an index that the row does not have is passed over.
    #[must_use]
    pub fn patched(&self, patch: &Patch) -> Self {
        let mut row = self.clone();
        for (field, value) in &patch.0 {
            if let Some(slot) = row.0.get_mut(*field) {
                slot.clone_from(value);
            }
        }
        row
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

/// New values for some fields, by index in the schema; `Null` clears a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(pub Vec<(usize, Value)>);

impl Patch {
    /// A patch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A stored row does not fit its struct: the table was written by another version, or by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a row of {entity} does not fit its struct: field {field} is absent, of another kind or out of range"
)]
pub struct RowError {
    /// The entity.
    pub entity: String,
    /// The field that does not fit.
    pub field: String,
}

/// One thing that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field; `@entity` for a rule about the row as a whole.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// All that is wrong with a row.
///
/// # Examples
///
/// ```
/// use tidings_core::Violations;
///
/// let mut violations = Violations::default();
/// violations.add("username", "required field missing");
/// violations.add("tags", "expected a set of strings");
/// assert_eq!(
///     violations.or("a row").unwrap_err().to_string(),
///     "username: required field missing; tags: expected a set of strings"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes one more.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            message: message.into(),
        });
    }

    /// The value, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// These violations, unless there are none.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
