//! [`written`]: what the writes of a future wrote, so that a caller learns the name of its commit.
//!
//! A write runs in a task of its own and answers with a row. A caller that needs to know in which
//! commit it ended runs it inside of [`written`]; nothing else about the write changes, and writes
//! outside pay two reads of a thread-local. Writes count that were called or are awaited inside,
//! and have succeeded when the future ends.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

thread_local! {
    static CURRENT: RefCell<Option<Notes>> = const { RefCell::new(None) };
}

/// What the writes of a future wrote; see [`written`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// Nothing: no write was made, or none succeeded.
    #[default]
    Nothing,
    /// Something, in a database that keeps no log: its commits have no names.
    Unnamed,
    /// The transaction of this name ([`ChangeSet::commit`](crate::ChangeSet::commit)), which began
    /// when those of all other writes were over. A write that changed nothing has one too.
    Last(u64),
    /// Several transactions, some of them at the same time: none of them is the last.
    Several,
}

/// Runs a future, and returns with its output what its writes wrote.
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
    let notes = Notes::default();
    let scope = Scope {
        notes: notes.clone(),
        inner: std::pin::pin!(writes),
    };
    let output = scope.await;
    let written = notes.state().written;
    (output, written)
}

/// Where the writes of one scope are noted. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many writes have succeeded.
    ended: u64,
    written: Written,
}

/// A write that is being made.
#[derive(Debug)]
pub(crate) struct Began {
    notes: Notes,
    /// How many writes of the scope had ended before it began.
    after: u64,
}

impl Notes {
    /// Returns those of the scope that the thread is in, if it is in one.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Notes that a write begins.
    pub(crate) fn begin(self) -> Began {
        let after = self.state().ended;
        Began { notes: self, after }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Began {
    /// Notes that the write has succeeded, in the transaction of a name.
    pub(crate) fn end(self, transaction: Option<u64>) {
        let mut state = self.notes.state();
        // The others had ended before this one began, so whatever shows this one shows them.
        let is_last = state.ended == self.after;
        state.ended += 1;
        state.written = match (transaction, is_last) {
            (None, _) => Written::Unnamed,
            (Some(name), true) => Written::Last(name),
            (Some(_), false) => Written::Several,
        };
    }
}

struct Scope<'a, F> {
    notes: Notes,
    inner: Pin<&'a mut F>,
}

impl<F: Future> Future for Scope<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = Entered::new(self.notes.clone());
        self.inner.as_mut().poll(context)
    }
}

/// Leaves the scope when it is dropped, also while a poll panics.
struct Entered {
    outer: Option<Notes>,
}

impl Entered {
    fn new(notes: Notes) -> Self {
        Self {
            outer: CURRENT.replace(Some(notes)),
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

    fn note(began: Option<Began>, name: u64) {
        began.expect("inside of a scope").end(Some(name));
    }

    fn begin() -> Option<Began> {
        Notes::current().map(Notes::begin)
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
        assert_eq!(wrote.await, Written::Last(9));
        assert!(Notes::current().is_none(), "the scope has ended");
    }

    #[tokio::test]
    async fn of_writes_at_the_same_time_none_is_the_last_until_another_comes_after_them() {
        let both = || {
            let (one, two) = (begin(), begin());
            note(two, 4);
            note(one, 3);
        };
        assert_eq!(of(both).await, Written::Several);
        let then = of(|| {
            both();
            note(begin(), 5);
        });
        assert_eq!(then.await, Written::Last(5));
    }

    #[tokio::test]
    async fn an_inner_scope_takes_its_writes_for_itself() {
        let (inner, outer) = written(async {
            note(begin(), 1);
            of(|| note(begin(), 2)).await
        })
        .await;
        assert_eq!((inner, outer), (Written::Last(2), Written::Last(1)));
    }
}
