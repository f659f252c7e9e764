//! [`Key`]: the SQL that writes the primary key of a row to the log, and compares it.
//!
//! A key of one field is its value. A key of several fields is a text: the bytes of each part in
//! hexadecimal, separated by full stops. So different keys never have the same text, and no value
//! of a part can make it fail. Readers take the parts from the recorded fields.

use tidings_core::{PrimaryKey, Schema};

use super::names::identifier;
use crate::parameter::Parameter;

/// The fields of a primary key.
#[derive(Clone, Debug)]
pub(super) struct Key<'a>(Vec<&'a str>);

impl<'a> Key<'a> {
    pub(super) fn of(schema: &'a Schema) -> Self {
        Self(schema.primary_key_names())
    }

    pub(super) fn names(&self) -> &[&'a str] {
        &self.0
    }

    /// Returns whether it is one field.
    pub(super) fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// Returns the key of a row, as the log holds it.
    pub(super) fn of_row(&self, row: &str) -> String {
        let columns = self.0.iter();
        written(columns.map(|name| format!("{row}.{}", identifier(name))))
    }

    /// Returns the condition that two rows have the same key.
    pub(super) fn same(&self, one: &str, other: &str) -> String {
        let equal = self.0.iter().map(|name| {
            let name = identifier(name);
            format!("{one}.{name} IS {other}.{name}")
        });
        self.all(equal)
    }

    /// Returns the condition that two rows have different keys.
    pub(super) fn different(&self, one: &str, other: &str) -> String {
        match &self.0[..] {
            [name] => {
                let name = identifier(name);
                format!("{one}.{name} IS NOT {other}.{name}")
            }
            _ => format!("NOT {}", self.same(one, other)),
        }
    }

    /// Returns the condition that a row has the old key in a record's side table.
    pub(super) fn same_as_old(&self, row: &str, side: &str) -> String {
        let equal = self.0.iter().map(|name| {
            let old = identifier(&format!("old_{name}"));
            format!("{row}.{} IS {side}.{old}", identifier(name))
        });
        self.all(equal)
    }

    fn all(&self, conditions: impl Iterator<Item = String>) -> String {
        let conditions: Vec<_> = conditions.collect();
        match &conditions[..] {
            [condition] => condition.clone(),
            conditions => format!("({})", conditions.join(" AND ")),
        }
    }
}

/// Returns the key with these parts, as the log holds it.
pub(super) fn written(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<_> = parts.into_iter().collect();
    match &parts[..] {
        [part] => part.clone(),
        parts => {
            let parts: Vec<_> = parts.iter().map(|part| format!("hex({part})")).collect();
            parts.join(" || '.' || ")
        }
    }
}

/// Returns a primary key as parameters of a statement, one for each part.
pub(super) fn parameters<'a>(
    schema: &Schema,
    key: &'a PrimaryKey,
) -> impl Iterator<Item = Parameter<'a>> {
    let fields = schema.primary_key_fields();
    fields
        .zip(key.parts())
        .map(|(field, part)| Parameter::of(field, part))
}
