//! Rebuilds a table with its rows.
//!
//! The new table is created beside the old one under another name, takes over its rows, and then
//! its name. Indexes and triggers that are not ours are created again from their own SQL; the code
//! that installs the triggers of the log puts them in place afterwards. References of other tables
//! use the name, so they are valid again at the end. Until then references must be off, or dropping
//! the old table would delete its rows one by one.

use tidings_core::{Field, Schema};

use crate::{
    layout::{Change, Column, DdlDialect, Table, ddl::identifier, wanted_indexes},
    sqlite::values::{column_type, literal},
};

pub(super) fn create_table(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(definition);
    create(schema.name(), columns.chain(key_clause(schema)).collect())
}

/// Returns the clause of a primary key of several fields, in their order.
fn key_clause(schema: &Schema) -> Option<String> {
    let names = schema
        .primary_key_fields()
        .map(|field| identifier(field.name()));
    let names: Vec<_> = names.collect();
    (names.len() > 1).then(|| format!("PRIMARY KEY ({})", names.join(", ")))
}

fn create(name: &str, columns: Vec<String>) -> String {
    format!(
        "CREATE TABLE {} ({}) STRICT",
        identifier(name),
        columns.join(", ")
    )
}

/// Returns the definition of a column in statements that create or add it.
pub(super) fn definition(field: &Field) -> String {
    let mut column = format!("{} {}", identifier(field.name()), column_type(field.kind()));
    if !field.is_optional() {
        column.push_str(" NOT NULL");
    }
    if let Some(default) = field.column_default().as_ref().and_then(literal) {
        column.push_str(&format!(" DEFAULT {default}"));
    }

    if field.is_whole_key() {
        column.push_str(" PRIMARY KEY");
    }
    if let Some(foreign) = field.reference() {
        let (parent, key) = (identifier(&foreign.entity), identifier(&foreign.key));
        column.push_str(&format!(" REFERENCES {parent} ({key})"));
    }
    column
}

/// Returns the statements that rebuild a table with its changes.
pub(super) fn rebuild(
    dialect: &dyn DdlDialect,
    schema: &Schema,
    existing: &Table,
    changes: &[&Change],
) -> Vec<String> {
    let mut definitions = Vec::new();
    let mut copies = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if let Some(value) = value_of(index, field, existing, changes) {
            copies.push((identifier(field.name()), value));
        }
        let default = own_default(index, field, existing, changes).unwrap_or_default();
        definitions.push(format!("{}{default}", definition(field)));
    }

    for (name, column) in &existing.columns {
        if schema.field(name).is_some() || column.is_generated {
            continue;
        }

        let goes = changes
            .iter()
            .any(|change| matches!(change, Change::DropColumn(gone) if gone == name));

        if !goes {
            let is_released = changes
                .iter()
                .any(|change| matches!(change, Change::MakeOptional(free) if free == name));
            let presence = if column.not_null && !is_released {
                Presence::Required
            } else {
                Presence::Optional
            };
            definitions.push(foreign_definition(name, column, presence));
            copies.push((identifier(name), identifier(name)));
        }
    }

    definitions.extend(key_clause(schema));

    // Other tables may refer to rows by number, above all a full-text index. A key that is one
    // integer is that number.
    let mut order = String::new();
    let is_number = schema.single_key().is_some_and(|key| {
        let kind = schema.fields()[key].kind();
        column_type(kind) == "INTEGER"
    });
    if let Some(number) = existing.number.filter(|_| !is_number) {
        copies.push((number.to_owned(), number.to_owned()));
        order = format!(" ORDER BY {number}");
    }

    let (table, other) = (schema.name(), format!("tidings_new:{}", schema.name()));
    let (columns, values): (Vec<_>, Vec<_>) = copies.into_iter().unzip();
    let (old, new) = (identifier(table), identifier(&other));
    let mut sql = vec![
        create(&other, definitions),
        format!(
            "INSERT INTO {new} ({}) SELECT {} FROM {old}{order}",
            columns.join(", "),
            values.join(", ")
        ),
        format!("DROP TABLE {old}"),
        // References to the old table's name must stay as they are.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        format!("ALTER TABLE {new} RENAME TO {old}"),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
    ];
    let indexes = wanted_indexes(dialect, schema).into_values();
    sql.extend(indexes.map(|index| index.sql));
    sql.extend(existing.others.iter().cloned());

    sql
}

/// Returns the value for a column of the new table, from a row of the old one; `None` if the column
/// gets its default.
fn value_of(index: usize, field: &Field, existing: &Table, changes: &[&Change]) -> Option<String> {
    let column = identifier(field.name());
    let mut value = existing
        .columns
        .contains_key(field.name())
        .then_some(column)?;
    for change in changes {
        match change {
            Change::RecreateColumn(made) if *made == index => return None,
            Change::Convert(converted, using) if *converted == index => value.clone_from(using),
            _ => {}
        }
    }

    let fills = changes.iter().any(|it| **it == Change::FillDefault(index));
    match field.column_default().as_ref().and_then(literal) {
        Some(default) if fills => Some(format!("coalesce({value}, {default})")),
        _ => Some(value),
    }
}

/// Returns the existing default of a column for which the schema has none, converted if the
/// column's type changes.
fn own_default(
    index: usize,
    field: &Field,
    existing: &Table,
    changes: &[&Change],
) -> Option<String> {
    if field.column_default().as_ref().and_then(literal).is_some() {
        return None;
    }

    let default = existing.columns.get(field.name())?.default.as_ref()?;
    let mut clause = default_clause(default);
    for change in changes {
        match change {
            Change::RecreateColumn(made) if *made == index => return None,
            Change::Convert(converted, using) if *converted == index => {
                let value = using.replace(&identifier(field.name()), &format!("({default})"));
                clause = format!(" DEFAULT ({value})");
            }
            _ => {}
        }
    }

    Some(clause)
}

/// Returns the DEFAULT clause of a definition. SQLite reads a single word as text there, but not in
/// parentheses.
fn default_clause(default: &str) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if default.chars().all(is_word) || default.starts_with('"') {
        format!(" DEFAULT {default}")
    } else {
        format!(" DEFAULT ({default})")
    }
}

/// Whether each row has a value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// Returns the definition of a column that the schema does not have.
fn foreign_definition(name: &str, column: &Column, presence: Presence) -> String {
    let mut definition = format!("{} {}", identifier(name), kept_type(&column.declared));
    if presence == Presence::Required {
        definition.push_str(" NOT NULL");
    }

    if let Some(default) = &column.default {
        definition.push_str(&default_clause(default));
    }
    if let Some(reference) = &column.reference {
        definition.push_str(&format!(" {reference}"));
    }
    definition
}

/// Returns the type of a column in a strict table, from its declared type.
pub(super) fn kept_type(declared: &str) -> &'static str {
    match affinity(declared) {
        "NUMERIC" => "ANY",
        // Without a type, it holds any value.
        "BLOB" if declared.is_empty() => "ANY",
        affinity => affinity,
    }
}

/// Returns the affinity of a declared type, by SQLite's own rules; `NUMERIC` fits no field.
pub(super) fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        "INTEGER"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "TEXT"
    } else if has("BLOB") || declared.is_empty() {
        "BLOB"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "REAL"
    } else {
        "NUMERIC"
    }
}
