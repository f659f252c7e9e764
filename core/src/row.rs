//! Untyped rows and patches, and the violations a schema finds in them.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What is wrong with a row, and which rule says so. Must not know rows.
mod violation;

use std::borrow::Cow;

use crate::value::Value;

pub use self::violation::{Breach, Rule, Violation, Violations};

/// A row: one value per field, in the order of its schema's fields.
///
/// A missing value at the end counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub Vec<Value>);

/// New values for some fields, by name; `Null` clears a field.
///
/// The call that takes the patch refuses a name that the schema does not have.
///
/// # Examples
///
/// ```
/// use tidings_core::{Field, Patch, Row, Schema, Value};
///
/// let schema = Schema::builder("consumers")
///     .field(Field::of::<i64>("id").primary_key())
///     .field(Field::of::<Option<String>>("username"))
///     .build();
/// let row = Row(vec![7_i64.into(), "bob".into()]);
///
/// let renamed = row.patched(&schema, &Patch::new().with("username", "eve"))?;
/// assert_eq!(renamed, Row(vec![7_i64.into(), "eve".into()]));
/// assert!(row.patched(&schema, &Patch::new().with("usrname", "eve")).is_err());
/// # Ok::<(), tidings_core::Violations>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Each name once.
    values: Vec<(Cow<'static, str>, Value)>,
}

impl Patch {
    /// Returns a patch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field's new value and returns the patch; see [`set`](Self::set).
    #[must_use]
    pub fn with(mut self, field: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.set(field, value);
        self
    }

    /// Sets a field's new value, and replaces an earlier one.
    pub fn set(&mut self, field: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let field = field.into();
        self.remove(&field);
        self.values.push((field, value.into()));
    }

    /// Removes a field from the patch and returns its new value.
    pub fn remove(&mut self, field: &str) -> Option<Value> {
        let found = self.values.iter().position(|(name, _)| name == field)?;
        Some(self.values.remove(found).1)
    }

    /// Returns a field's new value, or `None` if the patch does not change the field.
    #[must_use]
    pub fn value(&self, field: &str) -> Option<&Value> {
        let mut values = self.values.iter();
        values
            .find(|(name, _)| name == field)
            .map(|(_, value)| value)
    }

    /// Returns the fields and their values, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// Returns whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(N, V)> for Patch {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        let mut patch = Self::new();
        for (field, value) in values {
            patch.set(field, value);
        }
        patch
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
