//! Quotes names and texts for statements.

/// The table of the log, by which SQLite notes the last number that it gave out.
pub(super) const SEQUENCE_OF_LOG: &str = "tidings_log";

/// Writes a name as an identifier, quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes text as a literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the table that holds the values of an entity's records, quoted. No entity's name has a
/// colon.
pub(super) fn side_table(entity: &str) -> String {
    identifier(&format!("tidings_log:{entity}"))
}

/// Names as one text, and back.
pub(super) fn joined(names: &[String]) -> String {
    names.join(",")
}

pub(super) fn split(names: &str) -> Vec<String> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
