//! The dispatcher: the task that runs handlers, in log order, and says how far this node has
//! applied the log.
//!
//! It waits for each change's handlers before the next one. So a late handler holds up this node's
//! report and its proof, and never its evictions, which the tail makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::{Either, FutureExt, select};
use tidings_core::{
    Cause, Chain, Origin,
    log::{
        Body, Cursor, Demand, Gap, GapReason, Group, MemberId, Posted, Record, RowChange,
        RowRecord, Scope,
    },
};

use super::{
    catch_up::CatchUp,
    groups::{AT_ONCE, Found, GroupName, Met, group_of, row_of},
    guard::{Panicked, caught, caught_async},
    shared::{PurgeCause, Shared},
};
use crate::{
    announce::Change,
    faults::{Rule, removed},
    queue::{After, Applied, Asked, CaughtUp, Episode, Item, Pages},
};

/// Runs handlers until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut dispatcher = Dispatcher {
        shared,
        dispatched: BTreeSet::new(),
        met: Met::default(),
    };
    loop {
        let item = dispatcher.shared.queue.next().await;
        dispatcher.handle(item).await;
    }
}

fn scope(entity: &Arc<str>) -> Scope {
    Scope::Entity(Arc::clone(entity))
}

/// Returns the number of the last record of a page.
fn last_of(records: &[(Record, u64)]) -> Option<u64> {
    records.last()?.0.place.number()
}

struct Dispatcher {
    shared: Arc<Shared>,
    /// Groups that were met in the batch being dispatched.
    dispatched: BTreeSet<GroupName>,
    /// Groups that were met on earlier pages, as far as they are remembered. For the others the log
    /// knows which record is the first.
    met: Met,
}

/// Where the records of a batch's rows are.
enum Groups {
    /// In the batch, all of them.
    Here,
    /// Some may be on other pages. The groups of the next rows have been read; the key is the place
    /// of the record at which the row is met.
    Read(BTreeMap<usize, Found>),
}

impl Dispatcher {
    async fn handle(&mut self, item: Item) {
        match item {
            Item::Head { cursor, gap } => {
                self.met.clear();
                if let Some(gap) = gap {
                    self.tell(&gap);
                }
                self.shared.applied.set(cursor);
            }
            Item::Gap(gap) => self.tell(&gap),
            Item::Batch(batch) => {
                self.dispatch(&batch.records, batch.pages).await;
                self.applied(&batch).await;
            }
            Item::Behind(cursor, episode) => self.read_again(cursor, episode).await,
        }
    }

    /// Moves the applied cursor, and does what had to wait for that.
    async fn applied(&self, batch: &Applied) {
        self.follow(batch.cursor.clone(), &batch.after).await;
    }

    async fn follow(&self, cursor: Cursor, after: &After) {
        let shared = &self.shared;
        shared.applied.set(cursor.clone());
        if let Some(pass) = after.pass {
            shared.passes.set_applied(pass);
        }

        let (now, took) = (shared.clock.now(), &shared.counters.apply_time);
        shared.commits.lock().end(&cursor, now, took);
        if let Some(moment) = after.proof {
            shared.gate.prove(moment, after.generation);
        }

        if after.resume {
            shared.gate.resume(after.generation);
        }

        if let Some(asked) = after.asked
            && !removed(Rule::ReportAfterHandlers)
        {
            shared.report(&cursor, asked).await;
        }
    }

    /// Runs the handlers of a batch, one event for each row of each transaction.
    async fn dispatch(&mut self, records: &[(Record, u64)], pages: Pages) {
        let mut groups = match pages {
            Pages::Cut if !removed(Rule::GroupIsWhole) => Groups::Read(BTreeMap::new()),
            Pages::Cut | Pages::Whole => Groups::Here,
        };
        for (first, (record, number)) in records.iter().enumerate() {
            match &record.body {
                Body::Row(row) => {
                    self.dispatch_group(records, first, row, &mut groups).await;
                }
                Body::Entity(entity) => self.tell_gap(GapReason::Capture, scope(entity)),
                Body::Unreadable { entity } => {
                    let scope = entity.as_ref().map_or(Scope::All, scope);
                    self.tell_gap(GapReason::Malformed, scope);
                }
                Body::Evict(_) => {}
                Body::Event(posted) => self.dispatch_event(posted, *number).await,
            }
        }

        self.dispatched.clear();
        self.met.passed(last_of(records));
    }

    /// Runs the handlers of an application's own event.
    async fn dispatch_event(&self, posted: &Posted, number: u64) {
        let origin = Origin::Remote; // every node's handlers receive it, so nothing is sent on
        let cause = Cause { number, origin };
        let announce = &self.shared.announce;
        if let Err(Panicked) = caught_async(|| announce.event(posted, cause)).await {
            let (source, event) = (&*posted.source, &*posted.event);
            tracing::error!(source, event, "reading an event, or handling it, panicked");
            self.malformed(Scope::All);
        }
    }

