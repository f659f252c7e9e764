//! [`Plan`]: the changes of a migration. [`Target`]: the database that it changes.

use std::{collections::BTreeSet, fmt, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::Schema;

use crate::{
    error::Error,
    layout::{Compared, DdlDialect, Finding, Inspect, Severity, groups},
    loss::Loss,
};

/// The changes of a migration, in their order.
///
/// Its `Display` form is SQL, with a comment before each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Steps of the application's own that run first.
    pub before: Vec<String>,
    /// Changes of the tables.
    pub changes: Vec<PlannedChange>,
    /// Steps of the application's own that run last.
    pub after: Vec<String>,
    /// The values that would be lost; the migration needs permission for this.
    pub losses: Vec<Loss>,
    /// Obstacles that no migration can remove. Nothing is changed until you remove them.
    pub obstacles: Vec<String>,
}

/// One change of a table, or several that happen at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedChange {
    /// Descriptions of the changes, one line each.
    pub reasons: Vec<String>,
    /// The statements.
    pub sql: Vec<String>,
}

impl Plan {
    /// Makes the plan for the findings.
    pub(crate) fn of(dialect: &dyn DdlDialect, compared: &[Compared]) -> Self {
        let findings = || compared.iter().flat_map(|compared| &compared.findings);
        let obstacles = findings().filter(|finding| finding.severity == Severity::Unfixable);
        let changes = groups(dialect, compared, |finding| {
            finding.severity != Severity::Unfixable
        });
        Self {
            changes: changes
                .into_iter()
                .map(|group| PlannedChange {
                    reasons: group.reasons,
                    sql: group.sql,
                })
                .collect(),
            losses: findings()
                .filter_map(|finding| finding.loss.clone())
                .collect(),
            obstacles: obstacles
                .map(|finding| finding.difference.clone())
                .collect(),
            ..Self::default()
        }
    }

    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let steps = self.before.len() + self.changes.len() + self.after.len();
        steps + self.obstacles.len() == 0
    }
}

/// Returns the changes that are more than additions: a running node may use what they change.
pub(crate) fn alterations(compared: &[Compared]) -> Vec<String> {
    let findings = compared.iter().flat_map(|compared| &compared.findings);
    let alters = |finding: &&Finding| match finding.severity {
        Severity::Addition => false,
        Severity::Minor | Severity::Blocking | Severity::Unfixable => true,
    };
    findings
        .filter(alters)
        .map(|finding| finding.remedy.clone())
        .collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for obstacle in &self.obstacles {
            writeln!(f, "-- in the way: {obstacle}")?;
        }

        for loss in &self.losses {
            writeln!(f, "-- loses the values of {loss}")?;
        }
        for name in &self.before {
            writeln!(f, "-- runs the step {name}")?;
        }

        for change in &self.changes {
            write!(f, "{change}")?;
        }
        for name in &self.after {
            writeln!(f, "-- runs the step {name}")?;
        }

        if self.is_empty() {
            writeln!(f, "-- nothing to do: the tables are as the schemas ask")?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(f, "-- {reason}")?;
        }
        for sql in &self.sql {
            writeln!(f, "{sql};")?;
        }
        Ok(())
    }
}

/// The purpose of a migration's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Plan,
    /// To change tables. Until it is done, no other migration and no starting node changes them.
    Apply,
}

/// How long a transaction of a migration waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitLimits {
    /// For its turn, after other migrations and starting nodes.
    pub(crate) turn: Duration,
    /// For each table that others hold. Later readers of the table queue behind a waiting change.
    pub(crate) table: Duration,
}

/// Which fields the triggers of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordedFields {
    /// Those of the schemas, and those that were recorded before, because another program may
    /// follow the log.
    SchemasAndEarlier,
    /// Only those of the schemas, because no other program follows the log.
    SchemasOnly,
}

/// A database on a connection of its own, for one migration. If it is dropped in the middle,
/// nothing is changed.
pub(crate) trait Target: Send {
    /// Returns the kind of database.
    fn engine(&self) -> &'static str;

    /// Returns its tables, to be read and changed in the transaction.
    fn inspect(&mut self) -> Box<dyn Inspect + '_>;

    /// Waits for its turn and begins the transaction.
    fn begin(&mut self, purpose: Purpose, waits: WaitLimits) -> BoxFuture<'_, Result<(), Error>>;

    /// Runs a query, and returns its rows as text.
    fn ask<'a>(
        &'a mut self,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Vec<Option<String>>>, Error>>;

    /// Returns two queries: one counts the tables of steps (0 or 1), the other selects the names of
    /// the steps in it.
    fn step_queries(&self) -> [&'static str; 2];

    /// Returns the names of the steps that have run.
    fn steps(&mut self) -> BoxFuture<'_, Result<BTreeSet<String>, Error>> {
        async move {
            let [table, names] = self.step_queries();
            if self.inspect().count(table).await? == 0 {
                return Ok(BTreeSet::new());
            }
            let names = self.ask(names).await?;
            Ok(names.into_iter().flatten().flatten().collect())
        }
        .boxed()
    }

    /// Records that a step has run.
    fn record<'a>(&'a mut self, step: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Returns whether no node runs on the database, and none can start before the transaction
    /// ends.
    fn is_alone(&mut self) -> BoxFuture<'_, Result<bool, Error>>;

    /// Returns whether triggers record writes for nodes to read.
    fn is_recorded(&mut self) -> BoxFuture<'_, Result<bool, Error>>;

    /// Puts the triggers of the log in place, if there is a log.
    fn capture<'a>(
        &'a mut self,
        schemas: &'a [&'static Schema],
        recorded: RecordedFields,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Returns the references to missing rows in the tables of these schemas, one line each.
    fn broken<'a>(
        &'a mut self,
        schemas: &'a [&'static Schema],
    ) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends the transaction without committing it; another can be begun.
    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends the transaction without committing it, and closes the connection.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}
