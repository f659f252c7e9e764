//! [`Table`]: a table as it is in the database, on any engine.

use std::collections::BTreeMap;

/// What has the name of an entity.
#[derive(Clone, Debug)]
pub(crate) enum Existing {
    Nothing,
    /// Something that is not a table, of this kind.
    Other(String),
    Table(Table),
}

/// An existing table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: BTreeMap<String, Column>,
    /// Its references that have one column, by that column, which may have several.
    pub(crate) references: BTreeMap<String, Vec<Reference>>,
    /// Its indexes, by name.
    pub(crate) indexes: BTreeMap<String, ExistingIndex>,
    /// Whether the engine enforces the types of its columns.
    pub(crate) strict: bool,
    /// A name of the row number that each row has besides its columns.
    pub(crate) number: Option<&'static str>,
    /// Rules of its own that a rebuilt table would not have, in words.
    pub(crate) rules: Vec<String>,
    /// Statements that create the indexes and triggers that are not ours.
    pub(crate) others: Vec<String>,
}

/// An existing column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) declared: String,
    pub(crate) not_null: bool,
    /// In the engine's own form.
    pub(crate) default: Option<String>,
    /// Whether a row can leave it out.
    pub(crate) fills_itself: bool,
    pub(crate) is_key: bool,
    pub(crate) is_generated: bool,
    /// The clause of its reference in a rebuilt table, on an engine that rebuilds tables.
    pub(crate) reference: Option<String>,
}

/// An existing index.
#[derive(Clone, Debug)]
pub(crate) struct ExistingIndex {
    /// The columns that it is over, in their order.
    pub(crate) fields: Vec<String>,
    pub(crate) unique: bool,
    /// Whether it covers every row, has only columns and no expressions, is of the kind that is
    /// created for a schema, and is used by the engine.
    pub(crate) is_whole: bool,
    /// Whether another session is creating it now.
    pub(crate) is_being_made: bool,
    /// The name of the constraint that it belongs to; it cannot be dropped without the constraint.
    pub(crate) constraint: Option<String>,
}

/// An existing reference, and its action.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// The name of its constraint, if it has one.
    pub(crate) name: Option<String>,
    pub(crate) table: String,
    pub(crate) key: String,
    /// Whether rows that are older than it were checked too.
    pub(crate) is_checked: bool,
    pub(crate) action: Option<String>,
}
