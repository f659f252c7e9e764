//! Runs user code where its panic must not get out: drops, wakers, formatting, the program's
//! tracing subscriber.
//!
//! User code runs with no lock of ours held. A panic in it is logged, and does not keep the caller
//! from going on.

use std::{
    any::Any,
    mem,
    panic::{self, AssertUnwindSafe},
    task::Waker,
};

use tidings_core::panic_text;
use tokio::sync::Notify;

/// Runs user code; returns nothing if it panicked, which is logged. `what` names the code in the
/// log.
pub(crate) fn isolated<R>(what: &'static str, body: impl FnOnce() -> R) -> Option<R> {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(panic) => {
            report(what, panic);
            None
        }
    }
}

/// Runs code that may call the program's tracing subscriber; a panic in it is swallowed, since it
/// cannot be logged.
pub(crate) fn quietly<R>(body: impl FnOnce() -> R) -> Option<R> {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(panic) => {
            dispose(panic);
            None
        }
    }
}

/// Drops a user's value.
pub(crate) fn discard<T>(what: &'static str, value: T) {
    if mem::needs_drop::<T>() {
        isolated(what, || drop(value));
    }
}

/// Wakes a task.
pub(crate) fn wake(waker: Waker) {
    isolated("a waker", || waker.wake());
}

/// Wakes the tasks that wait for a notice.
pub(crate) fn notify(waiting: &Notify) {
    isolated("a waker", || waiting.notify_waiters());
}

#[cold]
fn report(what: &'static str, panic: Box<dyn Any + Send>) {
    quietly(|| {
        tracing::error!(
            panic = panic_text(&*panic),
            "{what} panicked; the event bus goes on"
        );
    });
    dispose(panic);
}

/// Drops the payload of a panic, which may panic in turn.
#[cold]
pub(crate) fn dispose(panic: Box<dyn Any + Send>) {
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(second);
    }
}
