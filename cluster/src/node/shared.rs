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
    clock::{Clock, Tick},
    entropy::Entropy,
    log::{Cursor, Demand, GapReason, Log, Mark, MemberFacts, MemberId, Members, StartId},
    meter::Histogram,
    spawn::Spawn,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{replays::Replays, wake_link::WakeLink};
use crate::{
    announce::{Announce, Observe},
    gate::Gate,
    intake::Intake,
    keys::Catalog,
    numbers::Numbers,
    outbox::Outbox,
    questions::Questions,
    queue::Queue,
    reached::{Pass, Passes, Reached},
    settings::ClusterSettings,
    trail::{Known, Trail},
};

pub(crate) struct Shared {
    pub(crate) node: Arc<str>,
    pub(crate) start: StartId,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) members: Option<Arc<dyn Members>>,
    /// The facts that it reports to the other members.
    pub(crate) facts: Option<MemberFacts>,
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
    /// Items for the watchers of the log; empty while no one watches.
    pub(crate) watch: Queue,
    /// Lets readers that return take turns.
    pub(crate) replays: Replays,
    /// Evicted up to here. Moved by the tail alone.
    pub(crate) seen: Reached,
    /// Evicted, and handlers run, up to here. Moved by the dispatcher alone.
    pub(crate) applied: Reached,
    /// Which records it has read. Moved by the tail alone, ahead of `seen`.
    pub(crate) trail: Trail,
    /// The tail's reads, and which of them are applied.
    pub(crate) passes: Passes,
    /// Makes the tail read at once: a caller of this node waits for what there is.
    pub(crate) look: Notify,
    /// Makes the tail read as soon as its floor lets it: a wake-up says that there is something.
    pub(crate) hint: Notify,
    /// Locked across an eviction and its note, so that two paths do not evict for one commit twice.
    pub(crate) numbers: Mutex<Numbers>,
    /// The evictions that this node has asked all nodes for.
    pub(crate) own: Mutex<Own>,
    /// Those of them that are on their way to the log.
    pub(crate) outbox: Outbox,
    /// Callers' questions about the members.
    pub(crate) questions: Questions,
    /// What the tail does. Noted by the tail alone, and at the end.
    pub(crate) progress: Mutex<Progress>,
    /// Own commits whose handlers have not run, and when they were acknowledged.
    pub(crate) commits: Mutex<Commits>,
    pub(crate) member: Mutex<Option<MemberId>>,
    /// Held while a join is in progress.
    pub(crate) joining: tokio::sync::Mutex<()>,
    /// The last demand that a report has answered. Moved by the dispatcher alone.
    pub(crate) answered: Mutex<Demand>,
    /// What wakes this node. Noted by the listener alone.
    pub(crate) wake_link: Mutex<WakeLink>,
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

/// What the tail does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has no cursor yet, or none any more.
    #[default]
    Starting,
    Following,
    /// There is more to read than came with the last answer.
    Behind,
    /// The log has not answered several times in a row.
    Unanswered,
    /// Changes are not recorded.
    Uncaptured,
    /// It has ended.
    Over,
}

/// When own commits were acknowledged, until they are applied. Bounded: one that was forgotten is
/// not measured.
#[derive(Debug, Default)]
pub(crate) struct Commits(VecDeque<(Mark, Tick)>);

impl Commits {
    const MOST: usize = 1_024;

    pub(crate) fn begin(&mut self, mark: Mark, now: Tick) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((mark, now));
    }

    /// Measures the commits that a cursor covers, and forgets those of an earlier epoch.
    pub(crate) fn end(&mut self, applied: &Cursor, now: Tick, into: &Histogram) {
        self.0.retain(|(mark, since)| {
            let covered = applied.covers(*mark);
            if covered {
                into.record(now.since(*since));
            }
            !covered && mark.epoch() == applied.epoch()
        });
    }
}

/// Why everything was purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PurgeCause {
    /// The node begins, or ends: there was nothing to lose.
    Ends,
    Gap(GapReason),
}

/// What a node's protocol has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Records applied.
    pub records: u64,
    /// Gaps, by the order of [`GapReason::ALL`].
    pub gaps: [u64; GapReason::ALL.len()],
    /// Records that this node's own writes and evictions made.
    pub written: u64,
    /// Purges of everything, by the order of [`GapReason::ALL`].
    pub purges: [u64; GapReason::ALL.len()],
    /// Purges of a whole cache that a caller of any node has asked for.
    pub purges_by_hand: u64,
    /// Records that changed a whole entity, for this reader.
    pub whole_entities: u64,
    /// Batches that the dispatcher had to read again.
    pub read_again: u64,
    /// Wake-ups received.
    pub wakes: u64,
    /// Keys evicted because a wake-up named them, before their records were read.
    pub evicted_on_sight: u64,
    /// Reads of the log that failed.
    pub failed_reads: u64,
    /// Own writes that returned before their handlers had run.
    pub late_handlers: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) gaps: [AtomicU64; GapReason::ALL.len()],
    pub(crate) written: AtomicU64,
    pub(crate) purges: [AtomicU64; GapReason::ALL.len()],
    pub(crate) purges_by_hand: AtomicU64,
    /// From the acknowledgement of an own commit until its handlers have run.
    pub(crate) apply_time: Histogram,
    pub(crate) whole_entities: AtomicU64,
    pub(crate) read_again: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) evicted_on_sight: AtomicU64,
    pub(crate) failed_reads: AtomicU64,
    pub(crate) late_handlers: AtomicU64,
}

