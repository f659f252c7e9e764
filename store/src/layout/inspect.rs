//! [`Inspect`]: a database whose tables can be looked at and changed.

use futures_util::future::BoxFuture;

use super::{there::Named, words::Words};
use crate::error::Error;

/// A database whose tables can be looked at and changed.
pub(crate) trait Inspect: Send {
    /// Returns how the database is spoken to.
    fn words(&self) -> &'static dyn Words;

    /// Finds what has a name: a table, something else, or nothing.
    fn named<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Named, Error>>;

    /// Returns what would go without a word if a column were dropped, and is not ours: indexes and
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
