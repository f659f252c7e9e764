//! [`Migrations`]: changes the tables of a database to fit the schemas.

// Steps of the application's own. Must not know when they run.
mod step;

use std::{collections::BTreeSet, fmt, future::Future, time::Duration};

use tidings_core::{
    BoxError, Entity, Schema, check_all,
    clock::{Clock as _, SystemClock},
};
use tokio::time::Instant;

pub use self::step::StepStatements;
use self::step::{Moment, Step, TargetSlot};
use crate::{
    api::kind::{Kind, kind_of},
    backoff::LockWaits,
    error::Error,
    layout::{Compared, DdlDialect, Depth, compare},
    migration::{Plan, Purpose, RecordedFields, Target, WaitLimits, alterations},
    settings::check_limit,
};

/// How long a migration waits for others, by default.
const PATIENCE: Duration = Duration::from_secs(60);

/// The changes that make the tables of a database fit the schemas.
///
/// [`plan`](Self::plan) lists the changes, and [`apply`](Self::apply) makes all of them or none, in
/// one transaction. They include the additions that a node makes by itself when it starts (tables,
/// columns that may be absent or have a default, indexes, references on PostgreSQL). Beyond these:
///
/// - Columns become required or optional; defaults, wider types, references and unique rules are
///   changed.
/// - Columns that no schema names are dropped, and a column whose type cannot be widened is dropped
///   and created again. If that loses values, it needs [`allow_loss`](Self::allow_loss). Otherwise
///   it is refused ([`Error::WouldLose`]), with the columns and the number of their rows.
/// - [Steps](Self::step_before) of your own run, each once.
///
/// Any number of nodes may call `apply` at once, each before it opens its store. The first one does
/// the work; the others wait and find nothing to do. While a node runs, a migration only makes
/// additions, so that it changes nothing that the node may use ([`Error::NodeRuns`]). If triggers
/// record changes, the migration replaces them in the same transaction, and nodes that follow the
/// log treat that as a gap. It does not touch the tables of removed entities or of other programs.
///
/// On PostgreSQL, if others hold a lock on a table, the migration tries to lock it briefly and
/// often, each time in a transaction of its own, until the [patience](Self::patience) is over.
/// Readers go on in between. The last attempt waits for longer, up to 6 s.
///
/// A migration compares types of columns, not their meanings. If a field changes from seconds to
/// microseconds, or on SQLite from text to a UUID, add a step.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_store::Error> {
/// use tidings_core::{Field, Schema};
/// use tidings_store::{Error, Migrations};
/// # fn leak(schema: Schema) -> &'static Schema { Box::leak(Box::new(schema)) }
/// # let directory = tempfile::tempdir().unwrap();
/// # let url = format!("sqlite://{}/tenants.db", directory.path().display());
///
/// let tenants = || Schema::builder("tenants").field(Field::of::<i64>("id").primary_key());
/// let first = leak(tenants().field(Field::of::<Option<String>>("plan")).build());
/// Migrations::of(&url).schema(first).apply().await?;
///
/// // A day later, tenants have a quota in place of a plan. Nothing is lost, as no row has a plan.
/// let second = leak(tenants().field(Field::of::<i64>("quota").default(10)).build());
/// let plan = Migrations::of(&url).schema(second).plan().await?;
/// assert!(plan.to_string().contains("-- tenants: drops the column plan"), "{plan}");
/// assert!(plan.losses.is_empty());
/// Migrations::of(&url).schema(second).apply().await?;
/// assert!(Migrations::of(&url).schema(second).plan().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Migrations {
    url: String,
    schemas: Vec<&'static Schema>,
    steps: Vec<Step>,
    kept: Vec<(String, String)>,
    permission: Permission,
    patience: Duration,
}

/// Whether values may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Refused,
    Given,
}

/// The result of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The changes that were made; empty if there was nothing to do.
    pub plan: Plan,
}

