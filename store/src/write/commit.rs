//! The one path of every write: from the call to the commit, the sink and the answer.
//!
//! A write is one task of the store's runtime. Its caller may go away at any time: the task goes on
//! and does all of it or nothing. Its order is the point:
//!
//! 1. hooks before (may refuse);
//! 2. begin; read, hold and check; change;
//! 3. complete what the log holds of it; take a turn on the changed rows, while they are held;
//! 4. commit;
//! 5. when the turn comes, tell the sink: so it hears of the commits of one row in their order, and
//!    has evicted before the caller learns of the commit. SQLite's only writer is held until here;
//! 6. let go of the session and the turn, so that handlers can write;
//! 7. await the sink's future (the handlers); hooks after; answer.
//!
//! A commit whose end is not known, or whose task is dropped in the middle of it (its runtime is
//! shut down), ends in doubt: the sink hears that instead of 5. In the second case it hears it
//! twice, at once and when the database is known to be done.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{Cause, Row, Schema};

use crate::{
    engine::{CommitError, Engine, Session},
    error::Error,
    hook::Call,
    method::Method,
    selector::{Selector, WriteOptions},
    sink::{ChangeSet, ChangeSink},
    write::{
        attached::Attached,
        catalog::Stored,
        notes::Extent,
        operation::Operation,
        sequence::{Reach, Turn},
        transaction::{Limit, Transaction},
    },
};

/// Where writes on one entity go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) attached: Arc<Attached>,
    pub(crate) entity: usize,
}

/// How often a write is done again that others stopped: by a deadlock, or by a row made since it
/// was looked for.
const ATTEMPTS: usize = 8;

impl Route {
    /// Does a write in a task of its own. The cause is that of the caller, now.
    pub(crate) fn write<O: Operation>(
        &self,
        operation: Result<O, Error>,
        options: WriteOptions,
    ) -> impl Future<Output = Result<O::Output, Error>> + Send + 'static + use<O> {
        let route = self.clone();
        let cause = Cause::current();
        async move {
            let operation = operation?;
            let attached = Arc::clone(&route.attached);
            let began = attached.clock.now();
            let task = attached.runtime.spawn(route.run(operation, options, cause));
            let written = match task.await {
                Ok(result) => result,
                Err(error) => Err(match error.try_into_panic() {
                    Ok(payload) => Error::panicked("a write", &*payload),
                    Err(_) => Error::Interrupted,
                }),
            };
            attached.meter.write(&*attached.clock, began, &written);
            written
        }
    }

    pub(crate) fn stored(&self) -> &Stored {
        self.attached.catalog.get(self.entity)
    }

    async fn run<O: Operation>(
        self,
        mut operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<O::Output, Error> {
        let hooks = self.stored().hooks.current();
        // Only hooks want to know, and a row may be long.
        let seen = (O::HOOKED && !hooks.is_empty()).then(|| Seen::of(&operation));
        if let Some(seen) = &seen {
            hooks.before(&seen.call(self.stored().schema, seen.row.as_ref()))?;
        }

        let mut attempt = 1;
        let output = loop {
            let again = operation.again().filter(|_| attempt < ATTEMPTS);
            match self.attempt(operation, options, cause).await {
                Err(error) if error.is_contention() && again.is_some() => {
                    attempt += 1;
                    match again {
                        Some(again) => operation = again,
                        None => break Err(error),
                    }
                }
                ended => break ended,
            }
        }?;

        if let Some(seen) = &seen {
            hooks.after(&seen.call(self.stored().schema, O::row(&output)));
        }
        Ok(output)
    }

    /// Does the write once.
    async fn attempt<O: Operation>(
        &self,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<O::Output, Error> {
        let waiting = self.attached.meter.wait();
        let mut session = self.engine.begin().await?;
        drop(waiting);
        if options.no_event {
            session.silence().await?;
        }
        let staged = AssertUnwindSafe(self.stage(&mut *session, operation, options, cause));
        let staged = match staged.catch_unwind().await {
            Ok(staged) => staged,
            Err(payload) => Err(Error::panicked("a write", &*payload)),
        };
        let (output, changes) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                session.rollback().await;
                return Err(error);
            }
        };

        let Some(mut changes) = changes else {
            session.rollback().await;
            return Ok(output);
        };
        if let Err(error) = session.seal(&changes.entities()).await {
            session.rollback().await;
            return Err(error);
        }
        changes.commit = session.mark();
        self.commit(session, changes).await?;
        Ok(output)
    }

    /// Does the write up to its commit; the changes are `None` if nothing was written.
    async fn stage<O: Operation>(
        &self,
        session: &mut dyn Session,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<(O::Output, Option<ChangeSet>), Error> {
        let attached = &self.attached;
        let now = attached.clock.wall_micros();
        let limit = Limit::starting(&attached.clock, self.engine.longest());
        let mut transaction = Transaction::new(&attached.catalog, session, now, limit);
        let output = operation.run(&mut transaction, self.entity).await?;

        let noted = transaction.finish();
        let changes = (noted.extent == Extent::Something).then_some(ChangeSet {
            changes: noted.changes,
            evict: noted.evict,
            touched: noted.touched,
            no_event: options.no_event,
            cause,
            commit: None,
        });
        Ok((output, changes))
    }

    /// Commits, and waits for the handlers.
    async fn commit(&self, session: Box<dyn Session>, changes: ChangeSet) -> Result<(), Error> {
        let reach = if changes.touched.is_empty() {
            let rows = changes.changes.iter();
            let rows = rows.map(|change| change.schema.primary_cache_key(&change.row));
            Reach::Rows(rows.collect())
        } else {
            Reach::All
        };
        let turn = self.attached.sequence.turn(reach);
        let commit = Commit {
            session: Some(session),
            sink: Arc::clone(&self.attached.sink),
            changes: Some(changes),
            turn,
        };
        let announced = commit.run().await.inspect_err(|error| {
            tracing::error!(entity = self.stored().schema.name(), %error, "a commit failed");
        })?;

        if let Err(payload) = AssertUnwindSafe(announced).catch_unwind().await {
            log_panic(&*payload);
        }
        Ok(())
    }
}

