//! [`Words`]: how each engine words the statements that make and change tables.

use std::{collections::BTreeMap, fmt};

use tidings_core::{Field, FieldKind, Schema, Value};

use super::{
    finding::{Change, Finding, Group},
    there::{IndexThere, Named, Table},
};
use crate::engine::statements::uniques;

/// What the names of our indexes begin with.
const PURPOSES: [&str; 4] = ["unique:", "foreign:", "key:", "expiry:"];

/// The words of one engine: its types, its literals, and its statements about tables.
pub(crate) trait Words: fmt::Debug + Send + Sync {
    /// Returns the type of a column that is made for a kind.
    fn column_type(&self, kind: FieldKind) -> &'static str;

    /// Returns whether a column of a declared type holds what a field can, and nothing that it
    /// cannot show.
    fn holds(&self, field: &Field, declared: &str) -> bool;

    /// Returns how the values of a column of a declared type become those of a field, none of them
    /// lost.
    fn widening(&self, field: &Field, declared: &str) -> Option<Widening>;

    /// Returns a value as SQL writes it; none for an absent one.
    fn literal(&self, value: &Value) -> Option<String>;

    /// Returns whether a default that is there is this value.
    fn is_default(&self, there: &str, value: &Value) -> bool;

    /// Returns the name of an index, which says what it is for.
    fn index_name(&self, purpose: &str, table: &str, fields: &[&str]) -> String;

    /// Returns whether references can be added to columns that are there.
    fn references(&self) -> Adds;

    /// Returns a column as text, to be compared with one of another type.
    fn as_text(&self, column: &str) -> String;

    /// Returns whether a change makes the whole table again.
    fn rebuilds(&self, change: &Change, schema: &Schema) -> bool;

    /// Returns the condition of rows that a table made again could not take, because a column holds
    /// what its type does not say.
    fn misfit(&self, field: &Field, table: &Table) -> Option<String>;

    /// Returns the same for a column that the schema does not know, with the type that it would
    /// have.
    fn misfit_kept(&self, name: &str, table: &Table) -> Option<(String, &'static str)>;

    /// Returns who waits while an index is made, for a line of a plan.
    fn waits_for_index(&self, is: IndexIs) -> &'static str;

    /// Returns the statements for what was found in one table.
    fn groups(&self, schema: &Schema, there: &Named, findings: &[&Finding]) -> Vec<Group>;
}

/// When something can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adds {
    AtAnyTime,
    /// Only when its table or its column is made.
    WithItsColumn,
}

/// How an index comes to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexIs {
    New,
    /// Beside the one that has its name, which then goes.
    Replaced,
    /// Once the one that has its name is gone.
    DroppedFirst,
}

/// How values of one type become those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Widening {
    /// The new value, of the old one.
    pub(crate) using: String,
    /// The condition of rows whose value the new type cannot hold.
    pub(crate) unless: Option<String>,
}

/// Writes a name as an identifier, quoted.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns whether a table with rows can be given the column.
pub(crate) fn is_addable(field: &Field) -> bool {
    let has_value = field.is_optional() || field.column_default().is_some();
    has_value && !field.is_primary_key()
}

/// Returns whether an index is one of ours, by its name.
pub(crate) fn is_ours(index: &str) -> bool {
    PURPOSES.iter().any(|purpose| index.starts_with(purpose))
}

/// An index that a schema asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) fields: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) sql: String,
}

impl Index {
    /// Returns whether one that is there does what this one is for.
    pub(crate) fn is_as(&self, there: &IndexThere) -> bool {
        there.is_whole && there.unique == self.unique && there.fields == self.fields
    }

    /// Returns whether one that is there, by whatever name, holds these columns unique.
    pub(crate) fn is_held_by(&self, there: &IndexThere) -> bool {
        let has = |field| there.fields.contains(field);
        let is_over_these = there.fields.len() == self.fields.len() && self.fields.iter().all(has);
        there.is_whole && there.unique && is_over_these
    }
}

/// Returns the indexes of a schema by name: for what is unique, for what refers (nested lists and
/// cascades must not scan), for what expires, and for a cache key of several fields.
pub(crate) fn wanted_indexes(words: &dyn Words, schema: &Schema) -> BTreeMap<String, Index> {
    let mut indexes = BTreeMap::new();
    let mut add = |purpose: &str, fields: &[&str], unique: bool| {
        let name = words.index_name(purpose, schema.name(), fields);
        let columns: Vec<_> = fields.iter().map(|field| identifier(field)).collect();
        let sql = format!(
            "CREATE {}INDEX {} ON {} ({})",
            if unique { "UNIQUE " } else { "" },
            identifier(&name),
            identifier(schema.name()),
            columns.join(", ")
        );
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        let index = Index {
            fields,
            unique,
            sql,
        };
        indexes.insert(name, index);
    };

    let primary_key = schema.primary_key_names();
    let uniques = uniques(schema).into_iter().map(|fields| {
        let fields = fields.into_iter();
        fields
            .map(|field| schema.fields()[field].name())
            .collect::<Vec<_>>()
    });
    let uniques: Vec<_> = uniques.collect();
    for fields in uniques.iter().filter(|fields| **fields != primary_key) {
        add("unique", fields, true);
    }

    let referring = schema.fields().iter();
    for field in referring.filter(|field| field.reference().is_some()) {
        // With the primary key behind it, so that a nested list comes out in order.
        let own = [field.name()];
        let behind = primary_key.iter().filter(|name| **name != field.name());
        let fields: Vec<_> = own.iter().chain(behind).copied().collect();
        // The index of the primary key begins with the field, and has the others behind it.
        if fields != primary_key {
            add("foreign", &fields, false);
        }
    }

    if let Some(expiry) = schema.expiry() {
        add("expiry", &[schema.fields()[expiry].name()], false);
    }

    for cache_key in schema.cache_keys() {
        let cache_key: Vec<_> = cache_key.iter().map(String::as_str).collect();
        if cache_key.len() > 1 && !uniques.contains(&cache_key) {
            add("key", &cache_key, false);
        }
    }
    indexes
}
