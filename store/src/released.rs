//! [`Released`]: whether a store was let go of, for what waits while it holds a connection.

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;

/// Says once, and for good, that the database was let go of.
#[derive(Debug, Default)]
pub(crate) struct Released(watch::Sender<bool>);

impl Released {
    /// Announces that the database was let go of.
    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether it was said.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is said; indefinitely if the store is dropped before.
    pub(crate) fn wait(&self) -> BoxFuture<'static, ()> {
        let mut said = self.0.subscribe();
        async move {
            if said.wait_for(|said| *said).await.is_err() {
                std::future::pending().await
            }
        }
        .boxed()
    }
}
