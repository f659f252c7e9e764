//! [`Method`]: the methods of a DAO, by what they do.

use std::fmt;

/// A method of a DAO, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Inserts a row.
    Insert,
    /// Inserts many rows.
    InsertMany,
    /// Selects one row, by any key.
    Select,
    /// Updates a row.
    Update,
    /// Replaces or creates a row.
    Upsert,
    /// Deletes a row.
    Delete,
    /// Lists rows.
    Page,
    /// Counts rows.
    Count,
}

impl Method {
    /// Returns the method's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::InsertMany => "insert_many",
            Self::Select => "select",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::Page => "page",
            Self::Count => "count",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
