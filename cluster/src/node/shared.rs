//! What the tasks of one node share.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tidings_cache::Cache;
use tidings_core::{
    clock::Clock,
    entropy::Entropy,
    log::{Cursor, Demand, GapReason, Log, Mark, MemberId, Members, StartId},
    spawn::Spawn,
};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::{
    announce::{Announce, Observe},
    gate::Gate,
    intake::Intake,
    keys::Catalog,
    numbers::Numbers,
    queue::Queue,
    settings::ClusterSettings,
};

pub(crate) struct Shared {
    pub(crate) node: Arc<str>,
    pub(crate) start: StartId,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) members: Option<Arc<dyn Members>>,
    pub(crate) cache: Cache,
    pub(crate) catalog: Catalog,
    pub(crate) announce: Arc<dyn Announce>,
    pub(crate) observe: Arc<dyn Observe>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: ClusterSettings,
    pub(crate) intake: Arc<Intake>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) queue: Queue,
    /// Evicted up to here. Moved by the tail alone.
    pub(crate) seen: watch::Sender<Option<Cursor>>,
    /// Evicted, and handlers run, up to here. Moved by the dispatcher alone.
    pub(crate) applied: watch::Sender<Option<Cursor>>,
    /// Makes the tail read at once.
    pub(crate) look: Notify,
    /// Locked across an eviction and its note, so that two paths do not evict for one commit twice.
    pub(crate) numbers: Mutex<Numbers>,
    /// What this node has asked all nodes to evict.
    pub(crate) own: Mutex<Own>,
    pub(crate) member: Mutex<Option<MemberId>>,
    /// The last demand that a report has answered. Moved by the dispatcher alone.
    pub(crate) answered: Mutex<Demand>,
    pub(crate) counters: Counters,
}

/// Evictions that this node has asked all nodes for, and the number under which it made each
/// itself. Bounded: one that was forgotten is made again when its record comes.
#[derive(Debug, Default)]
pub(crate) struct Own(VecDeque<(Uuid, u64)>);

impl Own {
    const MOST: usize = 1_024;

    pub(crate) fn remember(&mut self, id: Uuid, number: u64) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((id, number));
    }

    pub(crate) fn number(&self, id: Uuid) -> Option<u64> {
        let mut own = self.0.iter();
        own.find_map(|(known, number)| (*known == id).then_some(*number))
    }
}

/// What a node's protocol has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Records applied.
    pub records: u64,
    /// Gaps, by the order of [`GapReason::ALL`].
    pub gaps: [u64; GapReason::ALL.len()],
    /// Records that changed a whole entity, for this reader.
    pub whole_entities: u64,
    /// Batches that the dispatcher had to read again.
    pub read_again: u64,
    /// Wake-ups received.
    pub wakes: u64,
    /// Reads of the log that failed.
    pub failed_reads: u64,
    /// Own writes that returned before their handlers had run.
    pub late_handlers: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) gaps: [AtomicU64; GapReason::ALL.len()],
    pub(crate) whole_entities: AtomicU64,
    pub(crate) read_again: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) failed_reads: AtomicU64,
    pub(crate) late_handlers: AtomicU64,
}

/// Adds to a count that no one orders anything by.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn gap(&self, reason: GapReason) {
        let index = GapReason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = index.and_then(|index| self.gaps.get(index)) {
            count(counter);
        }
    }

    pub(crate) fn stats(&self) -> ClusterStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClusterStats {
            records: value(&self.records),
            gaps: std::array::from_fn(|index| value(&self.gaps[index])),
            whole_entities: value(&self.whole_entities),
            read_again: value(&self.read_again),
            wakes: value(&self.wakes),
            failed_reads: value(&self.failed_reads),
            late_handlers: value(&self.late_handlers),
        }
    }
}

impl Shared {
    /// Returns whether every eviction of a commit was made.
    pub(crate) fn has_seen(&self, mark: Mark) -> bool {
        covers(&self.seen.borrow(), mark)
    }

    /// Waits until a commit was evicted and its handlers have run. Never resolves if the epoch ends
    /// before.
    pub(crate) async fn until_applied(&self, mark: Mark) {
        until_covered(&self.applied, mark).await;
    }
}

async fn until_covered(cursors: &watch::Sender<Option<Cursor>>, mark: Mark) {
    let mut cursors = cursors.subscribe();
    let covered = cursors.wait_for(|cursor| covers(cursor, mark)).await;
    // The sender is part of what this borrows, so it is there.
    drop(covered);
}

fn covers(cursor: &Option<Cursor>, mark: Mark) -> bool {
    cursor.as_ref().is_some_and(|cursor| cursor.covers(mark))
}
