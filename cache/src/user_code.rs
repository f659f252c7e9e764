//! Runs user code: wakers, and the `Drop` of values. It may call back and may panic, so it runs
//! with no lock of ours held, and a panic of one call does not keep the next from running.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

use tidings_core::panic_text;

/// Wakes each waker. One that panics leaves none of the others asleep.
pub(crate) fn wake(wakers: impl Iterator<Item = Waker>) {
    for waker in wakers {
        contained("a waker panicked", || waker.wake());
    }
}

/// Drops each value by itself. One whose `Drop` panics takes no other along.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        contained("a value panicked while it was dropped", || drop(value));
    }
}

/// Runs user code, and logs a panic instead of passing it on.
pub(crate) fn contained(what: &'static str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        let message = panic_text(&*panic).to_owned();
        // The panic's payload runs user code when it is dropped, and so does the log's subscriber.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        let _ = catch_unwind(AssertUnwindSafe(|| tracing::error!(%message, "{what}")));
    }
}

/// Writes to the log. A subscriber that panics harms nothing else.
pub(crate) fn log(say: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(say));
}
