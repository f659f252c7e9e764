//! Compares the tables of a database with their schemas, and changes them to fit.
//!
//! One comparison serves both starts and migrations. A node creates what is missing at its start
//! ([`complete`]): tables, columns that may be absent or have a default, indexes, and references if
//! the engine can add them. It never alters an existing table in a way that could lose a row or a
//! value. If a table does not fit, every difference is reported and nothing is changed. A migration
//! makes the other changes too.
//!
//! The name of an index says its purpose, as in `unique:acls(consumer,group)`. An index with such a
//! name is dropped once no schema needs it. References are declared without an action: the store
//! cascades row by row, so that each row has its event. A table whose references have actions does
//! not fit: its rows would vanish without events.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Existing tables. Must not know what is wanted.
pub(crate) mod existing;

// Differences, and the changes that resolve them.
pub(crate) mod finding;

// The statements of each engine.
pub(crate) mod ddl;

// Reads and changes the tables of a database.
pub(crate) mod inspect;

// The comparison itself.
mod compare;

use tidings_core::Schema;

pub(crate) use self::{
    compare::{Compared, compare},
    ddl::{DdlDialect, IndexCreation, ReferenceCreation, Widening, wanted_indexes},
    existing::{Column, Existing, ExistingIndex, Reference, Table},
    finding::{Change, Depth, Finding, Group, Severity},
    inspect::Inspect,
};
use crate::error::Error;

/// Creates what is missing, or reports every difference and creates nothing. Call it in a
/// transaction that is rolled back on an error.
pub(crate) async fn complete<I: Inspect>(
    inspect: &mut I,
    schemas: &[&'static Schema],
) -> Result<(), Error> {
    let mut compared = Vec::new();
    for schema in schemas {
        compared.push(compare(inspect, schema, Depth::Start, &[]).await?);
    }

    let findings = || compared.iter().flat_map(|compared| &compared.findings);
    let differences: Vec<_> = findings()
        .filter(|finding| !finding.severity.allows_start())
        .map(|finding| finding.difference.clone())
        .collect();
    if !differences.is_empty() {
        return Err(Error::Incompatible { differences });
    }

    let dialect = inspect.dialect();
    for group in groups(dialect, &compared, |finding| {
        finding.severity == Severity::Addition
    }) {
        for sql in group.sql {
            inspect.run(&sql).await?;
        }
    }
    Ok(())
}

/// Returns the statements for the findings, in an order in which they can run: a reference may lead
/// to any table.
pub(crate) fn groups(
    dialect: &dyn DdlDialect,
    compared: &[Compared],
    wanted: impl Fn(&Finding) -> bool,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for compared in compared {
        let findings: Vec<_> = compared.findings.iter().filter(|it| wanted(it)).collect();
        groups.extend(dialect.groups(compared.schema, &compared.existing, &findings));
    }
    groups.sort_by_key(|group| group.phase);
    groups
}
