//! [`Loss`]: values that a migration would delete for good, and what goes with them.

use std::fmt;

/// Values that a migration would take away for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The table.
    pub table: String,
    /// The column whose values would go.
    pub column: String,
    /// How many rows have a value there.
    pub rows: u64,
    /// What goes with the column that is not ours: indexes and rules, in the database's words.
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
