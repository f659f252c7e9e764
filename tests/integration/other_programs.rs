//! Writes by other programs: a node sees them like its own, on either database.

pub(crate) mod postgres;
pub(crate) mod sqlite;

mod cases;

/// A database that another program writes to.
pub(crate) trait Program: Send + Sync + 'static {
    /// Has the program run statements of SQL.
    fn write(&self, sql: &str);
}
