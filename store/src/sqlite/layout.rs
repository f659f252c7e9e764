//! Reads, creates and changes the tables of SQLite.
//!
//! SQLite can add columns and indexes to an existing table. For any other change, a new table is
//! created beside the old one, and the rows are copied to it ([`rebuild`]). References are declared
//! without an action.

// Rebuilds a table with its rows. Must not know the findings.
mod rebuild;

// Statements that create and change tables.
mod ddl;

// The rules that only a table's CREATE statement shows.
mod rules;

// Existing tables.
mod existing;

use sqlx::SqliteConnection;
use tidings_core::Schema;

pub(super) use self::existing::Tables;
use crate::{error::Error, layout::complete};

/// Creates or completes the tables. Call it in a transaction that is rolled back on an error.
pub(crate) async fn lay_out(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<(), Error> {
    complete(&mut Tables(connection), schemas).await
}

#[cfg(test)]
mod tests;
