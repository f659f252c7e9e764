//! Commits a transaction, then notifies the sink and runs the handlers.
//!
//! The transaction's records in the log are completed. The write takes its turn on the changed rows
//! while it holds their locks, before the commit. When the turn comes, the sink receives the
//! commit, before the session is released; handlers run after that.
//!
//! A commit with an unknown outcome, or whose task is dropped in the middle of it (its runtime is
//! shut down), ends in doubt: the sink receives that in place of the commit. In the second case it
//! receives it twice: at once, and again when the database is done.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{
    Cause, Chain,
    log::{Bookmark, CommitName, Mark},
};

use crate::{
    engine::{CommitError, Session},
    error::Error,
    sink::{ChangeSet, ChangeSink},
    write::{
        attached::Attached,
        changes::{BufferedChanges, Extent},
        sequence::{Reach, Turn},
    },
    written::Placement,
};

/// A transaction's name in the log, taken right before its end.
pub(crate) struct Naming {
    commit: Option<CommitName>,
    before: Option<Mark>,
    /// The sink's name for it, if the database has none.
    counted: Option<Bookmark>,
}

impl Naming {
    pub(crate) fn begin(sink: &dyn ChangeSink, session: &dyn Session) -> Self {
        let commit = session.mark();
        let before = commit.and_then(|commit| {
            let mark = sink.mark(commit)?;
            commit.may_be_of(mark.epoch()).then_some(mark)
        });

        // For a transaction that changes nothing, this is the last commit that it saw.
        let counted = if commit.is_none() { sink.last() } else { None };
        Self {
            commit,
            before,
            counted,
        }
    }

    /// The same, for a transaction that is about to commit. If its name was already read from the
    /// log, the name belonged to a commit that the log has lost, and this one would wrongly count
    /// as evicted.
    fn begin_commit(sink: &dyn ChangeSink, session: &dyn Session) -> Self {
        let naming = Self::begin(sink, session);
        let before = naming.before.filter(|mark| !sink.has_seen(*mark));
        Self { before, ..naming }
    }

    /// Returns the place of the transaction, once it has ended. If another epoch has begun since,
    /// the transaction may be lost.
    pub(crate) fn end(self, sink: &dyn ChangeSink) -> Placement {
        let Some(commit) = self.commit else {
            return self.counted.map_or(Placement::NoLog, Placement::At);
        };

        let after = sink.mark(commit);
        match (self.before, commit.resume) {
            (Some(mark), Some(resume)) if after == Some(mark) => {
                Placement::At(Bookmark::new(mark, resume))
            }
            // Or a store without tables, where nothing is written.
            (Some(_) | None, Some(_) | None) => Placement::Unknown,
        }
    }
}

/// What the caller says of a transaction's changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Whether to run no handlers for them.
    pub(crate) no_event: bool,
    pub(crate) cause: Option<Cause>,
}

/// Returns the changes of a transaction for the sink, without its name in the log; `None` if it has
/// written nothing.
pub(crate) fn change_set(
    buffered: BufferedChanges,
    Origin { no_event, cause }: Origin,
) -> Option<ChangeSet> {
    (buffered.extent == Extent::Something).then_some(ChangeSet {
        changes: buffered.changes,
        evict: buffered.evict,
        touched: buffered.touched,
        no_event,
        cause,
        commit: None,
        mark: None,
    })
}

/// Commits, and waits for the handlers. Returns the transaction's place in the log. After an error
/// it is rolled back, or in doubt.
pub(crate) async fn commit(
    attached: &Attached,
    mut session: Box<dyn Session>,
    mut changes: ChangeSet,
) -> Result<Placement, Error> {
    if let Err(error) = session.seal(&changes.entities()).await {
        session.rollback().await;
        return Err(error);
    }
    let mut naming = Naming::begin_commit(&*attached.sink, &*session);
    changes.commit = naming.commit;
    changes.mark = naming.before;

    let schemas = changes.changes.iter().map(|change| change.schema);
    let mut schemas = schemas.chain(changes.touched.iter().copied());
    let entity = schemas.next().map(|schema| schema.name());
    let reach = if changes.touched.is_empty() {
        let rows = changes.changes.iter();
        let rows = rows.map(|change| change.schema.primary_cache_key(&change.row));
        Reach::Rows(rows.collect())
    } else {
        Reach::All
    };
    let turn = attached.sequence.turn(reach);

    let commit = Commit {
        session: Some(session),
        sink: Arc::clone(&attached.sink),
        changes: Some(changes),
        turn,
    };
    let (announced, counted) = commit.run().await.inspect_err(|error| {
        tracing::error!(entity, error = %Chain(error), "a commit failed");
    })?;
    naming.counted = counted;
    let placed = naming.end(&*attached.sink);

    if let Err(payload) = AssertUnwindSafe(announced).catch_unwind().await {
        log_panic(&*payload);
    }
    Ok(placed)
}

