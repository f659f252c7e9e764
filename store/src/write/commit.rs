//! The one path of every write: from the call to the commit, the sink and the answer.
//!
//! A write is one task of the store's runtime. Whoever asked for it may go away at any time: the task goes on
//! and does all of it or nothing. Its order is the point:
//!
//! 1. hooks before (may refuse);
//! 2. take the writer; begin; read, check, change; commit;
//! 3. still holding the writer, tell the sink: so it hears of commits in their order, and has evicted before
//!    anybody learns of the commit;
//! 4. release the writer, so that handlers can write;
//! 5. await the sink's future (the handlers); hooks after; answer.
//!
//! A commit that fails, or whose task is dropped in the middle of it (its runtime is shut down), ends in
//! doubt: the sink hears that instead of 3. In the second case it hears it twice, at once and when the database
//! is known to be done.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{Cause, Row, Schema};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    error::Error,
    hook::Call,
    method::Method,
    selector::{Selector, WriteOptions},
    sink::{ChangeSet, ChangeSink},
    sqlite::connection::Writer,
    write::{attached::Attached, catalog::Stored, operation::Operation, transaction::Transaction},
};

/// Where writes on one entity go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) writer: Arc<Mutex<Writer>>,
    pub(crate) attached: Arc<Attached>,
    pub(crate) entity: usize,
}

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
            let runtime = route.attached.runtime.clone();
            match runtime.spawn(route.run(operation, options, cause)).await {
                Ok(result) => result,
                Err(error) => Err(match error.try_into_panic() {
                    Ok(payload) => Error::panicked("a write", &*payload),
                    Err(_) => Error::Interrupted,
                }),
            }
        }
    }

    pub(crate) fn stored(&self) -> &Stored {
        self.attached.catalog.get(self.entity)
    }

    async fn run<O: Operation>(
        self,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<O::Output, Error> {
        let hooks = self.stored().hooks.current();
        // Only hooks want to know, and a row may be long.
        let seen = (!hooks.is_empty()).then(|| Seen::of(&operation));
        if let Some(seen) = &seen {
            hooks.before(&seen.call(self.stored().schema, seen.row.as_ref()))?;
        }

        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let staged = AssertUnwindSafe(self.stage(&mut writer, operation, options, cause));
        let staged = match staged.catch_unwind().await {
            Ok(staged) => staged,
            Err(payload) => Err(Error::panicked("a write", &*payload)),
        };
        let (output, changes) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                writer.rollback().await;
                return Err(error);
            }
        };

        if changes.changes.is_empty() {
            writer.rollback().await;
            drop(writer);
        } else {
            self.commit(writer, changes).await?;
        }

        if let Some(seen) = &seen {
            hooks.after(&seen.call(self.stored().schema, O::row(&output)));
        }
        Ok(output)
    }

    /// Does the write up to its commit.
    async fn stage<O: Operation>(
        &self,
        writer: &mut Writer,
        operation: O,
        options: WriteOptions,
        cause: Option<Cause>,
    ) -> Result<(O::Output, ChangeSet), Error> {
        let connection = writer.begin().await?;
        let now = self.attached.clock.wall();
        let mut transaction = Transaction::new(&self.attached.catalog, connection, now);
        let output = operation.run(&mut transaction, self.entity).await?;

        let (changes, evict) = transaction.into_changes();
        let changes = ChangeSet {
            changes,
            evict,
            no_event: options.no_event,
            cause,
        };
        Ok((output, changes))
    }

    /// Commits, and waits for the handlers.
    async fn commit(
        &self,
        writer: OwnedMutexGuard<Writer>,
        changes: ChangeSet,
    ) -> Result<(), Error> {
        let commit = Commit {
            writer: Some(writer),
            sink: Arc::clone(&self.attached.sink),
            changes: Some(changes),
        };
        let announced = commit.run().await.map_err(|error| {
            tracing::error!(entity = self.stored().schema.name(), %error, "a commit failed");
            Error::Commit(error)
        })?;

        if let Err(payload) = AssertUnwindSafe(announced).catch_unwind().await {
            log_panic(&*payload);
        }
        Ok(())
    }
}

/// A commit that is being done. Dropped before its end is known, it tells the sink so, at once and again
/// when it has ended.
struct Commit {
    /// Held until the sink was told.
    writer: Option<OwnedMutexGuard<Writer>>,
    sink: Arc<dyn ChangeSink>,
    /// None once the sink was told.
    changes: Option<ChangeSet>,
}

