//! [`written`]: reports the commits of the writes that a future makes.
//!
//! A write runs in a task of its own and returns a row. A caller that needs the name of its commit
//! runs it inside [`written`]. Nothing else about the write changes, and writes outside pay two
//! reads of a thread-local. A write counts if it was called or is awaited inside, and has succeeded
//! when the future ends.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tidings_core::log::{Bookmark, Epoch};

thread_local! {
    static CURRENT: RefCell<Option<WriteRecorder>> = const { RefCell::new(None) };
}

/// The commits of the writes that a future made; see [`written`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// Nothing: no write was made, or none succeeded.
    #[default]
    Nothing,
    /// Something, in a database that keeps no log, with a sink that does not name commits either.
    Unnamed,
    /// The last transaction, which began after those of all other writes had ended: its name when
    /// it was committed ([`ChangeSink::mark`](crate::ChangeSink::mark), or
    /// [`last`](crate::ChangeSink::last) if the database keeps no log), and the place from which a
    /// reader that knows it goes on. A write that changed nothing has a name too.
    Last(Bookmark),
    /// Several transactions of one epoch of the log, some of them concurrent, so that none of them
    /// is the last.
    Several(Epoch),
    /// Something whose place in the log is not known: the log was not read yet, or began another
    /// epoch during the writes, and so may have lost a part of them.
    Unplaced,
}

/// The place of a transaction in the database's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The database keeps no log.
    NoLog,
    At(Bookmark),
    /// The log was not read yet, or began another epoch before the commit was acknowledged.
    Unknown,
}

/// Runs a future. Returns its output, and the commits of the writes that it made.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tidings_store::{Written, written};
///
/// let (output, wrote) = written(async { 7 }).await;
/// assert_eq!((output, wrote), (7, Written::Nothing));
/// # }
/// ```
///
/// # Cancel safety
///
/// As the future's.
pub async fn written<F: Future>(writes: F) -> (F::Output, Written) {
    let recorder = WriteRecorder::default();
    let scope = Scope {
        recorder: recorder.clone(),
        inner: std::pin::pin!(writes),
    };
    let output = scope.await;
    let written = recorder.state().written;
    (output, written)
}

/// Collects the writes of one scope. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteRecorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many writes have succeeded.
    ended: u64,
    written: Written,
}

/// A write in progress.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    recorder: WriteRecorder,
    /// How many writes of the scope had ended before it began.
    after: u64,
}

impl WriteRecorder {
    /// Returns the notes of the current scope, if there is one.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Notes that a write begins.
    pub(crate) fn begin(self) -> PendingWrite {
        let after = self.state().ended;
        PendingWrite {
            recorder: self,
            after,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingWrite {
    /// Notes that the write has succeeded, and its place.
    pub(crate) fn end(self, placement: Placement) {
        let mut state = self.recorder.state();
        // All others ended before this one began, so a reader that has seen this one has seen them.
        let is_last = state.ended == self.after;
        state.ended += 1;

        let before = state.written.epoch();
        state.written = match placement {
            Placement::NoLog => Written::Unnamed,
            Placement::Unknown => Written::Unplaced,
            Placement::At(_) if state.written == Written::Unplaced => Written::Unplaced,
            Placement::At(it) if before.is_some_and(|before| before != it.mark().epoch()) => {
                Written::Unplaced
            }
            Placement::At(bookmark) if is_last => Written::Last(bookmark),
            Placement::At(bookmark) => Written::Several(bookmark.mark().epoch()),
        };
    }
}

impl Written {
    /// Returns the epoch of the log that contains all of the writes, if that is known.
    fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Last(bookmark) => Some(bookmark.mark().epoch()),
            Self::Several(epoch) => Some(epoch),
            Self::Nothing | Self::Unnamed | Self::Unplaced => None,
        }
    }
}

struct Scope<'a, F> {
    recorder: WriteRecorder,
    inner: Pin<&'a mut F>,
}

impl<F: Future> Future for Scope<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = Entered::new(self.recorder.clone());
        self.inner.as_mut().poll(context)
    }
}

/// Leaves the scope when it is dropped, even if a poll panics.
struct Entered {
    outer: Option<WriteRecorder>,
}

impl Entered {
    fn new(recorder: WriteRecorder) -> Self {
        Self {
            outer: CURRENT.replace(Some(recorder)),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.outer.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tidings_core::log::{Mark, Resume};
    use uuid::Uuid;

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number, Uuid::nil())
    }

    fn bookmark(epoch: Epoch, number: u64) -> Bookmark {
        Bookmark::new(Mark::new(epoch, number), Resume::Counted(number))
    }

    fn mark(number: u64) -> Bookmark {
        bookmark(epoch(1), number)
    }

    fn note(began: Option<PendingWrite>, number: u64) {
        began
            .expect("inside of a scope")
            .end(Placement::At(mark(number)));
    }

    fn begin() -> Option<PendingWrite> {
        WriteRecorder::current().map(WriteRecorder::begin)
    }

    async fn of(writes: impl FnOnce()) -> Written {
        written(async { writes() }).await.1
    }

    #[tokio::test]
    async fn writes_one_after_the_other_end_in_the_last() {
        let wrote = of(|| {
            note(begin(), 3);
            note(begin(), 9);
        });
        assert_eq!(wrote.await, Written::Last(mark(9)));
        assert!(WriteRecorder::current().is_none(), "the scope has ended");
    }

    #[tokio::test]
    async fn of_writes_at_the_same_time_none_is_the_last_until_another_comes_after_them() {
        let both = || {
            let (one, two) = (begin(), begin());
            note(two, 4);
            note(one, 3);
        };
        assert_eq!(of(both).await, Written::Several(epoch(1)));
        let then = of(|| {
            both();
            note(begin(), 5);
        });
        assert_eq!(then.await, Written::Last(mark(5)));
    }

    #[tokio::test]
    async fn writes_of_two_epochs_have_no_place_whatever_comes_after_them() {
        let wrote = of(|| {
            note(begin(), 3);
            let later = bookmark(epoch(2), 1);
            begin()
                .expect("inside of a scope")
                .end(Placement::At(later));
            begin()
                .expect("inside of a scope")
                .end(Placement::At(later));
        });
        assert_eq!(wrote.await, Written::Unplaced);
        let unknown = of(|| begin().expect("inside of a scope").end(Placement::Unknown));
        assert_eq!(unknown.await, Written::Unplaced);
    }

    #[tokio::test]
    async fn an_inner_scope_takes_its_writes_for_itself() {
        let (inner, outer) = written(async {
            note(begin(), 1);
            of(|| note(begin(), 2)).await
        })
        .await;
        assert_eq!(
            (inner, outer),
            (Written::Last(mark(2)), Written::Last(mark(1)))
        );
    }
}
