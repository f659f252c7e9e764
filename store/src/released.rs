//! [`Released`]: whether a store was released, for tasks that wait while they hold a connection.

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;

/// A flag that is set once, when the database is released.
#[derive(Debug, Default)]
pub(crate) struct Released(watch::Sender<bool>);

impl Released {
    /// Announces that the database is released.
    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether the database is released.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the database is released; indefinitely if the store is dropped before.
    pub(crate) fn wait(&self) -> BoxFuture<'static, ()> {
        let mut released = self.0.subscribe();
        async move {
            if released.wait_for(|released| *released).await.is_err() {
                std::future::pending().await
            }
        }
        .boxed()
    }
}
