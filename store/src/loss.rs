//! [`Loss`]: values that a migration would delete for good, with the indexes and rules that it
//! would drop.

use std::fmt;

/// Values that a migration would delete for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The table.
    pub table: String,
    /// The column whose values would be lost.
    pub column: String,
    /// How many rows have a value there.
    pub rows: u64,
    /// Foreign indexes and rules that would be dropped with the column, in the database's words.
    pub along: Vec<String>,
}

impl Loss {
    pub(crate) fn new(table: &str, column: &str, rows: u64, along: Vec<String>) -> Self {
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
            rows,
            along,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{} in {}",
            self.table,
            self.column,
            in_words(self.rows)
        )?;

        if !self.along.is_empty() {
            write!(f, ", and with it {}", self.along.join(", "))?;
        }

        Ok(())
    }
}

/// Returns a number of rows, in words.
pub(crate) fn in_words(rows: u64) -> String {
    match rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}
