//! The tail: the task that follows the log. It evicts, queues the changes for the dispatcher, and
//! goes on; it never runs a handler.
//!
//! At a gap it takes these steps, in this order: stop fills; take the new cursor at the head; close
//! every connection that was opened before it; purge; let loads fill; go on from the cursor. In any
//! other order a change between two of them is lost.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Chain,
    clock::Tick,
    log::{
        Batch, Capture, Cursor, Extent, Gap, GapReason, Head, Incarnation, Join, JoinError,
        LogError, MemberId, MemberSight, Read, Sight,
    },
};

use super::{
    apply::Number,
    children::Children,
    shared::{Progress, PurgeCause, Shared, count},
};
use crate::{
    faults::{LATE, Rule, removed},
    floor::{Floor, News},
    queue::{After, Applied, Asked, Held, Pages},
    reached::Pass,
    turn::turn,
};

/// The log counts as out of reach after this many failures in a row. Fewer may be one connection
/// that broke and is opened again at once.
const UNANSWERED: u32 = 3;

/// Follows the log until the node is superseded, or the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut tail = Tail {
        shared,
        incarnation: None,
        cut: Pages::Whole,
        returning: Returning::No,
        capture: Captured::Yes,
        failures: 0,
        floor: Floor::default(),
        news: News::default(),
    };
    tail.follow().await;
}

struct Tail {
    shared: Arc<Shared>,
    /// The incarnation that the last join returned.
    incarnation: Option<Incarnation>,
    /// Whether the last read left records of its transactions for the next read.
    cut: Pages,
    returning: Returning,
    capture: Captured,
    /// How many questions in a row had no answer.
    failures: u32,
    /// How soon wake-ups make it read.
    floor: Floor,
    /// Distinguishes the reads that return something new.
    news: News,
}

/// Whether the other nodes count this node as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Counted,
    Lost,
}

/// Whether the node was given up, has joined again, and has yet to prove that it may serve.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Returning {
    No,
    Yes,
}

/// Whether changes were recorded at the last read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Captured {
    Yes,
    No,
}

/// Another start has this node's name, so this one is over.
struct Superseded;

/// What the node does after a read.
enum Next {
    ReadOn(Cursor),
    Wait(Cursor),
    Restart(GapReason),
}

impl Tail {
    async fn follow(&mut self) {
        let mut gap = None;
        loop {
            let Ok(cursor) = self.restart(gap.take()).await else {
                return self.end();
            };
            match self.read_on(cursor).await {
                Ok(found) => gap = Some(found),
                Err(Superseded) => return self.end(),
            }
        }
    }

    fn end(&self) {
        tracing::error!(
            node = %self.shared.node,
            "another process has this node's name: the cache is not served from any more; \
             start this node again under a name of its own"
        );
        self.shared.gate.supersede();
        self.purge(PurgeCause::Gap(GapReason::JoinedLate));
        self.shared.note_progress(Progress::Over);
    }

    /// Takes a new cursor at the head, after a gap or at the beginning.
    async fn restart(&mut self, gap: Option<Gap>) -> Result<Cursor, Superseded> {
        let shared = Arc::clone(&self.shared);
        shared.gate.close();
        shared.note_progress(Progress::Starting);
        let cause = gap
            .as_ref()
            .map_or(PurgeCause::Ends, |gap| PurgeCause::Gap(gap.reason));

        if let Some(gap) = &gap {
            shared.counters.gap(gap.reason);
            tracing::warn!(%gap, node = %shared.node, "purging what may be affected");
        }

        let early =
            removed(Rule::FillsAfterJoin) || (gap.is_some() && removed(Rule::CursorBeforePurge));
        if early {
            self.purge(cause);
            shared.gate.counts(shared.clock.now());
            shared.gate.open();
        }

        let (asked, head) = loop {
            self.join_if_needed().await?;
            let member = self.member();
            let asked = shared.clock.now();
            match shared.log.head(member.as_ref()).await {
                Ok(head) if self.counts(&head)? => break (asked, head),
                Ok(_) => {}
                Err(error) => self.back_off(&error).await,
            }
        };
        while let Err(error) = shared.log.retire_connections().await {
            self.back_off(&error).await;
        }
        self.answered();

        if !early {
            self.purge(cause);
            shared.gate.emptied();
        }
        self.cut = Pages::Whole;
        self.returning = Returning::No;
        match shared.announce.is_watched() {
            true => shared.watch.restart(head.cursor.clone(), gap.clone()),
            false => shared.watch.clear(),
        }
        shared.queue.restart(head.cursor.clone(), gap);
        shared.gate.counts(asked);
        // Without capture, nothing that is loaded can be kept. The reads that follow notice that
        // again.
        let progress = if head.sight.capture.is_in_place() {
            self.capture = Captured::Yes;
            shared.gate.open();
            // The cache holds nothing that could be older than the question.
            if !early {
                shared.gate.prove(asked, shared.gate.generation());
            }
            Progress::Following
        } else {
            Progress::Uncaptured
        };
        shared.note_progress(progress);
        shared.trail.begin(&head.cursor);
        shared.seen.set(head.cursor.clone());
        Ok(head.cursor)
    }