    /// Treats what a panic has left unhandled like a record that cannot be read: what its handlers
    /// would have evicted is unknown, so everything is.
    fn malformed(&self, scope: Scope) {
        self.shared.purge(PurgeCause::Gap(GapReason::Malformed));
        self.tell_gap(GapReason::Malformed, scope);
    }

    fn tell_gap(&self, reason: GapReason, scope: Scope) {
        self.shared.counters.gap(reason);
        self.tell(&Gap { reason, scope });
    }

    fn tell(&self, gap: &Gap) {
        if let Err(Panicked) = caught(|| self.shared.announce.gap(gap)) {
            tracing::error!(%gap, "a handler of gaps panicked");
        }
    }

    /// Reads the whole row that is met at a place, and with it the rows that are first met among
    /// the next records: all of them, or the first ones. The keys are the places of these records.
    async fn read_groups(&self, records: &[(Record, u64)], from: usize) -> BTreeMap<usize, Found> {
        let shared = &self.shared;
        let (mut places, mut asked) = (Vec::new(), Vec::new());
        let mut met = BTreeSet::new();
        let part = from..records.len().min(from + AT_ONCE);
        for place in part {
            let record = &records[place].0;
            if let Body::Row(row) = &record.body
                && (place == from || self.is_heard(row))
                && !self.dispatched.contains(&group_of(record, row))
                && self.met.last(&group_of(record, row)).is_none()
                && met.insert(group_of(record, row))
            {
                places.push(place);
                asked.push(row_of(record, row));
            }
        }

        let groups = shared.whole_groups(&*shared.log, &asked).await;
        places.into_iter().zip(groups).collect()
    }

    /// Returns whether a handler receives a row's changes: nothing is kept, and nothing read, for
    /// events without a handler.
    fn is_heard(&self, row: &RowRecord) -> bool {
        let shared = &self.shared;
        shared.catalog.schema(&row.entity).is_some() && shared.announce.listens(&row.entity)
    }

    /// Runs the handlers of one row's change, when the first of its records is met.
    async fn dispatch_group(
        &mut self,
        records: &[(Record, u64)],
        first: usize,
        row: &RowRecord,
        groups: &mut Groups,
    ) {
        let shared = Arc::clone(&self.shared);
        let (record, number) = &records[first];
        let mark = record.mark;
        let Some(schema) = shared.catalog.schema(&row.entity) else {
            return;
        };

        let group = group_of(record, row);
        let was_met = self.dispatched.contains(&group) || self.met.last(&group).is_some();
        if was_met || !self.is_heard(row) {
            return;
        }

        // Part of it may be on another page.
        let whole = match groups {
            Groups::Here => None,
            Groups::Read(read) => {
                if !read.contains_key(&first) {
                    *read = self.read_groups(records, first).await;
                }
                let found = read.remove(&first);
                Some(found.unwrap_or(Err(GapReason::Trimmed)))
            }
        };
        if let Some(Ok(whole)) = &whole {
            self.met.note(group.clone(), whole.last, last_of(records));
        }
        self.dispatched.insert(group);

        let members = records[first..]
            .iter()
            .filter_map(|(record, number)| match &record.body {
                Body::Row(other)
                    if record.mark == mark
                        && other.entity == row.entity
                        && other.key == row.key =>
                {
                    Some((other, *number))
                }
                Body::Row(_)
                | Body::Entity(_)
                | Body::Evict(_)
                | Body::Event(_)
                | Body::Unreadable { .. } => None,
            });
        let (here, numbers): (Vec<_>, Vec<_>) = members.unzip();
        let number = numbers.into_iter().fold(*number, u64::min);

        let read;
        let folded = match whole {
            None => RowChange::fold(&here),
            Some(found) => match self.at_its_first(found, record, row) {
                Some(group) => {
                    read = group;
                    RowChange::fold(&read.rows)
                }
                None => return,
            },
        };
        let change = folded.and_then(|change| Change::new(schema, &change, mark, number));

        if let Some(change) = change {
            self.run_handlers(change).await;
        }
    }

    /// Returns a group at the first of its records; `None` at a later one, whose event was made on
    /// an earlier page. For a group that the log has lost or does not return, or whose beginning it
    /// has lost, there is no event, and its loss is a gap.
    fn at_its_first(&self, found: Found, record: &Record, row: &RowRecord) -> Option<Group> {
        let here = record.place.number();
        let lost = match found {
            Ok(group) if here.is_none_or(|here| group.first == here) => return Some(group),
            Ok(group) if here.is_some_and(|here| group.first < here) => return None,
            Ok(_) => GapReason::Trimmed,
            Err(reason) => reason,
        };

        // What its handlers would have evicted is unknown.
        self.shared.purge(PurgeCause::Gap(lost));
        self.tell_gap(lost, scope(&row.entity));
        None
    }