/// A commit that is being done. Dropped before its end is known, it tells the sink so, at once and
/// again when it has ended.
struct Commit {
    /// Held until the sink was told.
    session: Option<Box<dyn Session>>,
    sink: Arc<dyn ChangeSink>,
    /// None once the sink was told.
    changes: Option<ChangeSet>,
    turn: Turn,
}

impl Commit {
    /// Commits and tells the sink; returns the future that runs the handlers.
    async fn run(mut self) -> Result<BoxFuture<'static, ()>, Error> {
        let Some(session) = &mut self.session else {
            return Err(Error::Closed);
        };
        let committed = session.commit().await;
        self.turn.come().await;

        // From here to the end no await on the way of a commit: nothing can come between it and the
        // sink.
        match (committed, self.changes.take()) {
            (Ok(()), Some(changes)) => {
                let told = catch_unwind(AssertUnwindSafe(|| self.sink.committed(changes)));
                Ok(told.unwrap_or_else(|payload| {
                    log_panic(&*payload);
                    Box::pin(std::future::ready(()))
                }))
            }
            (Ok(()), None) => Ok(Box::pin(std::future::ready(()))),
            (Err(error), changes) => {
                let error = match error {
                    CommitError::Failed(error) => error,
                    CommitError::InDoubt(error) => {
                        if let Some(changes) = changes {
                            tell_doubt(&*self.sink, &changes);
                        }
                        error
                    }
                };
                if let Some(session) = &mut self.session {
                    session.rollback().await;
                }
                Err(error)
            }
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let (Some(changes), Some(mut session)) = (self.changes.take(), self.session.take()) else {
            return;
        };
        tell_doubt(&*self.sink, &changes);

        // The database may be about to commit still, after which a load begun in between would be
        // stale: so the sink is told again then, from a thread with a runtime of its own, since
        // this one was just shut down. The session goes along, and what it holds is free when all
        // is told.
        let sink = Arc::clone(&self.sink);
        let settle = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(session.settle());
            }
            tell_doubt(&*sink, &changes);
        };
        let name = "tidings-store-doubt".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(settle) {
            tracing::error!(%error, "an interrupted commit is not waited for");
        }
    }
}

fn tell_doubt(sink: &dyn ChangeSink, changes: &ChangeSet) {
    let told = catch_unwind(AssertUnwindSafe(|| sink.in_doubt(changes)));
    if let Err(payload) = told {
        log_panic(&*payload);
    }
}

fn log_panic(payload: &(dyn std::any::Any + Send)) {
    let error = Error::panicked("the change sink", payload);
    tracing::error!(%error, "the row was changed all the same");
}

/// What hooks see of a write.
struct Seen {
    method: Method,
    selector: Option<Selector>,
    row: Option<Row>,
}

impl Seen {
    fn of<O: Operation>(operation: &O) -> Self {
        let (method, selector, row) = operation.request();
        Self {
            method,
            selector: selector.cloned(),
            row: row.cloned(),
        }
    }

    fn call<'a>(&'a self, schema: &'static Schema, row: Option<&'a Row>) -> Call<'a> {
        Call {
            method: self.method,
            schema,
            selector: self.selector.as_ref(),
            row,
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
