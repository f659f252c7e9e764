//! The members beside a rigged log.

use std::sync::{Arc, atomic::Ordering};

use tidings_core::{
    log::{
        Cursor, Demand, Join, JoinError, LogError, LogFuture, MemberId, MemberRow, MemberSight,
        Members,
    },
    spawn::{CurrentRuntime, Spawn as _},
};

use super::Rigged;

impl Members for Rigged {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        if self.loses.swap(false, Ordering::SeqCst) {
            self.lost.store(true, Ordering::SeqCst);
        }
        Box::pin(async move {
            if self.full.load(Ordering::SeqCst) {
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                return Err(JoinError::Log(LogError::Unreachable(refused.into())));
            }
            if *self.joins.borrow() {
                return self.inner.join(join).await;
            }

            // It was sent: an engine does it although no one waits any more.
            let (inner, joined) = (self.inner.beside(), Arc::clone(&self.joined));
            let mut goes_on = self.joins.subscribe();
            let (tell, told) = tokio::sync::oneshot::channel();
            let sent = async move {
                drop(goes_on.wait_for(|goes_on| *goes_on).await);
                let done = inner.join(join).await;
                joined.fetch_add(1, Ordering::SeqCst);
                let _ = tell.send(done);
            };
            drop(CurrentRuntime.spawn(Box::pin(sent)));
            self.joining.fetch_add(1, Ordering::SeqCst);
            told.await.expect("no test ends before")
        })
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        self.inner.leave(member)
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list()
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        self.inner.look(member)
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        self.inner.demand()
    }

    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>> {
        self.inner.report(member, applied, answers)
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        self.inner.mark(member)
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        self.inner.expire(member)
    }
}