impl Migrations {
    /// Returns a migration of the database at a URL, in the form that
    /// [`Store::open`](crate::Store::open) takes. A database in memory has no migrations, because
    /// each store has its own.
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schemas: Vec::new(),
            steps: Vec::new(),
            kept: Vec::new(),
            permission: Permission::Refused,
            patience: PATIENCE,
        }
    }

    /// Adds an entity. Name all entities of the database, because references are checked as at a
    /// start.
    pub fn entity<E: Entity>(self) -> Self {
        self.schema(E::schema())
    }

    /// Adds the schema of an entity.
    pub fn schema(mut self, schema: &'static Schema) -> Self {
        self.schemas.push(schema);
        self
    }

    /// Allows the loss of values: in columns that no schema names, and in columns whose type cannot
    /// be widened.
    pub fn allow_loss(mut self) -> Self {
        self.permission = Permission::Given;
        self
    }

    /// Keeps a column that the schema of a table does not have, such as another program's.
    pub fn keep_column(mut self, table: &str, column: &str) -> Self {
        self.kept.push((table.to_owned(), column.to_owned()));
        self
    }

    /// Sets how long to wait for other migrations and starting nodes, and after that for tables
    /// that others hold; 60 s each by default. The time of the changes themselves does not count.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Adds a step of your own that runs before the tables are compared, such as one that renames a
    /// column. By its name, a step takes effect once on each database. It runs inside the
    /// transaction, so a step that fails or panics undoes everything. Steps run in the order in
    /// which they are added. If others hold a table, everything is undone, and the step is called
    /// again after a pause.
    ///
    /// If triggers record changes, nodes see the writes of a step like those of another program.
    /// Without triggers, a step is refused while a node runs.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn migrate(url: &str) -> Result<(), tidings_store::Error> {
    /// use tidings_store::Migrations;
    ///
    /// Migrations::of(url)
    ///     .step_before("2026-11 tenants: host becomes name", |sql| async move {
    ///         sql.run("ALTER TABLE tenants RENAME COLUMN host TO name").await?;
    ///         Ok(())
    ///     })
    ///     .apply()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn step_before<F, Fut>(self, name: &str, run: F) -> Self
    where
        F: Fn(StepStatements) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.step(name, Moment::Before, run)
    }

    /// Adds a step of your own that runs once the tables fit the schemas, such as one that fills a
    /// new column. Otherwise it is like [`step_before`](Self::step_before).
    pub fn step_after<F, Fut>(self, name: &str, run: F) -> Self
    where
        F: Fn(StepStatements) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.step(name, Moment::After, run)
    }

    fn step<F, Fut>(mut self, name: &str, moment: Moment, run: F) -> Self
    where
        F: Fn(StepStatements) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.steps.push(Step::new(name, moment, run));
        self
    }

    /// Returns the changes that [`apply`](Self::apply) would make to the tables as they are now. It
    /// changes nothing. It does not run your steps, so it cannot see their effects.
    ///
    /// # Errors
    ///
    /// [`Error::Schemas`], [`Error::Setting`]; as [`Store::open`](crate::Store::open); or the
    /// database fails.
    pub async fn plan(&self) -> Result<Plan, Error> {
        self.check()?;
        let mut target = open(&self.url, Purpose::Plan, self.patience).await?;
        let planned = self.make_plan(&mut *target).await;
        target.end().await;
        planned
    }

    /// Makes all of the changes, or none.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan); [`Error::WouldLose`], [`Error::NodeRuns`], [`Error::Unmendable`],
    /// [`Error::Step`], [`Error::Panicked`], [`Error::Statement`]: nothing was changed.
    /// [`Error::Commit`] if it is not known whether everything was changed or nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing, unless the commit was already sent.
    pub async fn apply(&self) -> Result<Migrated, Error> {
        self.check()?;
        let mut slot = TargetSlot::new(open(&self.url, Purpose::Apply, self.patience).await?);
        let applied = self.attempt(&mut slot).await;
        slot.end().await;
        applied.map(|plan| Migrated { plan })
    }

    async fn make_plan(&self, target: &mut dyn Target) -> Result<Plan, Error> {
        let waits = WaitLimits {
            turn: self.patience,
            table: self.patience,
        };
        target.begin(Purpose::Plan, waits).await?;
        let run = target.steps().await?;
        let compared = self.compare(target).await?;
        Ok(self.planned(target.inspect().dialect(), &compared, &run))
    }

    /// Waits for its turn, and changes the tables. If others hold one of them, ends the
    /// transaction, pauses so that statements queued behind it can go on, and plans again.
    async fn attempt(&self, slot: &mut TargetSlot) -> Result<Plan, Error> {
        let clock = SystemClock::new();
        let mut turn = self.patience;
        let mut tables = LockWaits::of_tables(self.patience);

        loop {
            let started = Instant::now();
            let table = tables.next();
            let begun = slot
                .target()?
                .begin(Purpose::Apply, WaitLimits { turn, table });
            begun.await?;
            turn = turn.saturating_sub(started.elapsed());

            let error = match self.change(slot).await {
                Err(error) if error.is_lock_timeout() => error,
                ended => return ended,
            };

            let Some(pause) = tables.timed_out() else {
                return Err(error);
            };
            slot.target()?.roll_back().await?;
            clock.sleep(pause).await;
        }
    }

    /// Changes the tables in the transaction that has begun.
    async fn change(&self, slot: &mut TargetSlot) -> Result<Plan, Error> {
        let target = slot.target()?;
        let run = target.steps().await?;
        let pending = self.pending(&run);
        if !pending.is_empty() && !target.is_recorded().await? && !target.is_alone().await? {
            let steps = pending.iter();
            let changes = steps.map(|step| format!("runs the step {}", step.name));
            return Err(Error::NodeRuns {
                changes: changes.collect(),
            });
        }

        for step in pending.iter().filter(|step| step.moment == Moment::Before) {
            slot.run(step).await?;
        }

        let plan = self.make(slot.target()?, &run).await?;
        for step in pending.iter().filter(|step| step.moment == Moment::After) {
            slot.run(step).await?;
        }
        if plan.is_empty() && self.kept.is_empty() {
            return Ok(plan);
        }

        let target = slot.target()?;
        let broken = target.broken(&self.schemas).await?;
        if !broken.is_empty() {
            return Err(Error::Unmendable {
                differences: broken,
            });
        }

        target.commit().await?;
        Ok(plan)
    }

    /// Changes the tables, in the transaction that is open.
    async fn make(&self, target: &mut dyn Target, run: &BTreeSet<String>) -> Result<Plan, Error> {
        let compared = self.compare(target).await?;
        let plan = self.planned(target.inspect().dialect(), &compared, run);
        if !plan.obstacles.is_empty() {
            return Err(Error::Unmendable {
                differences: plan.obstacles,
            });
        }
        if !plan.losses.is_empty() && self.permission == Permission::Refused {
            return Err(Error::WouldLose {
                losses: plan.losses,
            });
        }

        let changes = alterations(&compared);
        let alters = !changes.is_empty();
        if alters && !target.is_alone().await? {
            return Err(Error::NodeRuns { changes });
        }

        for sql in plan.changes.iter().flat_map(|change| &change.sql) {
            target.inspect().run(sql).await?;
        }

        let narrows = alters || !self.kept.is_empty();
        let recorded = if narrows && target.is_alone().await? {
            RecordedFields::SchemasOnly
        } else {
            RecordedFields::SchemasAndEarlier
        };
        if !plan.is_empty() || narrows {
            // Before the last steps, so that their writes are recorded with the new fields.
            target.capture(&self.schemas, recorded).await?;
        }

        Ok(plan)
    }

    async fn compare(&self, target: &mut dyn Target) -> Result<Vec<Compared>, Error> {
        let mut compared = Vec::new();
        let mut tables = target.inspect();
        for schema in &self.schemas {
            compared.push(compare(&mut *tables, schema, Depth::Migration, &self.kept).await?);
        }
        Ok(compared)
    }

    fn planned(
        &self,
        dialect: &dyn DdlDialect,
        compared: &[Compared],
        run: &BTreeSet<String>,
    ) -> Plan {
        let pending = self.pending(run);
        let named = |moment: Moment| {
            let steps = pending.iter().filter(|step| step.moment == moment);
            steps.map(|step| step.name.clone()).collect()
        };
        Plan {
            before: named(Moment::Before),
            after: named(Moment::After),
            ..Plan::of(dialect, compared)
        }
    }

    fn pending(&self, run: &BTreeSet<String>) -> Vec<&Step> {
        let steps = self.steps.iter();
        steps.filter(|step| !run.contains(&step.name)).collect()
    }

    /// Checks the arguments, before anything is opened.
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schemas)?;
        check_limit("patience", self.patience)?;

        let refused = |option, given: &str, allowed: &str| {
            Err(Error::Setting {
                option,
                given: format!("{given:?}"),
                allowed: allowed.to_owned(),
            })
        };
        let mut names = BTreeSet::new();
        for step in &self.steps {
            if step.name.trim().is_empty() || step.name.len() > Step::LONGEST {
                return refused("the name of a step", &step.name, "of 1 to 200 bytes");
            }
            if !names.insert(&step.name) {
                return refused("the name of a step", &step.name, "unique");
            }
        }

        for (table, column) in &self.kept {
            let schema = self.schemas.iter().find(|schema| schema.name() == table);
            let is_free = schema.is_some_and(|schema| schema.field(column).is_none());
            if !is_free {
                let allowed = "a column that the schema of its table does not have";
                return refused("keep_column", &format!("{table}.{column}"), allowed);
            }
        }

        Ok(())
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.schemas.iter().map(|schema| schema.name());
        f.debug_struct("Migrations")
            .field("schemas", &names.collect::<Vec<_>>())
            .field("steps", &self.steps)
            .field("kept", &self.kept)
            .field("permission", &self.permission)
            .finish_non_exhaustive()
    }
}

async fn open(url: &str, purpose: Purpose, patience: Duration) -> Result<Box<dyn Target>, Error> {
    match kind_of(url)? {
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => Ok(Box::new(
            crate::sqlite::migrate::SqliteTarget::open(url, purpose, patience).await?,
        )),
        #[cfg(feature = "postgres")]
        Kind::Postgres => Ok(Box::new(
            crate::postgres::migrate::PgTarget::open(url).await?,
        )),
    }
}