impl Commit {
    /// Commits and tells the sink; gives the future that runs the handlers.
    async fn run(mut self) -> Result<BoxFuture<'static, ()>, sqlx::Error> {
        let Some(writer) = &mut self.writer else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        let committed = writer.commit().await;
        // No await between the answer and the sink: nothing can come between the two.
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
                if let Some(changes) = changes {
                    tell_doubt(&*self.sink, &changes);
                }
                if let Some(writer) = &mut self.writer {
                    writer.rollback().await;
                }
                Err(error)
            }
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let (Some(changes), Some(mut writer)) = (self.changes.take(), self.writer.take()) else {
            return;
        };
        tell_doubt(&*self.sink, &changes);
        // The database may be about to commit still, after which a load begun in between would be stale: so
        // the sink is told again then. The thread's end is nobody's concern; a runtime to wait on is not
        // to be had, since one was just shut down. The writer goes along, and is free when all is told.
        let sink = Arc::clone(&self.sink);
        let settle = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(writer.rollback());
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

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        sync::{Mutex, mpsc},
        task::{Context, Waker},
    };

    use tidings_core::{Field, Schema, Value, clock::ManualClock};

    use super::*;
    use crate::{Attachment, Store, Table, write::operation::Insert};

    #[derive(Debug, Default)]
    struct Recorder {
        committed: Mutex<usize>,
        in_doubt: Mutex<Vec<String>>,
    }

    impl ChangeSink for Recorder {
        fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
            *self.committed.lock().unwrap() += 1;
            Box::pin(std::future::ready(()))
        }

        fn in_doubt(&self, changes: &ChangeSet) {
            let keys = changes.evict.iter().map(ToString::to_string);
            self.in_doubt.lock().unwrap().extend(keys);
        }
    }

    async fn store(
        url: &str,
        sink: &Arc<Recorder>,
        runtime: tokio::runtime::Handle,
    ) -> (Store, Table) {
        let schema = Schema::builder("rows")
            .field(Field::of::<i64>("id").primary_key())
            .build();
        let store = Store::open(url).await.unwrap();
        let attachment = Attachment {
            schemas: vec![Box::leak(Box::new(schema))],
            sink: Arc::clone(sink) as Arc<dyn ChangeSink>,
            clock: Arc::new(ManualClock::new()),
            runtime,
        };
        store.attach(attachment).await.unwrap();
        let table = store.table("rows").unwrap();
        (store, table)
    }

    /// G2: the commit is being done when its task is dropped with its runtime.
    #[tokio::test]
    async fn a_commit_whose_runtime_goes_away_ends_in_doubt_and_evicts() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let sink = Arc::new(Recorder::default());
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/tidings.db", directory.path().display());
        let (_store, table) = store(&url, &sink, runtime.handle().clone()).await;

        // Holds the commit up, in the thread of the database.
        let (entered, has_entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        {
            let mut writer = table.route.writer.lock().await;
            let connection = writer.connection().await.unwrap();
            let mut handle = connection.lock_handle().await.unwrap();
            handle.set_commit_hook(move || {
                entered.send(()).unwrap();
                released.recv().is_ok()
            });
        }
        let mut write = Box::pin(table.insert(Row(vec![7_i64.into()]), WriteOptions::default()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
        has_entered.recv().unwrap();
        runtime.shutdown_background();
        let error = write.await.unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error:?}");
        assert_eq!(*sink.committed.lock().unwrap(), 0);
        assert_eq!(*sink.in_doubt.lock().unwrap(), ["rows@7"]);

        // It was committed in the end, of which the sink hears before anybody can write; the writer is usable.
        release.send(()).unwrap();
        let mut writer = table.route.writer.lock().await;
        assert_eq!(*sink.in_doubt.lock().unwrap(), ["rows@7", "rows@7"]);
        writer.begin().await.unwrap();
        writer.rollback().await;
        assert!(table.select(7_i64.into()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_transaction_that_was_abandoned_never_reaches_the_next_writer_or_reader() {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}/tidings.db", directory.path().display());
        for url in ["sqlite::memory:", &file] {
            let sink = Arc::new(Recorder::default());
            let runtime = tokio::runtime::Handle::current();
            let (_store, table) = store(url, &sink, runtime).await;
            let abandon = async |id: i64| {
                let mut writer = table.route.writer.lock().await;
                let write = Insert(Row(vec![Value::Integer(id)]));
                let route = &table.route;
                let staged = route.stage(&mut writer, write, WriteOptions::default(), None);
                let staged = staged.await;
                assert_eq!(staged.unwrap().1.changes.len(), 1);
            };
            abandon(1).await;
            assert_eq!(table.select(1_i64.into()).await.unwrap(), None);
            abandon(2).await;
            let row = table.insert(Row(vec![3_i64.into()]), WriteOptions::default());
            row.await.unwrap();
            assert_eq!(*sink.committed.lock().unwrap(), 1);
            let page = table.page(crate::PageQuery::default()).await.unwrap();
            assert_eq!(page.data, [Row(vec![3_i64.into()])]);
        }
    }
}
