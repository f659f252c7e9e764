//! The changes of a node in the form that watchers see, and the ring in which they wait.
//!
//! Each change is rendered once for all watchers, with the secrets of its rows masked, and kept in
//! one ring of bounded size. A watcher is only a place in that ring, so a slow one costs no memory.
//! If the ring drops a change that a watcher has not read, the watcher gets a gap with the count.
//! Before the ring drops anything, changes from the log wait for watchers that keep up, and half a
//! second at most for others.

// Layers, the lowest first: a module imports only from those above it in this list.

// Patterns of channel names. Must not know a change.
mod glob;

// A rendered change. Must not know where it waits.
mod change;

// The watchers' places, and how long each is waited for. Must not know the entries.
mod readers;

// The ring of entries.
mod ring;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};

use tidings_cluster::Told;
use tidings_core::{
    Schema,
    clock::Clock,
    log::{Cursor, Epoch, Gap, GapReason, Place},
};
use tidings_store::RowChange;
use uuid::Uuid;

pub(crate) use self::{
    change::Draft,
    readers::Sequence,
    ring::{Back, Entry, Keeps, MAX_WATCHERS, Ring, Taken, Watcher},
};
pub use self::{
    change::{FeedChange, FeedGap},
    glob::Glob,
};

/// The node's end of all feeds. Clones share one ring.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    node: Arc<str>,
    /// The epoch of the places on a node without a log.
    epoch: Epoch,
    ring: Arc<Ring>,
    /// Times the waits for readers.
    clock: Arc<dyn Clock>,
}

impl Feed {
    pub(crate) fn new(node: &str, keeps: Keeps, clock: Arc<dyn Clock>) -> Self {
        Self {
            node: node.into(),
            // No other process has places of this epoch.
            epoch: Epoch::new(0, Uuid::new_v4()),
            ring: Ring::new(keeps),
            clock,
        }
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Returns the node's name.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Returns the epoch of the places of a node without a log.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes an item of the log, once watchers that keep up have read the entries that must make
    /// room for it.
    pub(crate) fn told(&self, told: Told) -> BoxFuture<'static, ()> {
        if !self.ring.is_watched() {
            return ready(()).boxed();
        }

        let entry = Self::entry(told);
        let (ring, clock) = (Arc::clone(&self.ring), Arc::clone(&self.clock));
        async move {
            ring.make_room(&entry, &*clock).await;
            ring.push(|_| entry);
        }
        .boxed()
    }

    /// Renders an item of the log.
    pub(crate) fn entry(told: Told) -> Entry {
        match told {
            Told::Change {
                place,
                origin,
                change,
            } => {
                let mark = change.mark;
                let change = RowChange {
                    schema: change.schema,
                    operation: change.operation,
                    row: change.row,
                    old_row: change.old_row,
                };
                let draft = Draft::of_row(&change, origin.as_deref());
                draft.at(place, Some(mark)).into()
            }
            Told::Event {
                place,
                mark,
                posted,
            } => {
                let origin = posted.origin.as_deref();
                let draft = Draft::of_event(&posted.source, &posted.event, &posted.payload, origin);
                draft.at(place, Some(mark)).into()
            }
            Told::Gap(gap) => Entry::Gap(FeedGap::new(gap, None)),
        }
    }

    /// Takes the changes of an own commit of a node without a log, in commit order. Returns where
    /// readers that know them go on.
    pub(crate) fn committed(&self, changes: &[RowChange], untold: &[&'static Schema]) -> Sequence {
        let entries = changes.len() + untold.len();
        if !self.ring.is_watched() {
            return self.ring.pass(entries);
        }
        let before = self.ring.end();
        for change in changes {
            self.own(Draft::of_row(change, Some(&self.node)));
        }

        for schema in untold {
            let gap = Gap::of_entity(GapReason::Overflow, schema.name());
            self.ring.push(|_| Entry::Gap(FeedGap::new(gap, None)));
        }

        let after = self.ring.end();
        let own = u64::try_from(entries).unwrap_or(u64::MAX);
        // Otherwise events were posted in between, and must not be skipped.
        if after.0 - before.0 == own {
            after
        } else {
            before
        }
    }

    /// Takes an event of a node without a log.
    pub(crate) fn posted(&self, source: &str, event: &str, payload: &str) {
        if self.ring.is_watched() {
            self.own(Draft::of_event(source, event, payload, Some(&self.node)));
        } else {
            let _ = self.ring.pass(1);
        }
    }

    fn own(&self, draft: Draft) {
        let place = |next: Sequence| Place(Cursor::counted(self.epoch, next.0));
        self.ring.push(|next| draft.at(place(next), None).into());
    }
}
