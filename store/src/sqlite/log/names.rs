//! Quotes names and texts for statements.

/// The name of the log's table, under which SQLite stores the last number that it assigned.
pub(super) const SEQUENCE_OF_LOG: &str = "tidings_log";

/// Returns a name as a quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns text as a literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the quoted name of the table that holds the values of an entity's records. No name of an
/// entity contains a colon.
pub(super) fn side_table(entity: &str) -> String {
    identifier(&format!("tidings_log:{entity}"))
}

/// Joins names to one text; [`split`] reverses it.
pub(super) fn joined(names: &[String]) -> String {
    names.join(",")
}

pub(super) fn split(names: &str) -> Vec<String> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
