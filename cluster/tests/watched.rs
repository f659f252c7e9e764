//! What the protocol and the handlers of a node do, and waits for it.

#![expect(
    clippy::disallowed_types,
    reason = "these tests run on tokio, and repeat nothing from a seed"
)]
#![allow(dead_code, reason = "each engine's tests use a part of it")]

use std::time::Duration;

use tidings_cluster::{Announce, Change, Handling, Observe, Trace};
use tidings_core::{
    Cause,
    log::{Gap, Posted},
};
use tokio::sync::watch;

/// Longer than anything here takes, and shorter than a test run that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, but not without end.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, met).await;
    waited.expect("it comes within a minute");
}

/// What the protocol and the handlers of a node have done.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    seen: watch::Sender<Seen>,
    /// Whether handlers wait.
    held: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) purges: usize,
    pub(crate) evicted: Vec<String>,
    pub(crate) changes: Vec<String>,
    pub(crate) gaps: Vec<Gap>,
}

impl Watched {
    /// Waits for a condition.
    pub(crate) async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| condition(seen))).await;
        match waited {
            Ok(met) => drop(met.expect("the watched node is there")),
            Err(_) => panic!("it never came: {:?}", self.now()),
        }
    }

    pub(crate) fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Makes handlers wait, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl Observe for Watched {
    fn trace(&self, trace: &Trace<'_>) {
        self.seen.send_modify(|seen| match trace {
            Trace::Evicted { key, .. } => seen.evicted.push(key.to_string()),
            Trace::Purged => seen.purges += 1,
        });
    }
}

impl Announce for Watched {
    fn announce(&self, change: Change) -> Handling {
        let row = change.row.to_json(change.schema);
        let text = format!("{} {} {}", change.operation, row["id"], row["name"]);
        let (seen, mut held) = (self.seen.clone(), self.held.subscribe());
        Box::pin(async move {
            let free = held.wait_for(|held| !held).await;
            drop(free);
            seen.send_modify(|seen| seen.changes.push(text));
        })
    }

    fn event(&self, posted: &Posted, _: Cause) -> Handling {
        let text = format!("{} {} {}", posted.source, posted.event, posted.payload);
        self.seen.send_modify(|seen| seen.changes.push(text));
        Box::pin(std::future::ready(()))
    }

    fn gap(&self, gap: &Gap) {
        self.seen.send_modify(|seen| seen.gaps.push(gap.clone()));
    }

    fn listens(&self, _: &str) -> bool {
        true
    }
}
