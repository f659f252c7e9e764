//! Code of others that we run: wakers, and the `Drop` of values. Only with no lock of ours held,
//! and never so that a panic of one keeps another from its turn.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

use tidings_core::panic_text;

/// Wakes each; a waker that panics leaves none of the others asleep.
pub(crate) fn wake(wakers: impl Iterator<Item = Waker>) {
    for waker in wakers {
        contained("a waker panicked", || waker.wake());
    }
}

/// Drops each value by itself; one whose `Drop` panics takes no other along.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        contained("a value panicked while it was dropped", || drop(value));
    }
}

/// Runs code of others, and goes on if it panics.
pub(crate) fn contained(what: &'static str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        let message = panic_text(&*panic).to_owned();
        // What it panicked with is code of others too, and so is the subscriber of the log.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        let _ = catch_unwind(AssertUnwindSafe(|| tracing::error!(%message, "{what}")));
    }
}

/// Writes to the log. A subscriber that panics harms nothing else.
pub(crate) fn log(say: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(say));
}
