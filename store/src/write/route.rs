//! The path of every write: from the call to the commit, the sink and the answer.
//!
//! A write is one task of the store's runtime. Its caller may go away at any time: the task
//! continues, and does everything or nothing. Its steps, in this order:
//!
//! 1. hooks before (may refuse);
//! 2. begin; read, lock and check; change;
//! 3. complete the records in the log; take a turn on the changed rows, while they are locked;
//! 4. commit;
//! 5. when the turn comes, notify the sink. So it receives the commits of one row in their order,
//!    and has evicted before the caller learns of the commit. SQLite's only writer is held until
//!    here;
//! 6. release the session and the turn, so that handlers can write;
//! 7. await the sink's future (the handlers); hooks after; answer.
//!
//! In a transaction over several calls, a write is step 2 alone, in the task of that transaction;
//! hooks run around it as usual.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tidings_core::{Cause, Row, Schema, log::CommitName};
use tokio::runtime::Handle;

use crate::{
    engine::{Engine, Session},
    error::Error,
    hook::Call,
    method::Method,
    selector::{Selector, WriteOptions},
    sink::ChangeSet,
    write::{
        attached::Attached,
        catalog::Stored,
        commit::{Naming, Origin, change_set, commit},
        open_transaction::TransactionHandle,
        operation::Operation,
        transaction::{Limit, Transaction},
    },
    written::{Placement, WriteRecorder},
};

/// The path of writes on one entity. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) attached: Arc<Attached>,
    pub(crate) entity: usize,
    /// The transaction over several calls that they are part of, if any.
    pub(crate) transaction: Option<TransactionHandle>,
}

/// How many times a write is attempted if others stop it: by a deadlock, or by a row that was
/// created since the write looked for it.
const ATTEMPTS: usize = 8;

impl Route {
    /// Runs a write in a task of its own. Its cause is that of the caller at the time of this call.
    pub(crate) fn write<O: Operation>(
        &self,
        operation: Result<O, Error>,
        options: WriteOptions,
    ) -> impl Future<Output = Result<O::Output, Error>> + Send + 'static + use<O> {
        let route = self.clone();
        let cause = Cause::current();
        let recorder = WriteRecorder::current();
        async move {
            let operation = operation?;
            if let Some(transaction) = route.transaction.clone() {
                return route.run_within(&transaction, operation, options).await;
            }

            // The call may have been made outside the scope in which it is awaited.
            let began = WriteRecorder::current()
                .or(recorder)
                .map(WriteRecorder::begin);
            let written = route.spawned(operation, options, cause).await;
            let (output, placed) = written?;
            if let Some(began) = began {
                began.end(placed);
            }
            Ok(output)
        }
    }

    /// Runs it in a task of the store's runtime, which continues if its caller goes away.
    async fn spawned<O: Operation>(
        self,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<(O::Output, Placement), Error> {
        let attached = Arc::clone(&self.attached);
        let began = attached.clock.now();
        let task = attached.runtime.spawn(self.run(operation, options, cause));
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

    /// Returns the name of a transaction that covers everything that is committed now; `None` if
    /// transactions have no names. It waits for its turn like a write, and changes nothing.
    pub(crate) async fn now(
        engine: Arc<dyn Engine>,
        runtime: &Handle,
    ) -> Result<Option<CommitName>, Error> {
        let task = runtime.spawn(async move {
            let mut session = engine.begin().await?;
            let transaction = session.mark();
            session.rollback().await;
            Ok(transaction)
        });
        task.await.unwrap_or(Err(Error::Interrupted))
    }

    pub(crate) fn stored(&self) -> &Stored {
        self.attached.catalog.get(self.entity)
    }

    async fn run<O: Operation>(
        self,
        mut operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<(O::Output, Placement), Error> {
        let hooks = self.stored().hooks.current();
        // Copied only for hooks, because a row may be long.
        let seen = (O::HOOKED && !hooks.is_empty()).then(|| Seen::of(&operation));
        if let Some(seen) = &seen {
            hooks.before(&seen.call(self.stored().schema, seen.row.as_ref()))?;
        }

        let mut attempt = 1;
        let (output, placed) = loop {
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
        Ok((output, placed))
    }

    /// Runs the write once, as a part of a transaction over several calls.
    async fn run_within<O: Operation>(
        &self,
        transaction: &TransactionHandle,
        operation: O,
        options: WriteOptions,
    ) -> Result<O::Output, Error> {
        if options.no_event && !transaction.terms().origin.no_event {
            return Err(Error::Setting {
                option: "no_event",
                given: "true".to_owned(),
                allowed: "set for the transaction as a whole".to_owned(),
            });
        }

        let hooks = self.stored().hooks.current();
        let seen = (O::HOOKED && !hooks.is_empty()).then(|| Seen::of(&operation));
        if let Some(seen) = &seen {
            hooks.before(&seen.call(self.stored().schema, seen.row.as_ref()))?;
        }

        let entity = self.entity;
        let done = transaction.call(move |transaction| operation.run(transaction, entity).boxed());
        let output = done.await?;

        if let Some(seen) = &seen {
            hooks.after(&seen.call(self.stored().schema, O::row(&output)));
        }
        Ok(output)
    }

    /// Runs the write once. Returns its output, and its transaction's place in the log.
    async fn attempt<O: Operation>(
        &self,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<(O::Output, Placement), Error> {
        let waiting = self.attached.meter.wait();
        let mut session = self.engine.begin().await?;
        drop(waiting);
        if options.no_event {
            session.silence().await?;
        }

        let origin = Origin {
            no_event: options.no_event,
            cause,
        };
        let staged = AssertUnwindSafe(self.stage(&mut *session, operation, origin));
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

        let placed = match changes {
            None => {
                let naming = Naming::begin(&*self.attached.sink, &*session);
                session.rollback().await;
                naming.end(&*self.attached.sink)
            }
            Some(changes) => commit(&self.attached, session, changes).await?,
        };
        Ok((output, placed))
    }

    /// Runs the write up to its commit. The changes are `None` if nothing was written.
    async fn stage<O: Operation>(
        &self,
        session: &mut dyn Session,
        operation: O,
        origin: Origin,
    ) -> Result<(O::Output, Option<ChangeSet>), Error> {
        let attached = &self.attached;
        let now = attached.clock.wall_micros();
        let limit = Limit::starting(&attached.clock, self.engine.longest());
        let mut transaction = Transaction::new(&attached.catalog, session, now, limit);
        let output = operation.run(&mut transaction, self.entity).await?;

        let changes = change_set(transaction.finish(), origin);
        Ok((output, changes))
    }
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