/// A commit in progress. If it is dropped before its outcome is known, it notifies the sink, at
/// once and again when the commit has ended.
struct Commit {
    /// Held until the sink is notified.
    session: Option<Box<dyn Session>>,
    sink: Arc<dyn ChangeSink>,
    /// `None` once the sink is notified.
    changes: Option<ChangeSet>,
    turn: Turn,
}

impl Commit {
    /// Commits and notifies the sink. Returns the future that runs the handlers, and the sink's
    /// name for the commit.
    async fn run(mut self) -> Result<(BoxFuture<'static, ()>, Option<Bookmark>), Error> {
        let Some(session) = &mut self.session else {
            return Err(Error::Closed);
        };
        let committed = session.commit().await;
        self.turn.wait().await;

        // From here on a successful commit passes no await, so nothing can come between it and the
        // sink.
        match (committed, self.changes.take()) {
            (Ok(()), Some(changes)) => {
                let notified = catch_unwind(AssertUnwindSafe(|| {
                    let handled = self.sink.committed(changes);
                    // While the commit holds its place, so that the last one is this one.
                    (handled, self.sink.last())
                }));
                Ok(notified.unwrap_or_else(|payload| {
                    log_panic(&*payload);
                    (Box::pin(std::future::ready(())), None)
                }))
            }
            (Ok(()), None) => Ok((Box::pin(std::future::ready(())), None)),
            (Err(error), changes) => {
                let error = match error {
                    CommitError::Failed(error) => error,
                    CommitError::InDoubt(error) => {
                        if let Some(changes) = changes {
                            notify_doubt(&*self.sink, &changes);
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
        notify_doubt(&*self.sink, &changes);

        // The database may still commit, and then a load that began in between would be stale. So
        // the sink is notified again after that, from a thread with a runtime of its own, because
        // this runtime was shut down. The thread owns the session, and releases what it holds at
        // the end.
        let sink = Arc::clone(&self.sink);
        let settle = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(session.settle());
            }
            notify_doubt(&*sink, &changes);
        };
        let name = "tidings-store-doubt".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(settle) {
            tracing::error!(error = %Chain(&error), "cannot wait for an interrupted commit");
        }
    }
}

fn notify_doubt(sink: &dyn ChangeSink, changes: &ChangeSet) {
    let notified = catch_unwind(AssertUnwindSafe(|| sink.in_doubt(changes)));
    if let Err(payload) = notified {
        log_panic(&*payload);
    }
}

fn log_panic(payload: &(dyn std::any::Any + Send)) {
    let error = Error::panicked("the change sink", payload);
    tracing::error!(error = %Chain(&error), "the row was changed all the same");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tidings_core::log::{Epoch, Resume};
    use uuid::Uuid;

    use super::*;
    use crate::sink::Begun;

    /// Names commits by the current epoch, if there is one.
    struct Names(AtomicU64);

    impl ChangeSink for Names {
        fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn in_doubt(&self, _: &ChangeSet) {}

        fn mark(&self, commit: CommitName) -> Option<Mark> {
            let epoch = self.0.load(Ordering::SeqCst);
            (epoch > 0).then(|| Mark::new(Epoch::new(epoch, Uuid::nil()), commit.number))
        }
    }

    #[test]
    fn a_commit_is_placed_if_its_epoch_goes_on_until_it_has_ended() {
        let five = CommitName {
            number: 5,
            id: None,
            begun: Begun::Unknown,
            resume: Some(Resume::Snapshot { xmin: 3 }),
        };
        let names = Names(AtomicU64::new(1));
        let placed = |before: u64, commit, after: u64| {
            names.0.store(before, Ordering::SeqCst);
            let before = names.mark(five);
            names.0.store(after, Ordering::SeqCst);
            let counted = None;
            Naming {
                commit,
                before,
                counted,
            }
            .end(&names)
        };
        let mark = Mark::new(Epoch::new(1, Uuid::nil()), 5);
        let bookmark = Bookmark::new(mark, Resume::Snapshot { xmin: 3 });
        assert_eq!(placed(1, Some(five), 1), Placement::At(bookmark));
        for (before, after) in [(1, 2), (0, 1), (1, 0)] {
            assert_eq!(placed(before, Some(five), after), Placement::Unknown);
        }
        assert_eq!(placed(1, None, 1), Placement::NoLog);
    }
}
