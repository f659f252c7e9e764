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
//! doubt: the sink hears that instead of 3.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt as _;
use tidings_core::Cause;

use crate::{
    ChangeSet, ChangeSink, Error, Method, Row, Selector, Table, WriteOptions,
    connection::Writer,
    hook::Call,
    transaction::{Transaction, Write, Written},
};

impl Table {
    /// Runs a write in a task of its own. The cause is that of the caller, now.
    pub(crate) fn write(
        &self,
        write: Result<Write, Error>,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Written, Error>> + Send + 'static + use<> {
        let table = self.clone();
        let cause = Cause::current();
        async move {
            let write = write?;
            let runtime = table.attached.runtime.clone();
            match runtime.spawn(run(table, write, options, cause)).await {
                Ok(result) => result,
                Err(error) => Err(match error.try_into_panic() {
                    Ok(payload) => Error::panicked("a write", &*payload),
                    Err(_) => Error::Interrupted,
                }),
            }
        }
    }
}

async fn run(
    table: Table,
    write: Write,
    options: WriteOptions,
    cause: Option<Cause>,
) -> Result<Written, Error> {
    let hooks = &table.stored().hooks;
    let (method, selector, row) = described(&write);
    let call = Call {
        method,
        schema: table.schema(),
        selector: selector.as_ref(),
        row: row.as_ref(),
    };
    hooks.before(&call)?;

    let mut writer = table.shared.writer.lock().await;
    let staged = AssertUnwindSafe(stage(&table, &mut writer, write, options, cause));
    let staged = match staged.catch_unwind().await {
        Ok(staged) => staged,
        Err(payload) => Err(Error::panicked("a write", &*payload)),
    };
    let (written, changes) = match staged {
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
        let sink = Arc::clone(&table.attached.sink);
        let doubt = Doubt {
            sink: &*sink,
            changes: Some(changes),
        };
        if let Err(error) = writer.commit().await {
            drop(doubt);
            writer.rollback().await;
            tracing::error!(entity = table.schema().name(), %error, "a commit failed");
            return Err(Error::Commit(error));
        }
        // No await between the commit's answer and the sink: nothing can come between the two.
        let announced = doubt.resolve();
        drop(writer);
        if let Some(announced) = announced
            && let Err(payload) = AssertUnwindSafe(announced).catch_unwind().await
        {
            log_panic(&*payload);
        }
    }
    hooks.after(&Call {
        row: written.row.as_ref(),
        ..call
    });
    Ok(written)
}

/// Does the write up to its commit.
async fn stage(
    table: &Table,
    writer: &mut Writer,
    write: Write,
    options: WriteOptions,
    cause: Option<Cause>,
) -> Result<(Written, ChangeSet), Error> {
    let connection = writer.begin().await?;
    let now = table.attached.clock.wall();
    let mut transaction = Transaction::new(&table.attached.catalog, connection, now);
    let written = transaction.run(table.entity, write).await?;
    let (changes, evict) = transaction.into_changes();
    let changes = ChangeSet {
        changes,
        evict,
        no_event: options.no_event,
        cause,
    };
    Ok((written, changes))
}

/// Changes whose commit has begun. Dropped unresolved, it tells the sink that their end is not known.
struct Doubt<'a> {
    sink: &'a dyn ChangeSink,
    changes: Option<ChangeSet>,
}

impl Doubt<'_> {
    /// The commit is certain: tells the sink, and gives the future that runs the handlers.
    fn resolve(mut self) -> Option<futures_util::future::BoxFuture<'static, ()>> {
        let changes = self.changes.take()?;
        let told = catch_unwind(AssertUnwindSafe(|| self.sink.committed(changes)));
        told.map_err(|payload| log_panic(&*payload)).ok()
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(changes) = self.changes.take() {
            let told = catch_unwind(AssertUnwindSafe(|| self.sink.in_doubt(&changes)));
            if let Err(payload) = told {
                log_panic(&*payload);
            }
        }
    }
}

fn log_panic(payload: &(dyn std::any::Any + Send)) {
    let error = Error::panicked("the change sink", payload);
    tracing::error!(%error, "the row was changed all the same");
}

/// What hooks see of a write before it is done.
fn described(write: &Write) -> (Method, Option<Selector>, Option<Row>) {
    match write {
        Write::Insert(row) => (Method::Insert, None, Some(row.clone())),
        Write::Update { selector, .. } => (Method::Update, Some(selector.clone()), None),
        Write::Upsert { selector, .. } => (Method::Upsert, Some(selector.clone()), None),
        Write::Delete { selector } => (Method::Delete, Some(selector.clone()), None),
    }
}
