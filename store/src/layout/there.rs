//! [`Table`]: a table as it is in the database, whatever the engine.

use std::collections::BTreeMap;

/// What has the name of an entity.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    Nothing,
    /// Something that is no table, by this name.
    Other(String),
    Table(Table),
}

/// A table that is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: BTreeMap<String, Column>,
    /// Its references of one column each, by that column: it may have several.
    pub(crate) references: BTreeMap<String, Vec<Reference>>,
    /// Its indexes, by name.
    pub(crate) indexes: BTreeMap<String, IndexThere>,
    /// Whether its columns hold nothing but what their types say.
    pub(crate) strict: bool,
    /// A name of the number that each row has beside its columns.
    pub(crate) number: Option<&'static str>,
    /// Rules of its own that a table made again would not have, in words.
    pub(crate) rules: Vec<String>,
    /// Statements that make the indexes and triggers that are not ours.
    pub(crate) others: Vec<String>,
}

/// A column that is there.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) declared: String,
    pub(crate) not_null: bool,
    /// As the engine writes it.
    pub(crate) default: Option<String>,
    /// Whether a row can leave it out.
    pub(crate) fills_itself: bool,
    pub(crate) is_key: bool,
    pub(crate) is_generated: bool,
    /// Its reference as a table that is made again writes it, on an engine that makes tables again.
    pub(crate) reference: Option<String>,
}

/// An index that is there.
#[derive(Clone, Debug)]
pub(crate) struct IndexThere {
    /// The columns that it orders by.
    pub(crate) fields: Vec<String>,
    pub(crate) unique: bool,
    /// Whether it has every row, by columns alone, is of the kind that is made for a schema, and
    /// the engine uses it.
    pub(crate) is_whole: bool,
    /// Whether another session is making it now.
    pub(crate) is_being_made: bool,
    /// The name of the constraint that it belongs to, and cannot be dropped without.
    pub(crate) constraint: Option<String>,
}

/// A reference that is there, and what it does by itself.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// The name of its constraint, where it has one.
    pub(crate) name: Option<String>,
    pub(crate) table: String,
    pub(crate) key: String,
    /// Whether rows that were there before it were checked too.
    pub(crate) is_checked: bool,
    pub(crate) action: Option<String>,
}
