//! Tables of SQLite: how they are looked at, and how they are made and changed.
//!
//! SQLite can add columns and indexes to a table that is there. For whatever else changes, the
//! table is made again beside the old one, which its rows leave for the new one
//! ([`rebuild`]). References are declared without an action.

// A table made again, with its rows. Must not know what was found.
mod rebuild;

// How tables are spoken of.
mod words;

// The rules that only a table's own statement tells.
mod rules;

// Tables as they are.
mod there;

use sqlx::SqliteConnection;
use tidings_core::Schema;

pub(super) use self::there::Tables;
use crate::{error::Error, layout::complete};

/// Makes or completes the tables; to be run in a transaction, which is rolled back on an error.
pub(crate) async fn lay_out(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<(), Error> {
    complete(&mut Tables(connection), schemas).await
}

#[cfg(test)]
mod tests;
