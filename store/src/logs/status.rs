//! What an installation did, and which writes would not be captured, for display.

use std::fmt;

/// What an installation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Installed {
    /// Tables whose triggers were created or replaced; on PostgreSQL qualified and quoted.
    pub changed: Vec<String>,
    /// Tables whose triggers were already in place.
    pub unchanged: Vec<String>,
}

/// The state of capture on every table of the schemas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Status {
    /// One for each table, partitions included.
    pub tables: Vec<TableStatus>,
    /// Whether the triggers of any of the tables wake the listeners themselves.
    pub notify: bool,
}

/// The state of capture on one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// The entity whose rows it holds.
    pub entity: String,
    /// Its name, on PostgreSQL qualified and quoted; the entity's name if there is no table.
    pub table: String,
    /// What would not be captured; empty if everything is in place.
    pub problems: Vec<String>,
}

impl Status {
    /// Returns whether every write is captured.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.tables.iter().all(|table| table.problems.is_empty())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            let state = if table.problems.is_empty() {
                "captured".to_owned()
            } else {
                table.problems.join("; ")
            };
            writeln!(f, "{} ({}): {state}", table.table, table.entity)?;
        }
        Ok(())
    }
}
