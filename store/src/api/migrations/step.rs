//! A step of the application's own: what it can do, and how it runs.

use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::BoxError;
use tokio::sync::Mutex;

use crate::{error::Error, migration::Target};

type Run = dyn Fn(StepStatements) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// A step of the application's own.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) moment: Moment,
    run: Arc<Run>,
}

/// When a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// On the tables as they are.
    Before,
    /// On the tables as the schemas ask for them.
    After,
}

impl Step {
    /// The longest name, in bytes.
    pub(super) const LONGEST: usize = 200;

    pub(super) fn new<F, Fut>(name: &str, moment: Moment, run: F) -> Self
    where
        F: Fn(StepStatements) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self {
            name: name.to_owned(),
            moment,
            run: Arc::new(move |sql| run(sql).boxed()),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.name)
            .field("moment", &self.moment)
            .finish_non_exhaustive()
    }
}

/// The transaction of a migration, for a step. It ends with the step.
#[derive(Clone)]
pub struct StepStatements {
    target: Shared,
    engine: &'static str,
}

type Shared = Arc<Mutex<Option<Box<dyn Target>>>>;

impl StepStatements {
    /// Returns the kind of database: `sqlite` or `postgres`.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Runs statements, separated by `;`, and returns how many rows they changed. They must not end
    /// the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] if the database refuses; [`Error::TransactionEnded`] once the step is
    /// over.
    pub fn run(
        &self,
        sql: &str,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static + use<> {
        let (target, sql) = (Arc::clone(&self.target), sql.to_owned());
        async move {
            match &mut *target.lock_owned().await {
                Some(target) => target.inspect().run(&sql).await,
                None => Err(ended()),
            }
        }
    }

    /// Runs a query, and returns its rows, each value as text.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn rows(
        &self,
        sql: &str,
    ) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, Error>> + Send + 'static + use<>
    {
        let (target, sql) = (Arc::clone(&self.target), sql.to_owned());
        async move {
            match &mut *target.lock_owned().await {
                Some(target) => target.ask(&sql).await,
                None => Err(ended()),
            }
        }
    }
}

impl fmt::Debug for StepStatements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepStatements")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// The database of a migration, which is lent to a step while it runs.
pub(super) struct TargetSlot(Option<Box<dyn Target>>);

impl TargetSlot {
    pub(super) fn new(target: Box<dyn Target>) -> Self {
        Self(Some(target))
    }

    pub(super) fn target(&mut self) -> Result<&mut (dyn Target + 'static), Error> {
        self.0.as_deref_mut().ok_or(Error::Closed)
    }

    /// Runs a step, and records that it ran.
    pub(super) async fn run(&mut self, step: &Step) -> Result<(), Error> {
        let target = self.target()?;
        let engine = target.engine();
        target.inspect().run("SAVEPOINT step").await?;

        // Taken back at the end, so that no statement can follow even if the step keeps its handle.
        let shared: Shared = Arc::new(Mutex::new(self.0.take()));
        let sql = StepStatements {
            target: Arc::clone(&shared),
            engine,
        };
        let running = AssertUnwindSafe(async { (step.run)(sql).await });
        let ran = running.catch_unwind().await;
        self.0 = shared.lock().await.take();

        let failed = |source: BoxError| Error::Step {
            name: step.name.clone(),
            source,
        };
        match ran {
            Ok(ran) => ran.map_err(failed)?,
            Err(payload) => return Err(Error::panicked("a step of the migration", &*payload)),
        }

        let target = self.target()?;
        // The savepoint is gone if the step has ended the transaction.
        let open = target.inspect().run("RELEASE SAVEPOINT step").await;
        open.map_err(|error| {
            let why = format!("it must not end the transaction ({error})");
            failed(why.into())
        })?;
        target.record(&step.name).await
    }

    /// Ends the transaction, if it was not committed.
    pub(super) async fn end(self) {
        if let Some(target) = self.0 {
            target.end().await;
        }
    }
}

fn ended() -> Error {
    Error::TransactionEnded {
        how: "the step of the migration is over",
    }
}
