//! [`turn`]: yields to the executor's other tasks, whichever executor it is.

use std::{future::poll_fn, task::Poll};

/// Resolves when the executor polls the task again.
pub(crate) async fn turn() {
    let mut taken = false;
    poll_fn(|context| {
        if std::mem::replace(&mut taken, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
