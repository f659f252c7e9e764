//! [`DdlDialect`]: the statements of each engine that create and change tables.

use std::{collections::BTreeMap, fmt};

use tidings_core::{Field, FieldKind, Schema, Value};

use super::{
    existing::{Existing, ExistingIndex, Table},
    finding::{Change, Finding, Group},
};
use crate::engine::statements::uniques;

/// The beginnings of the names of our indexes.
const PURPOSES: [&str; 4] = ["unique:", "foreign:", "key:", "expiry:"];

/// The types, literals and statements of one engine that create and change tables.
pub(crate) trait DdlDialect: fmt::Debug + Send + Sync {
    /// Returns the type of a column for a kind.
    fn column_type(&self, kind: FieldKind) -> &'static str;

    /// Returns whether a column of a declared type can hold every value of a field, and no other.
    fn holds(&self, field: &Field, declared: &str) -> bool;

    /// Returns how the values of a column of a declared type are converted to those of a field
    /// without loss.
    fn widening(&self, field: &Field, declared: &str) -> Option<Widening>;

    /// Returns a value as an SQL literal; `None` for an absent one.
    fn literal(&self, value: &Value) -> Option<String>;

    /// Returns whether an existing default is this value.
    fn is_default(&self, existing: &str, value: &Value) -> bool;

    /// Returns the name of an index, which says its purpose.
    fn index_name(&self, purpose: &str, table: &str, fields: &[&str]) -> String;

    /// Returns when references can be added.
    fn references(&self) -> ReferenceCreation;

    /// Returns a column as text, to be compared with one of another type.
    fn as_text(&self, column: &str) -> String;

    /// Returns whether a change rebuilds the whole table.
    fn rebuilds(&self, change: &Change, schema: &Schema) -> bool;

    /// Returns the condition of rows that a rebuilt table would not accept, because a column holds
    /// a value that is not of its type.
    fn type_violation(&self, field: &Field, table: &Table) -> Option<String>;

    /// Returns the same for a column that the schema does not have, with the type that it would
    /// get.
    fn kept_type_violation(&self, name: &str, table: &Table) -> Option<(String, &'static str)>;

    /// Returns who waits while an index is created, for a line of a plan.
    fn waits_for_index(&self, how: IndexCreation) -> &'static str;

    /// Returns the statements for the findings in one table.
    fn groups(&self, schema: &Schema, existing: &Existing, findings: &[&Finding]) -> Vec<Group>;
}

/// When something can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferenceCreation {
    AtAnyTime,
    /// Only when the table or column is created.
    WithItsColumn,
}

/// How an index is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexCreation {
    New,
    /// Beside the one that has its name, which is then dropped.
    Replaced,
    /// After the one that has its name was dropped.
    DroppedFirst,
}

/// How values of one type are converted to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Widening {
    /// The expression of the new value.
    pub(crate) using: String,
    /// The condition of rows whose value the new type cannot hold.
    pub(crate) unless: Option<String>,
}

/// Returns a name as a quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns whether the column can be added to a table with rows.
pub(crate) fn is_addable(field: &Field) -> bool {
    let has_value = field.is_optional() || field.column_default().is_some();
    has_value && !field.is_primary_key()
}

/// Returns whether an index is one of ours, by its name.
pub(crate) fn is_ours(index: &str) -> bool {
    PURPOSES.iter().any(|purpose| index.starts_with(purpose))
}

/// An index that a schema needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) fields: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) sql: String,
}

impl Index {
    /// Returns whether an existing index serves the purpose of this one.
    pub(crate) fn is_as(&self, existing: &ExistingIndex) -> bool {
        existing.is_whole && existing.unique == self.unique && existing.fields == self.fields
    }

    /// Returns whether an existing index, of any name, keeps these columns unique.
    pub(crate) fn is_held_by(&self, existing: &ExistingIndex) -> bool {
        let has = |field| existing.fields.contains(field);
        let is_over_these =
            existing.fields.len() == self.fields.len() && self.fields.iter().all(has);
        existing.is_whole && existing.unique && is_over_these
    }
}

/// Returns the indexes of a schema by name: for unique fields, for references (nested lists and
/// cascades must not scan), for expiry, and for a cache key of several fields.
pub(crate) fn wanted_indexes(dialect: &dyn DdlDialect, schema: &Schema) -> BTreeMap<String, Index> {
    let mut indexes = BTreeMap::new();
    let mut add = |purpose: &str, fields: &[&str], unique: bool| {
        let name = dialect.index_name(purpose, schema.name(), fields);
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
        // Followed by the primary key, so that a nested list is read in order.
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
