//! Names that an engine reserves. A schema must fit every engine, so that it can move from one to
//! another.
//!
//! Words of SQL are not among them: names are quoted in every statement.

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST: usize = 63;
/// Columns that every table has already.
const COLUMNS: [(&str, &str); 9] = [
    ("ctid", "PostgreSQL"),
    ("cmax", "PostgreSQL"),
    ("cmin", "PostgreSQL"),
    ("tableoid", "PostgreSQL"),
    ("xmax", "PostgreSQL"),
    ("xmin", "PostgreSQL"),
    ("oid", "SQLite"),
    ("rowid", "SQLite"),
    ("_rowid_", "SQLite"),
];
/// The prefixes of a database's own tables.
const TABLES: [(&str, &str); 3] = [
    ("pg_", "PostgreSQL"),
    ("sqlite_", "SQLite"),
    ("tidings_", "Tidings"),
];

/// Returns why no table can have a name; `None` if one can.
pub(super) fn table(name: &str) -> Option<String> {
    let taken = TABLES.iter().find(|(prefix, _)| name.starts_with(prefix));
    taken
        .map(|(prefix, by)| format!("names that begin with {prefix} are reserved by {by}"))
        .or_else(|| too_long(name))
}

/// Returns why no column can have a name; `None` if one can.
pub(super) fn column(name: &str) -> Option<String> {
    let taken = COLUMNS.iter().find(|(taken, _)| *taken == name);
    taken
        .map(|(taken, by)| format!("the name {taken} is reserved by {by}"))
        .or_else(|| too_long(name))
}

fn too_long(name: &str) -> Option<String> {
    (name.len() > LONGEST).then(|| format!("a name has at most {LONGEST} characters"))
}