    fn purge(&self, cause: PurgeCause) {
        self.shared.purge(cause);
        self.shared.numbers.lock().clear();
    }

    /// Reads on from a cursor until there is a gap.
    async fn read_on(&mut self, mut cursor: Cursor) -> Result<Gap, Superseded> {
        let shared = Arc::clone(&self.shared);
        loop {
            let member = self.member();
            let early = shared.cache.number();
            let (asked, pass) = (shared.clock.now(), shared.passes.begin());
            let read = shared
                .log
                .read(&cursor, shared.settings.page, member.as_ref());
            let batch = match read.await {
                Ok(Read::Batch(batch)) => batch,
                Ok(Read::Gap(gap)) => return Ok(gap),
                Err(error) => {
                    count(&shared.counters.failed_reads);
                    self.back_off(&error).await;
                    continue;
                }
            };
            self.answered();
            self.floor.read(self.news.found(&batch));

            let sight = batch.sight.clone();
            let membership = self.membership(sight.member)?;
            let next = self.take(batch, (asked, pass), early, membership).await;
            shared.note_progress(match (self.capture, &next) {
                (Captured::No, _) => Progress::Uncaptured,
                (Captured::Yes, Next::ReadOn(_)) => Progress::Behind,
                (Captured::Yes, Next::Wait(_) | Next::Restart(_)) => Progress::Following,
            });
            match next {
                Next::Restart(reason) => return Ok(Gap::of_all(reason)),
                Next::ReadOn(next) => cursor = next,
                Next::Wait(next) => {
                    cursor = next;
                    if membership == Membership::Counted {
                        self.wait().await;
                    }
                }
            }
            if membership == Membership::Lost
                && let Some(elsewhere) = self.come_back().await?
            {
                cursor = elsewhere;
            }
        }
    }

    /// Applies a batch and moves on.
    async fn take(
        &mut self,
        batch: Batch,
        (asked, pass): (Tick, Pass),
        early: Number,
        membership: Membership,
    ) -> Next {
        let shared = Arc::clone(&self.shared);
        if let Some(next) = self.check_capture(&batch.sight) {
            return next;
        }
        let after = self.after(&batch, (asked, pass), membership);
        if membership == Membership::Counted {
            shared.gate.counts(asked);
        }

        // A transaction may begin on an earlier page than this, or end on a later one.
        let more = batch.extent;
        let pages = match (self.cut, more) {
            (Pages::Whole, Extent::All) => Pages::Whole,
            (Pages::Cut, _) | (_, Extent::More) => Pages::Cut,
        };
        self.cut = Pages::up_to(more);

        // Before the cursor: the trail says which records the cursor covers.
        shared.trail.read(&batch.trail);
        if removed(Rule::CursorAfterApplying) {
            shared.seen.set(batch.cursor.clone());
            shared.clock.sleep(LATE).await;
        }
        let cursor = batch.cursor;
        let parents = shared.parents(&batch.records);
        let records = shared.apply(batch.records, early);
        if shared.evict_children(parents).await == Children::Unknown {
            self.lose_children();
        }
        // Lets other tasks run between two long batches.
        turn().await;
        shared.seen.set(cursor.clone());
        let lost = |mark| shared.trail.has_lost(mark);
        shared.numbers.lock().passed(&cursor, lost);
        if let Some(asked) = after.asked
            && removed(Rule::ReportAfterHandlers)
        {
            shared.report(&cursor, asked).await;
        }

        let applied = Applied {
            records,
            pages,
            cursor: cursor.clone(),
            after,
        };
        match shared.announce.is_watched() {
            true => drop(shared.watch.push(applied.clone())),
            false => shared.watch.clear(),
        }
        match shared.queue.push(applied) {
            Held::InMemory => {}
            Held::InLog => count(&shared.counters.read_again),
        }
        match more {
            Extent::All => Next::Wait(cursor),
            Extent::More => Next::ReadOn(cursor),
        }
    }

