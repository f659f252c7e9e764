//! [`Finding`]: one difference between a schema and its table, and what mends it.

use crate::loss::Loss;

/// One difference between a schema and its table.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) need: Need,
    /// What is wrong, as a line of a refusal.
    pub(crate) difference: String,
    /// What is done about it, as a line of a plan.
    pub(crate) remedy: String,
    pub(crate) changes: Vec<Change>,
    pub(crate) loss: Option<Loss>,
}

/// How closely a schema and its table are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As far as the start of a node has to know: rows are counted only where that decides.
    Start,
    /// With all that would be lost, or would be in the way.
    Migration,
}

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something is missing that a node makes at its start.
    Addition,
    /// A node can work with it as it is; a migration brings it in line.
    Tidying,
    /// No node starts before a migration has mended it.
    Mending,
    /// Nothing mends it but its owner.
    Impossible,
}

impl Need {
    /// Returns whether a node can start on it.
    pub(crate) fn is_left_to_the_start(self) -> bool {
        match self {
            Self::Addition | Self::Tidying => true,
            Self::Mending | Self::Impossible => false,
        }
    }
}

/// A change of a table. Fields are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    CreateTable,
    AddColumn(usize),
    DropColumn(String),
    /// Drops a column, with its values, and adds it as the schema has it.
    RemakeColumn(usize),
    /// Gives a column its type, each value by this expression.
    Convert(usize, String),
    /// Gives the rows in which it is absent its default.
    Fill(usize),
    Require(usize),
    /// Lets a column be absent.
    Release(String),
    SetDefault(usize),
    Refer(usize),
    /// Checks the rows of before a reference, by the name of its constraint.
    CheckReference(String),
    /// Takes away the reference of a column, by the name of its constraint where it has one.
    DropReference(String, Option<String>),
    CreateIndex(String),
    DropIndex(String),
    /// Makes an index in the place of the one that has its name.
    ReplaceIndex(String),
}

/// When a statement can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// What would be in the way goes.
    Clearing,
    Tables,
    /// Once all tables are there.
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
            | Self::RemakeColumn(_)
            | Self::Convert(..)
            | Self::Fill(_)
            | Self::Require(_)
            | Self::Release(_)
            | Self::SetDefault(_) => Phase::Tables,
            Self::Refer(_) | Self::CheckReference(_) => Phase::References,
            Self::CreateIndex(_) | Self::ReplaceIndex(_) => Phase::Indexes,
        }
    }
}

/// Statements that belong together, and why they are run.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) reasons: Vec<String>,
    pub(crate) sql: Vec<String>,
}

impl Group {
    /// Returns the statements of one finding, each with the phase of its change: several groups
    /// where these differ.
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
