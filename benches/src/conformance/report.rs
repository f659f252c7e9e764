//! [`Conformance`]: the findings of all contestants, as a table, as JSON, and as a list of faults.

use std::path::Path;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use super::{Cell, Finding};
use crate::harness::{BenchError, peer_version, write_json};

/// The findings of all contestants.
#[derive(Debug)]
pub struct Conformance {
    pub(super) columns: Vec<(&'static str, Vec<Finding>)>,
}

#[derive(Serialize)]
struct JsonRow {
    subject: String,
    contestant: &'static str,
    version: Option<&'static str>,
    offered: bool,
    stale: bool,
    error: bool,
    hung: bool,
    loads: Option<u64>,
}

impl Conformance {
    /// What is not clean in the columns of one crate: stale answers, an old load's error given to a
    /// late caller, hangs, missing calls.
    #[must_use]
    pub fn faults(&self, contestant: &str) -> Vec<String> {
        self.columns
            .iter()
            .filter(|(name, _)| name.split(' ').next() == Some(contestant))
            .flat_map(|(_, findings)| Cell::all().zip(findings))
            .filter(|(_, finding)| {
                !matches!(
                    finding,
                    Finding::Ended {
                        stale: false,
                        error: false,
                        ..
                    }
                )
            })
            .map(|(cell, finding)| format!("{}: {finding}", cell.names().join(", ")))
            .collect()
    }

    /// The result for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        let heads = ["change", "asks", "first caller", "old load"].map(String::from);
        let names = self
            .columns
            .iter()
            .map(|(name, _)| match peer_version(name) {
                Some(version) => format!("{name} {version}"),
                None => (*name).into(),
            });
        table
            .load_style(ASCII_MARKDOWN)
            .set_header(heads.into_iter().chain(names));
        for (index, cell) in Cell::all().enumerate() {
            let findings = self
                .columns
                .iter()
                .map(|(_, findings)| findings[index].to_string());
            table.add_row(cell.names().into_iter().chain(findings));
        }
        let totals: Vec<_> = self
            .columns
            .iter()
            .map(|(name, findings)| {
                let stale = findings
                    .iter()
                    .filter(|finding| matches!(finding, Finding::Ended { stale: true, .. }))
                    .count();
                format!("{name}: stale in {stale} of {} cells", findings.len())
            })
            .collect();
        format!(
            "conformance: ok or STALE, and how many loads ran (the old one included)\n\n{table}\n\n{}\n",
            totals.join("\n")
        )
    }

    /// Writes `conformance.json` into a directory.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn write(&self, directory: &Path) -> Result<(), BenchError> {
        let rows: Vec<_> = self
            .columns
            .iter()
            .flat_map(|(name, findings)| {
                Cell::all().zip(findings).map(|(cell, finding)| {
                    let (stale, error, loads) = match *finding {
                        Finding::Ended {
                            stale,
                            error,
                            loads,
                        } => (stale, error, Some(loads)),
                        Finding::NotOffered | Finding::Hung => (false, false, None),
                    };
                    JsonRow {
                        subject: cell.names().join(", "),
                        contestant: name,
                        version: peer_version(name),
                        offered: *finding != Finding::NotOffered,
                        stale,
                        error,
                        hung: *finding == Finding::Hung,
                        loads,
                    }
                })
            })
            .collect();
        write_json(directory, "conformance", &rows)
    }
}
