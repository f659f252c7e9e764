//! [`Finding`]: one difference between a schema and its table, and the changes that resolve it.

use crate::loss::Loss;

/// One difference between a schema and its table.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What is wrong, as a line of an error message.
    pub(crate) difference: String,
    /// How it is resolved, as a line of a plan.
    pub(crate) remedy: String,
    pub(crate) changes: Vec<Change>,
    pub(crate) loss: Option<Loss>,
}

/// How closely a schema and its table are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As far as a starting node needs: rows are counted only if the decision depends on them.
    Start,
    /// In full, with everything that would be lost or be in the way.
    Migration,
}

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Something is missing that a node creates at its start.
    Addition,
    /// A node can work with the table as it is; a migration resolves the difference.
    Minor,
    /// No node starts before a migration has resolved it.
    Blocking,
    /// No migration can resolve it; only the owner of the table can.
    Unfixable,
}

impl Severity {
    /// Returns whether a node can start despite the difference.
    pub(crate) fn allows_start(self) -> bool {
        match self {
            Self::Addition | Self::Minor => true,
            Self::Blocking | Self::Unfixable => false,
        }
    }
}

/// A change of a table. Fields are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    CreateTable,
    AddColumn(usize),
    DropColumn(String),
    /// Drops a column, with its values, and adds it as the schema defines it.
    RecreateColumn(usize),
    /// Gives a column its type, and converts each value with this expression.
    Convert(usize, String),
    /// Sets the default in the rows in which the column is absent.
    FillDefault(usize),
    MakeRequired(usize),
    /// Lets a column be absent.
    MakeOptional(String),
    SetDefault(usize),
    AddReference(usize),
    /// Checks the rows that are older than a reference, by the name of its constraint.
    CheckReference(String),
    /// Drops the reference of a column, by the name of its constraint if it has one.
    DropReference(String, Option<String>),
    CreateIndex(String),
    DropIndex(String),
    /// Creates an index in place of the one that has its name.
    ReplaceIndex(String),
}

/// When a statement can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Drops what would be in the way.
    Clearing,
    Tables,
    /// Once all tables exist.
    References,
    Indexes,
}

impl Change {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::DropReference(..) | Self::DropIndex(_) => Phase::Clearing,
            Self::CreateTable
            | Self::AddColumn(_)
            | Self::DropColumn(_)
            | Self::RecreateColumn(_)
            | Self::Convert(..)
            | Self::FillDefault(_)
            | Self::MakeRequired(_)
            | Self::MakeOptional(_)
            | Self::SetDefault(_) => Phase::Tables,
            Self::AddReference(_) | Self::CheckReference(_) => Phase::References,
            Self::CreateIndex(_) | Self::ReplaceIndex(_) => Phase::Indexes,
        }
    }
}

/// Statements that belong together, and the reasons for them.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) reasons: Vec<String>,
    pub(crate) sql: Vec<String>,
}

impl Group {
    /// Returns the statements of one finding, each with the phase of its change: several groups if
    /// the phases differ.
    pub(crate) fn of(finding: &Finding, mut sql: impl FnMut(&Change) -> Vec<String>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for change in &finding.changes {
            let (phase, sql) = (change.phase(), sql(change));
            match groups.last_mut().filter(|group| group.phase == phase) {
                Some(group) => group.sql.extend(sql),
                None => groups.push(Self {
                    phase,
                    reasons: vec![finding.remedy.clone()],
                    sql,
                }),
            }
        }

        groups
    }
}
