//! [`Inspect`]: reads and changes the tables of a database.

use futures_util::future::BoxFuture;

use super::{ddl::DdlDialect, existing::Existing};
use crate::error::Error;

/// A database whose tables can be read and changed.
pub(crate) trait Inspect: Send {
    /// Returns the statements of the database's engine.
    fn dialect(&self) -> &'static dyn DdlDialect;

    /// Returns what has this name: a table, something else, or nothing.
    fn find<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Existing, Error>>;

    /// Returns what the database would silently drop with a column, and is not ours: indexes and
    /// rules, in the database's words.
    fn along<'a>(
        &'a mut self,
        table: &'a str,
        column: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// Returns the one number that a query selects.
    fn count<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>>;

    /// Runs statements, and returns how many rows they changed.
    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>>;
}
