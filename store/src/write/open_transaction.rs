//! [`OpenTransaction`]: a transaction over several calls.
//!
//! It is one task of the store's runtime, which owns the session and runs one command after the
//! other. So a call that is dropped half-way is still finished, a commit always reaches the sink,
//! and a transaction whose handle is dropped is rolled back.
//!
//! The first call that fails ends it, because the effects of a half-finished call cannot be
//! separated from the rest. It also ends when it was open for too long, even if no call is made.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either, select},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    engine::Engine,
    error::Error,
    write::{
        attached::Attached,
        commit::{Naming, Origin, change_set, commit},
        transaction::{Limit, Transaction},
    },
    written::{Placement, WriteRecorder},
};

/// A call to run in the transaction.
type Work = Box<dyn for<'t, 'a> FnOnce(&'t mut Transaction<'a>) -> BoxFuture<'t, AfterCall> + Send>;

/// Whether the transaction continues after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterCall {
    Continue,
    Abort,
}

enum Command {
    Do(Work),
    Commit(oneshot::Sender<Result<Placement, Error>>),
    RollBack(oneshot::Sender<()>),
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Committed,
    RolledBack,
    Failed,
    TooLong(Duration),
    /// The store was released.
    Released,
}

/// The options of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) origin: Origin,
    /// How long it may be open.
    pub(crate) longest: Duration,
}

/// An open transaction. If it is dropped, it is rolled back.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    commands: mpsc::Sender<Command>,
    ended: Arc<OnceLock<Ended>>,
    terms: Terms,
}

/// A handle to a transaction that does not keep it open.
#[derive(Clone, Debug)]
pub(crate) struct TransactionHandle {
    commands: mpsc::WeakSender<Command>,
    ended: Arc<OnceLock<Ended>>,
    terms: Terms,
}

impl OpenTransaction {
    /// Begins a transaction.
    pub(crate) async fn begin(
        engine: Arc<dyn Engine>,
        attached: Arc<Attached>,
        terms: Terms,
    ) -> Result<Self, Error> {
        let (commands, queue) = mpsc::channel(1);
        let (begun, has_begun) = oneshot::channel();
        let ended = Arc::default();
        let task = Task {
            engine,
            queue,
            ended: Arc::clone(&ended),
            terms,
        };
        let runtime = attached.runtime.clone();
        runtime.spawn(task.run(attached, begun));
        has_begun.await.unwrap_or(Err(Error::Interrupted))?;

        Ok(Self {
            commands,
            ended,
            terms,
        })
    }

    pub(crate) fn handle(&self) -> TransactionHandle {
        TransactionHandle {
            commands: self.commands.downgrade(),
            ended: Arc::clone(&self.ended),
            terms: self.terms,
        }
    }

    /// Commits, and waits for the handlers.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        let began = WriteRecorder::current().map(WriteRecorder::begin);
        let (reply, answer) = oneshot::channel();

        // The answer shows whether the command was taken.
        let _ = self.commands.send(Command::Commit(reply)).await;
        let committed = answer.await.unwrap_or_else(|_| Err(error(&self.ended)));
        let placed = committed?;
        if let Some(began) = began {
            began.end(placed);
        }

        Ok(())
    }

    /// Rolls back, and waits until everything that the transaction held is released.
    pub(crate) async fn roll_back(self) {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::RollBack(reply)).await;
        let _ = answer.await;
    }
}

impl TransactionHandle {
    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    /// Runs a call in the transaction. Once the future has been polled, the call runs to its end
    /// even if the future is dropped. An error ends the transaction.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t, 'a> FnOnce(&'t mut Transaction<'a>) -> BoxFuture<'t, Result<T, Error>>
            + Send
            + 'static,
    {
        let Some(commands) = self.commands.upgrade() else {
            // The task may not have noticed yet.
            let how = "its handle is gone";
            return Err(match self.ended.get() {
                Some(_) => error(&self.ended),
                None => Error::TransactionEnded { how },
            });
        };

        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |transaction| {
            async move {
                let done = AssertUnwindSafe(work(transaction)).catch_unwind().await;
                let done = done.unwrap_or_else(|payload| Err(Error::panicked("a call", &*payload)));
                let after_call = match &done {
                    Ok(_) => AfterCall::Continue,
                    Err(_) => AfterCall::Abort,
                };
                // The caller may have gone away.
                let _ = reply.send(done);
                after_call
            }
            .boxed()
        });
        let _ = commands.send(Command::Do(work)).await;
        drop(commands);

