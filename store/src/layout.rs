//! Tables as the schemas ask for them, beside those that are there.
//!
//! One comparison serves two. A node at its start makes what is missing ([`complete`]): tables,
//! columns that may be absent or have a default, indexes, and references where the engine can add
//! them. It alters nothing that is there in a way that could lose a row or a value; where a table
//! does not fit, every difference is reported and nothing is done at all. A migration does the rest
//! too.
//!
//! Indexes carry names that say what they are for, as in `unique:acls(consumer,group)`; those with
//! such a name that no schema asks for any more are dropped. References are declared without an
//! action: cascades are done by the store, row by row, so that each row has its event. A table that
//! cascades by itself does not fit: its rows would vanish unheard.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What is there. Must not know what is wanted.
pub(crate) mod there;

// What is found where the two differ, and what mends it.
pub(crate) mod finding;

// How an engine says it.
pub(crate) mod words;

// How a database is looked at and changed.
pub(crate) mod inspect;

// The comparison itself.
mod compare;

use tidings_core::Schema;

pub(crate) use self::{
    compare::{Compared, compare},
    finding::{Change, Depth, Finding, Group, Need},
    inspect::Inspect,
    there::{Column, IndexThere, Named, Reference, Table},
    words::{Adds, IndexIs, Widening, Words, wanted_indexes},
};
use crate::error::Error;

/// Makes what is missing, or reports every difference and makes nothing; to be run in a
/// transaction, which is rolled back on an error.
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
        .filter(|finding| !finding.need.is_left_to_the_start())
        .map(|finding| finding.difference.clone())
        .collect();
    if !differences.is_empty() {
        return Err(Error::Incompatible { differences });
    }

    let words = inspect.words();
    for group in groups(words, &compared, |finding| finding.need == Need::Addition) {
        for sql in group.sql {
            inspect.run(&sql).await?;
        }
    }
    Ok(())
}

/// Returns the statements for what was found, in the order in which they can be run: a reference
/// may lead to any table.
pub(crate) fn groups(
    words: &dyn Words,
    compared: &[Compared],
    wanted: impl Fn(&Finding) -> bool,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for compared in compared {
        let findings: Vec<_> = compared.findings.iter().filter(|it| wanted(it)).collect();
        groups.extend(words.groups(compared.schema, &compared.named, &findings));
    }
    groups.sort_by_key(|group| group.phase);
    groups
}
