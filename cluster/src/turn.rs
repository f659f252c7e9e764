//! [`turn`]: gives other tasks of the executor a turn, whatever executor that is.

use std::{future::poll_fn, task::Poll};

/// Resolves at the task's next turn.
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
