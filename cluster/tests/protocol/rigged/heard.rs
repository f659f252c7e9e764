//! What a node's handlers and watchers have received, and how they fail, as a test says.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tidings_cluster::{Announce, Change, Handling, Observe, Told, Trace};
use tidings_core::{
    Cause,
    log::{Gap, LogError, LogFuture, Posted, Wake, WakeUps},
};
use tokio::sync::watch;

use super::soon;

/// What a node's handlers have received, and how often it purged.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    seen: watch::Sender<Seen>,
    /// No handler receives rows.
    pub(crate) deaf: AtomicBool,
    /// The log is watched.
    pub(crate) watched: AtomicBool,
    /// What the watchers received, and whether they wait before they take more.
    pub(crate) told: Mutex<Vec<Told>>,
    pub(crate) holds: watch::Sender<bool>,
    /// Handlers wait while it is true.
    pub(crate) held: watch::Sender<bool>,
    /// Where the next item for handlers panics.
    pub(crate) panics: Mutex<Option<Panics>>,
}

/// Where an application's code panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panics {
    /// Where a row or a payload is read.
    Reading,
    /// While the handlers are waited for.
    Handling,
    /// In a handler of gaps.
    Gap,
    /// In the question whether anything listens.
    Listens,
}

#[derive(Debug, Default)]
struct Seen {
    purges: usize,
    changes: usize,
    gaps: Vec<Gap>,
    told: Vec<String>,
    /// The cause under which the last event was received.
    cause: Option<Cause>,
}

impl Heard {
    pub(crate) async fn gaps(&self, count: usize) -> Vec<Gap> {
        let mut seen = self.seen.subscribe();
        let seen = soon(seen.wait_for(|seen| seen.gaps.len() >= count)).await;
        seen.expect("the node is there").gaps.clone()
    }

    /// Returns what the watchers received, once it ends with this.
    pub(crate) async fn told_until(&self, last: &str) -> Vec<String> {
        let mut seen = self.seen.subscribe();
        let ends = |seen: &Seen| seen.told.last().is_some_and(|told| told == last);
        let seen = soon(seen.wait_for(ends)).await;
        seen.expect("the node is there").told.clone()
    }

    /// Returns the cause under which an event was received, once there was one.
    pub(crate) async fn cause(&self) -> Cause {
        let mut seen = self.seen.subscribe();
        let seen = soon(seen.wait_for(|seen| seen.cause.is_some())).await;
        let cause = seen.expect("the node is there").cause;
        cause.expect("one was heard")
    }

    pub(crate) fn purges(&self) -> usize {
        self.seen.borrow().purges
    }

    pub(crate) fn changes(&self) -> usize {
        self.seen.borrow().changes
    }
}

/// The handlers of a node.
#[derive(Debug)]
pub(super) struct Handlers(pub(super) Arc<Heard>);

impl Observe for Heard {
    fn trace(&self, trace: &Trace<'_>) {
        match trace {
            Trace::Evicted { .. } => {}
            Trace::Purged => self.seen.send_modify(|seen| seen.purges += 1),
        }
    }
}

impl Heard {
    /// Panics if the test asks for it here.
    fn panic_at(&self, here: Panics) {
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        let now = panics.take_if(|at| *at == here);
        drop(panics);
        assert!(now.is_none(), "as the test says");
    }

    fn handle(self: &Arc<Self>) -> Handling {
        self.panic_at(Panics::Reading);
        let heard = Arc::clone(self);
        Box::pin(async move {
            heard.panic_at(Panics::Handling);
            let mut held = heard.held.subscribe();
            drop(held.wait_for(|held| !held).await);
            heard.seen.send_modify(|seen| seen.changes += 1);
        })
    }
}

impl Announce for Handlers {
    fn announce(&self, _: Change) -> Handling {
        self.0.handle()
    }

    fn event(&self, _: &Posted, cause: Cause) -> Handling {
        self.0.seen.send_modify(|seen| seen.cause = Some(cause));
        self.0.handle()
    }

    fn gap(&self, gap: &Gap) {
        self.0.panic_at(Panics::Gap);
        self.0.seen.send_modify(|seen| seen.gaps.push(gap.clone()));
    }

    fn listens(&self, _: &str) -> bool {
        self.0.panic_at(Panics::Listens);
        !self.0.deaf.load(Ordering::SeqCst)
    }

    fn is_watched(&self) -> bool {
        self.0.watched.load(Ordering::SeqCst)
    }

    fn told(&self, told: Told) -> Handling {
        let text = match &told {
            Told::Change { change, .. } => format!("{} {:?}", change.operation, change.row.0),
            Told::Event { posted, .. } => format!("{} {}", posted.event, posted.payload),
            Told::Gap(gap) => gap.to_string(),
        };
        self.0.seen.send_modify(|seen| seen.told.push(text));
        let mut all = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(told);
        drop(all);
        let mut holds = self.0.holds.subscribe();
        Box::pin(async move { drop(holds.wait_for(|holds| !holds).await) })
    }
}

/// A link that is gone.
#[derive(Debug)]
pub(super) struct Deaf;

impl WakeUps for Deaf {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Box::pin(async { Err(LogError::Unreachable(gone.into())) })
    }
}