        answer.await.unwrap_or_else(|_| Err(error(&self.ended)))
    }
}

/// Returns the error for a call after the end.
fn error(ended: &OnceLock<Ended>) -> Error {
    let how = match ended.get() {
        Some(Ended::TooLong(limit)) => return Error::TooLong { limit: *limit },
        Some(Ended::Released) => return Error::Closed,
        Some(Ended::Committed) => "it was committed",
        Some(Ended::Failed) => "a call in it failed, and it was rolled back",
        Some(Ended::RolledBack) => "it was rolled back",
        // The task was dropped with its runtime.
        None => return Error::Interrupted,
    };
    Error::TransactionEnded { how }
}

/// The task of a transaction.
struct Task {
    engine: Arc<dyn Engine>,
    queue: mpsc::Receiver<Command>,
    ended: Arc<OnceLock<Ended>>,
    terms: Terms,
}

/// Why a task stops.
enum Exit {
    Commit(oneshot::Sender<Result<Placement, Error>>),
    RollBack(Option<oneshot::Sender<()>>),
    Failed,
    TooLong,
    Released,
}

impl Task {
    async fn run(mut self, attached: Arc<Attached>, begun: oneshot::Sender<Result<(), Error>>) {
        let began = attached.clock.now();
        let waiting = attached.meter.wait();
        let mut session = match self.engine.begin().await {
            Ok(session) => session,
            Err(error) => return drop(begun.send(Err(error))),
        };
        drop(waiting);
        if self.terms.origin.no_event
            && let Err(error) = session.silence().await
        {
            session.rollback().await;
            return drop(begun.send(Err(error)));
        }

        let limit = Limit::starting(&attached.clock, self.terms.longest);
        let now = attached.clock.wall_micros();
        let mut transaction =
            Transaction::new(&attached.catalog, &mut *session, now, limit.clone());
        if begun.send(Ok(())).is_err() {
            return session.rollback().await;
        }

        // A released store waits for no caller and no statement.
        let released = self.engine.released();
        let exit = match select(released, pin!(self.process(&mut transaction, &limit))).await {
            Either::Left(_) => Exit::Released,
            Either::Right((exit, _)) => exit,
        };
        let buffered = transaction.finish();
        match exit {
            Exit::Commit(reply) => {
                let changes = change_set(buffered, self.terms.origin);
                let committed = match changes {
                    Some(changes) => commit(&attached, session, changes).await,
                    None => {
                        let naming = Naming::begin(&*attached.sink, &*session);
                        session.rollback().await;
                        Ok(naming.end(&*attached.sink))
                    }
                };
                let ended = match &committed {
                    Ok(_) => Ended::Committed,
                    Err(_) => Ended::Failed,
                };
                self.end(ended);
                attached.meter.write(&*attached.clock, began, &committed);

                let _ = reply.send(committed);
            }
            Exit::RollBack(reply) => {
                session.rollback().await;
                drop(session);
                self.end(Ended::RolledBack);
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
            }
            Exit::Failed => {
                self.end(Ended::Failed);
                session.rollback().await;
            }
            Exit::Released => {
                self.end(Ended::Released);
                session.rollback().await;
            }
            Exit::TooLong => {
                self.end(Ended::TooLong(self.terms.longest));
                session.rollback().await;
                let limit = self.terms.longest;
                tracing::warn!(
                    ?limit,
                    "a transaction was open for too long, and was rolled back"
                );
            }
        }
    }

    /// Runs commands until one ends the transaction, a call fails, or the limit has passed.
    async fn process(&mut self, transaction: &mut Transaction<'_>, limit: &Limit) -> Exit {
        let mut too_late = pin!(limit.reached());
        loop {
            let command = match select(&mut too_late, pin!(self.queue.recv())).await {
                Either::Left(_) => return Exit::TooLong,
                Either::Right((command, _)) => command,
            };

            match command {
                None => return Exit::RollBack(None),
                Some(Command::Commit(reply)) => return Exit::Commit(reply),
                Some(Command::RollBack(reply)) => return Exit::RollBack(Some(reply)),
                Some(Command::Do(work)) => match work(transaction).await {
                    AfterCall::Continue => {}
                    AfterCall::Abort => return Exit::Failed,
                },
            }
        }
    }

    /// Records how the transaction ended, before callers in the queue learn that it did.
    fn end(&mut self, how: Ended) {
        let _ = self.ended.set(how);
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}
