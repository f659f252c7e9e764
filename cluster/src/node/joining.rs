//! Joins, which run to their end even if their node leaves in the meantime.
//!
//! A join that was sent may be carried out although no one waits for it any more: then the row of a
//! node that is gone would stay, and every receipt would wait for it. So a join runs in a task of
//! its own, which goes on when the tail is dropped, and deletes the row if its node has left. A
//! leave waits for the join in progress.

use std::sync::Arc;

use tidings_core::log::{Incarnation, Join, JoinError, LogError, Members};
use tokio::sync::oneshot;

use super::shared::{Progress, Shared};

impl Shared {
    /// Writes this node's row, and notes it as the node's.
    pub(super) async fn join(
        self: &Arc<Self>,
        members: &Arc<dyn Members>,
        join: Join,
    ) -> Result<Incarnation, JoinError> {
        let (tell, told) = oneshot::channel();
        let (shared, members) = (Arc::clone(self), Arc::clone(members));
        let joining = async move {
            let work = async {
                let joined = shared.join_on(&*members, join).await;
                let _ = tell.send(joined); // the tail may be gone
            };
            shared.guarded("joining", work).await;
        };
        drop(self.spawn.spawn(Box::pin(joining)));

        told.await.unwrap_or(Err(LogError::Closed.into()))
    }

    async fn join_on(&self, members: &dyn Members, join: Join) -> Result<Incarnation, JoinError> {
        let _one = self.joining.lock().await;
        if self.has_ended() {
            return Err(LogError::Closed.into());
        }

        let id = members.join(join).await?;
        if self.has_ended() {
            // What has ended the node may not wait for this any more.
            members.leave(&id).await?;
            return Err(LogError::Closed.into());
        }

        let incarnation = id.incarnation;
        let mut member = self.member.lock();
        *member = Some(id);
        *self.answered.lock() = Default::default();
        Ok(incarnation)
    }

    /// Waits for the join in progress, if any: afterwards its row is known, or deleted.
    pub(super) async fn until_joined(&self) {
        drop(self.joining.lock().await);
    }

    fn has_ended(&self) -> bool {
        *self.progress.lock() == Progress::Over
    }
}