    /// Works out what follows once a batch is applied.
    fn after(
        &mut self,
        batch: &Batch,
        (asked, pass): (Tick, Pass),
        membership: Membership,
    ) -> After {
        let proves = membership == Membership::Counted
            && batch.sight.capture.is_in_place()
            && batch.extent == Extent::All;
        let moment = if removed(Rule::ProofCountsFromQuestion) {
            self.shared.clock.now()
        } else {
            asked
        };
        let resume = proves && self.returning == Returning::Yes;
        if resume {
            self.returning = Returning::No;
        }
        After {
            generation: self.shared.gate.generation(),
            proof: proves.then_some(moment),
            resume,
            asked: Asked::of(self.incarnation, batch.sight.demand),
            pass: (batch.extent == Extent::All).then_some(pass),
        }
    }

    /// Purges, since it is unknown which children the rows of a batch have.
    fn lose_children(&self) {
        let gap = Gap::of_all(GapReason::Malformed);
        self.shared.counters.gap(gap.reason);
        self.purge(PurgeCause::Gap(gap.reason));
        if self.shared.announce.is_watched() {
            self.shared.watch.gap(gap.clone());
        }
        self.shared.queue.gap(gap);
    }

    /// Purges when changes stop being recorded, and starts again when they are recorded again.
    fn check_capture(&mut self, sight: &Sight) -> Option<Next> {
        let now = match &sight.capture {
            Capture::InPlace => Captured::Yes,
            Capture::Missing { faults } => {
                if self.capture == Captured::Yes {
                    tracing::error!(
                        ?faults,
                        "changes are not recorded: nothing is cached until they are"
                    );
                }
                Captured::No
            }
        };
        match (std::mem::replace(&mut self.capture, now), now) {
            (Captured::Yes, Captured::No) => {
                self.shared.gate.close();
                self.shared.counters.gap(GapReason::Capture);
                self.purge(PurgeCause::Gap(GapReason::Capture));
                let gap = Gap::of_all(GapReason::Capture);
                if self.shared.announce.is_watched() {
                    self.shared.watch.gap(gap.clone());
                }
                self.shared.queue.gap(gap);
                None
            }
            (Captured::No, Captured::Yes) => Some(Next::Restart(GapReason::Capture)),
            (Captured::Yes, Captured::Yes) | (Captured::No, Captured::No) => None,
        }
    }

    /// Waits for a caller of this node, for a wake-up, or for the next poll. A wake-up counts once
    /// the floor lets it, a caller at once.
    async fn wait(&mut self) {
        let shared = &self.shared;
        let look = std::pin::pin!(shared.look.notified());
        let poll = shared.clock.sleep(shared.settings.pause());
        let floor = self.floor;
        let hint = std::pin::pin!(async {
            shared.hint.notified().await;
            floor.pass(&*shared.clock).await;
        });
        match select(select(look, hint), poll).await {
            Either::Left((Either::Right(_), _)) => self.floor.hinted(shared.clock.now()),
            Either::Left((Either::Left(_), _)) | Either::Right(_) => {}
        }
    }

    /// Notes that the log has answered.
    fn answered(&mut self) {
        if self.failures >= UNANSWERED {
            tracing::info!(node = %self.shared.node, "the log answers again");
        }
        self.failures = 0;
    }