/// Adds one to a counter, on which no memory order depends.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn count_by(counters: &[AtomicU64], reason: GapReason) {
    let index = GapReason::ALL.iter().position(|known| *known == reason);
    if let Some(counter) = index.and_then(|index| counters.get(index)) {
        count(counter);
    }
}

impl Counters {
    pub(crate) fn gap(&self, reason: GapReason) {
        count_by(&self.gaps, reason);
    }

    pub(crate) fn purged(&self, cause: PurgeCause) {
        match cause {
            PurgeCause::Ends => {}
            PurgeCause::Gap(reason) => count_by(&self.purges, reason),
        }
    }

    pub(crate) fn purged_by_hand(&self) {
        count(&self.purges_by_hand);
    }

    pub(crate) fn stats(&self) -> ClusterStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClusterStats {
            records: value(&self.records),
            gaps: std::array::from_fn(|index| value(&self.gaps[index])),
            written: value(&self.written),
            purges: std::array::from_fn(|index| value(&self.purges[index])),
            purges_by_hand: value(&self.purges_by_hand),
            whole_entities: value(&self.whole_entities),
            read_again: value(&self.read_again),
            wakes: value(&self.wakes),
            evicted_on_sight: value(&self.evicted_on_sight),
            failed_reads: value(&self.failed_reads),
            late_handlers: value(&self.late_handlers),
        }
    }
}

impl Shared {
    /// Notes what the tail does. Once it is over it stays so, whatever a task that is still being
    /// polled finds.
    pub(crate) fn note_progress(&self, now: Progress) {
        let mut progress = self.progress.lock();
        match *progress {
            Progress::Over => {}
            Progress::Starting
            | Progress::Following
            | Progress::Behind
            | Progress::Unanswered
            | Progress::Uncaptured => *progress = now,
        }
    }

    /// Returns whether every eviction of a commit was made.
    pub(crate) fn has_seen(&self, mark: Mark) -> bool {
        self.has_passed(mark) && self.trail.knows(mark) == Known::Read
    }

    /// Returns whether the tail has passed a commit's number, even if the number was that of
    /// another commit, which the log has lost.
    pub(crate) fn has_passed(&self, mark: Mark) -> bool {
        let by_number = mark.with_id(None);
        self.seen.is(|cursor| cursor.covers(by_number))
    }

    /// Waits until the tail has made a commit's evictions; `false` if it has taken a new cursor
    /// instead.
    pub(super) async fn evicted_or_restarted(&self, mark: Mark) -> bool {
        let settled = |cursor: &Cursor| cursor.covers(mark) || cursor.epoch() != mark.epoch();
        self.seen.until(settled).await.covers(mark)
    }

    /// Waits until a commit was evicted and its handlers have run. Never resolves if the epoch ends
    /// before.
    pub(crate) async fn until_applied(&self, mark: Mark) {
        self.applied.until(|cursor| cursor.covers(mark)).await;
    }
}

impl Shared {
    /// Returns whether a commit was applied.
    pub(crate) fn has_applied(&self, mark: Mark) -> bool {
        self.applied.is(|cursor| cursor.covers(mark)) && self.trail.covers(mark)
    }

    /// Waits until nothing older than a commit is served. That is so once its record was read and
    /// applied. It is also so once its number was applied, or its epoch has ended, and a read that
    /// began after `asked` is applied: `asked` is the last read at the time of the question. Never
    /// resolves for a commit of an epoch that this node does not reach.
    ///
    /// The node that has named the commit may not have known that the epoch had ended. Then it is
    /// of a later one, and nothing says where in it; but it was acknowledged before this was asked.
    pub(crate) async fn until_reached(&self, mark: Mark, asked: Pass) {
        let by_number = mark.with_id(None);
        let reached = self.applied.until(|cursor| reaches(cursor, by_number));
        if !reached.await.covers(mark) || !self.trail.covers(mark) {
            self.passes.until_later(asked).await;
            // Later questions for the same commit need not look again.
            self.trail.looked_for(mark);
        }
    }
}

fn reaches(cursor: &Cursor, mark: Mark) -> bool {
    let (reached, asked) = (cursor.epoch(), mark.epoch());
    cursor.covers(mark) || reached != asked && asked.number <= reached.number
}