    async fn run_handlers(&self, change: Change) {
        let shared = &self.shared;
        let entity = change.schema.name();
        let handling = caught_async(|| shared.announce.announce(change)).boxed();
        if removed(Rule::LateHandlerHoldsReport) {
            let deadline = shared.clock.sleep(shared.settings.handler_deadline);
            match select(handling, deadline).await {
                Either::Left(_) | Either::Right(_) => return,
            }
        }

        if let Err(Panicked) = handling.await {
            tracing::error!(entity, "reading a change, or handling it, panicked");
            self.malformed(Scope::Entity(entity.into()));
        }
    }

    /// Reads from the log what did not fit into the queue, until it is where the tail is.
    async fn read_again(&mut self, cursor: Cursor, episode: Episode) {
        let shared = Arc::clone(&self.shared);
        let mut catch_up = CatchUp::new(&shared, &shared.queue, cursor, episode);
        loop {
            let mut page = match catch_up.next().await {
                Ok(page) => page,
                Err(gap) => return self.skip(gap, episode).await,
            };

            // Handlers run after the evictions, which the tail makes.
            let mut records = Vec::new();
            for record in std::mem::take(&mut page.records) {
                if !shared.evicted_or_restarted(record.mark).await {
                    return;
                }
                records.push((record, shared.cache.number()));
            }

            self.dispatch(&records, page.pages).await;
            let cursor = page.cursor.clone();
            shared.applied.set(cursor.clone());

            match catch_up.passed(page) {
                CaughtUp::NotYet => {}
                CaughtUp::Restarted => return,
                CaughtUp::Here(after) => {
                    if let Some(after) = after {
                        // Its moment is the tail's, and all of the tail's records are dispatched.
                        self.follow(cursor, &after).await;
                    }
                    return;
                }
            }
        }
    }

    /// Continues from where the tail is, because the log no longer holds what the handlers should
    /// have received. What they would have evicted is unknown, so everything is evicted.
    async fn skip(&mut self, gap: Gap, episode: Episode) {
        let shared = Arc::clone(&self.shared);
        let Some(skipped) = shared.queue.skip(episode) else {
            return;
        };
        shared.counters.gap(gap.reason);
        shared.purge(PurgeCause::Gap(gap.reason));
        self.tell(&gap);

        match skipped.after {
            Some(after) => self.follow(skipped.cursor, &after).await,
            None => shared.applied.set(skipped.cursor),
        }
    }
}

impl Shared {
    /// Reports what this node has applied, if that was asked for. A report that fails is made again
    /// after the next batch.
    pub(crate) async fn report(&self, applied: &Cursor, asked: Asked) {
        let Asked { of, demand } = asked;

        // The node may have joined again since; then it was not asked for this report.
        let member = self.member.lock().clone();
        let member = member.filter(|member| member.incarnation == of);
        let (Some(members), Some(member)) = (&self.members, member) else {
            return;
        };
        if demand <= *self.answered.lock() {
            return;
        }

        match members.report(&member, applied, demand).await {
            Ok(()) => {
                self.note_answered(&member, demand);
                // The node that asked may be this one. Another node checks the rows by itself: with
                // wake-ups, which reach every node, the number of messages would grow with the
                // square of the nodes.
                self.questions.look_again();
            }
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "a report did not reach the members' table")
            }
        }
    }

    /// Notes what was answered, unless the node has joined again in the meantime.
    fn note_answered(&self, member: &MemberId, demand: Demand) {
        let now = self.member.lock();
        if now.as_ref() == Some(member) {
            *self.answered.lock() = demand;
        }
    }

    /// Renews the moment at which this node counted as a member over the pool, while the log proves
    /// nothing.
    pub(crate) async fn keep_counting(self: Arc<Self>) {
        let (Some(bound), Some(members)) = (self.settings.bound, self.members.clone()) else {
            return;
        };

        loop {
            self.clock.sleep(bound / 3).await;
            let member = self.member.lock().clone();
            let proven = self
                .gate
                .unproven_for()
                .is_some_and(|since| since <= bound / 3);
            let Some(member) = member.filter(|_| !proven) else {
                continue;
            };

            let asked = self.clock.now();
            match members.look(&member).await {
                Ok(sight) if sight.counts() => self.gate.counts(asked),
                Ok(_) => self.look.notify_one(),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "the members' table did not answer")
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