    /// Waits longer after each failure, with jitter, so that nodes do not all come back at once.
    async fn back_off(&mut self, error: &LogError) {
        let shared = &self.shared;
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(error = %Chain(error), failures = self.failures, "the log did not answer");
        if self.failures >= UNANSWERED {
            shared.note_progress(Progress::Unanswered);
        }
        if self.failures == UNANSWERED {
            tracing::warn!(
                node = %shared.node,
                error = %Chain(error),
                "the log does not answer; it is asked until it does"
            );
        }
        let least = Duration::from_millis(5);
        let most = least.saturating_mul(1 << self.failures.min(16)).min(
            shared
                .settings
                .retry
                .min(shared.settings.pause().max(least)),
        );
        let jitter = shared
            .entropy
            .below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
        let pause = most / 2 + Duration::from_nanos(jitter / 2);
        shared.clock.sleep(pause).await;
    }
}

/// Membership.
impl Tail {
    fn member(&self) -> Option<MemberId> {
        self.shared.member.lock().clone()
    }

    fn membership(&self, sight: MemberSight) -> Result<Membership, Superseded> {
        match sight {
            MemberSight::NotAsked | MemberSight::Counted => Ok(Membership::Counted),
            MemberSight::Marked | MemberSight::Missing if removed(Rule::ProofReadsMember) => {
                Ok(Membership::Counted)
            }
            MemberSight::Marked | MemberSight::Missing => Ok(Membership::Lost),
            MemberSight::Superseded => Err(Superseded),
        }
    }

    fn counts(&self, head: &Head) -> Result<bool, Superseded> {
        let membership = self.membership(head.sight.member)?;
        if membership == Membership::Lost {
            // Before it joins again: from then on no receipt waits for what it holds.
            if !removed(Rule::RejoinStopsServing) {
                self.stop_serving();
            }
            *self.shared.member.lock() = None;
        }
        Ok(membership == Membership::Counted)
    }

    /// Writes this node's row, unless it has one. Asks until it is answered.
    async fn join_if_needed(&mut self) -> Result<(), Superseded> {
        let shared = Arc::clone(&self.shared);
        let Some(members) = &shared.members else {
            return Ok(());
        };
        while self.member().is_none() {
            let join = Join {
                node: Arc::clone(&shared.node),
                start: shared.start,
                before: self.incarnation,
                bound: shared.settings.bound,
                facts: shared.facts.clone(),
            };
            match shared.join(members, join).await {
                Ok(incarnation) => {
                    self.incarnation = Some(incarnation);
                    self.news.joined();
                }
                Err(JoinError::Superseded { .. }) => return Err(Superseded),
                Err(JoinError::Log(error)) => self.back_off(&error).await,
            }
        }
        Ok(())
    }

    /// Serves nothing that is held, and fills nothing, until the gate is opened again.
    fn stop_serving(&self) {
        let shared = &self.shared;
        shared.gate.suspend();
        match shared.settings.bound {
            // A hit of a node without a bound does not ask the gate.
            None => self.purge(PurgeCause::Gap(GapReason::JoinedLate)),
            // Nor does one in a thread's own level.
            Some(_) => shared.cache.recheck_node(),
        }
    }

    /// Joins again after others have given this node up. It serves nothing until it has applied
    /// what a statement begun after the join has returned. It goes on from the cursor that it had,
    /// if the log still can; another is returned only if that rule is left out.
    async fn come_back(&mut self) -> Result<Option<Cursor>, Superseded> {
        let shared = Arc::clone(&self.shared);
        self.stop_serving();
        if removed(Rule::JoinBeforeCursor) {
            // What it has applied so far was read by a statement from before the join.
            shared.gate.resume(shared.gate.generation());
            shared.clock.sleep(Duration::from_millis(20)).await;
        } else {
            self.returning = Returning::Yes;
        }
        *shared.member.lock() = None;
        self.join_if_needed().await?;
        if !removed(Rule::RejoinAtHeadPurges) {
            return Ok(None);
        }

        // At the head, and what it has cached stays.
        let member = self.member();
        if let Ok(head) = shared.log.head(member.as_ref()).await {
            shared.seen.set(head.cursor.clone());
            shared.queue.restart(head.cursor.clone(), None);
            return Ok(Some(head.cursor));
        }
        Ok(None)
    }
}
