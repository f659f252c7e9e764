//! Evictions: of records, of wake-ups, of own writes; and which of them are made once.
//!
//! A change reaches a node by up to three paths: its own commit, a wake-up, the record. The first
//! takes a number and notes it; the others evict under that number, which leaves what was reloaded
//! since. So a change costs one load, whatever paths it takes.

use std::sync::{Arc, atomic::Ordering};

use tidings_cache::{ChangedRow, Invalidation, Reason};
use tidings_core::{
    CacheKey, Cause, Origin,
    log::{Body, Eviction, EvictionTarget, GapReason, Mark, Record, Wake},
};

use super::shared::{PurgeCause, Shared, count};
use crate::{
    announce::Trace,
    faults::{Rule, answer_late, removed},
    keys::Evicts,
};

/// A number of the cache's sequence.
pub(crate) type Number = u64;

/// By which path an eviction came.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A record of the log. `early` is a number from before it was read.
    Record { early: Number },
    /// The record of a parent.
    Child,
    /// The commit of an own write.
    Commit,
    /// A wake-up.
    Wake,
}

impl Shared {
    /// Evicts what a batch names. Returns each record with the number of its eviction: its cause.
    ///
    /// `early` is a number from before the batch was read, which is wrong to use: a load that began
    /// after it may have read what the batch overwrites.
    pub(crate) fn apply(&self, records: Vec<Record>, early: Number) -> Vec<(Record, Number)> {
        let apply = |record: Record| {
            count(&self.counters.records);
            let _due_to = reason_of(&record).map(Reason::enter);
            let number = match &record.body {
                Body::Row(row) => match self.catalog.evicts(row) {
                    Evicts::Nothing => self.cache.number(),
                    Evicts::Keys(keys) => {
                        self.evict_once(record.mark, &keys, Source::Record { early })
                    }
                    Evicts::Entity => self.evict_entity(GapReason::Malformed),
                },
                Body::Entity(entity) => match self.catalog.schema(entity) {
                    Some(_) => self.evict_entity(GapReason::Capture),
                    None => self.cache.number(),
                },
                Body::Evict(eviction) => self.evict_as_told(eviction),
                // Its handlers may evict what began to load before now, which includes loads that
                // noted the last number.
                Body::Event(_) => self.new_number(),
                Body::Unreadable { .. } => self.evict_entity(GapReason::Malformed),
            };
            (record, number)
        };
        records.into_iter().map(apply).collect()
    }

    /// Evicts the keys of a commit that were not evicted for it before. Those that were are evicted
    /// again under their earlier number, which leaves what was reloaded since. Returns the lowest
    /// number.
    fn evict_once(&self, mark: Mark, keys: &[CacheKey], from: Source) -> Number {
        // Locked from the check to the note, so that two paths do not both find a key new. The
        // eviction itself follows without the lock, since it drops values: until it is made, others
        // that find the note evict under the same number themselves.
        let mut numbers = self.numbers.lock();
        if self.is_passed(mark, from) {
            return self.cache.number();
        }

        let mut evictions = Vec::new();
        let mut fresh = Vec::new();
        for key in keys {
            match numbers.number(mark, key) {
                Some(number) => evictions.push((number, key)),
                None => fresh.push(key.clone()),
            }
        }

        if !fresh.is_empty() {
            let number = match from {
                Source::Record { early } if removed(Rule::NumberAfterBatch) => early,
                Source::Record { .. } | Source::Child | Source::Commit | Source::Wake => {
                    self.new_number()
                }
            };
            numbers.remember(mark, &fresh, number);
            evictions.extend(fresh.iter().map(|key| (number, key)));
        }

        drop(numbers);
        match from {
            Source::Wake => {
                let counter = &self.counters.evicted_on_sight;
                counter.fetch_add(fresh.len() as u64, Ordering::Relaxed);
            }
            Source::Record { .. } | Source::Child | Source::Commit => {}
        }

        let mut lowest = Number::MAX;
        for (number, key) in evictions {
            self.evict_under(number, key);
            lowest = lowest.min(number);
        }
        self.trace_evicted(mark, &fresh);
        lowest
    }

    /// Returns whether the tail has made every eviction of a commit already. Records are the tail's
    /// own, and come before it passes.
    fn is_passed(&self, mark: Mark, from: Source) -> bool {
        match from {
            Source::Record { .. } | Source::Child => false,
            Source::Commit => self.has_seen(mark),
            Source::Wake if removed(Rule::LateWakeIsIgnored) => false,
            // A wake-up is a hint: the tail reads whatever there is, so an unknown commit counts as
            // passed.
            Source::Wake => self.has_passed(mark) && !self.trail.has_lost(mark),
        }
    }

    /// Takes a number: every load that noted it or a higher one began after this call.
    fn new_number(&self) -> Number {
        self.cache.apply_change(&[], &[])
    }

    /// Evicts what began to load before a number.
    fn evict_under(&self, number: Number, key: &CacheKey) {
        let origin = Origin::Remote;
        let _cause = Cause { number, origin }.enter();
        self.cache.invalidate_local(key);
    }

    /// Evicts everything: the cache does not know which entries are of which entity.
    fn evict_entity(&self, why: GapReason) -> Number {
        count(&self.counters.whole_entities);
        self.purge(PurgeCause::Gap(why))
    }

    /// Evicts everything.
    pub(crate) fn purge(&self, cause: PurgeCause) -> Number {
        self.counters.purged(cause);
        let _due_to = match cause {
            PurgeCause::Gap(reason) => Some(Reason::Gap(reason).enter()),
            PurgeCause::Ends => None,
        };
        let number = self.cache.purge_node();
        self.observe.trace(&Trace::Purged);
        number
    }

    /// Evicts what another node, or a caller on this one, has asked all nodes to evict. The node
    /// that asked has done so already, and does it under the number that it took then.
    pub(super) fn evict_as_told(&self, eviction: &Eviction) -> Number {
        let before = self.own.lock().number(eviction.id);
        if before.is_none() && eviction.target == EvictionTarget::All {
            self.counters.purged_by_hand();
        }

        let node = eviction.origin.clone();
        let _due_to = Reason::Everywhere { node }.enter();
        let cache = eviction.cache.clone();
        let invalidation = match &eviction.target {
            EvictionTarget::Keys(keys) => Invalidation::Keys {
                cache,
                keys: keys.clone(),
            },
            EvictionTarget::Tag(tag) => Invalidation::Tag {
                cache,
                tag: tag.to_string().into(),
            },
            EvictionTarget::All => Invalidation::All { cache },
        };
        let number = self.cache.apply_invalidation(&invalidation, before);
        before.unwrap_or(number)
    }

    /// Evicts the keys of an own write whose commit was acknowledged.
    pub(crate) fn evict_committed(&self, mark: Mark, keys: &[CacheKey]) {
        answer_late();
        if self.is_of_this_epoch(mark) {
            self.evict_once(mark, keys, Source::Commit);
        } else {
            // No record of another epoch will come, so there is nothing to remember it for; a note
            // of it would end those of this epoch.
            self.cache.apply_change(keys, &[]);
        }
    }

    /// Evicts the children that go with a commit's rows.
    pub(super) fn evict_with_parent(&self, mark: Mark, keys: &[CacheKey]) {
        if !keys.is_empty() {
            let _due_to = change_at(mark).enter();
            self.evict_once(mark, keys, Source::Child);
        }
    }

    /// Evicts what an own write may have touched whose answer was lost. It is not remembered: the
    /// commit may lie ahead.
    pub(crate) fn evict_doubtful(&self, mark: Option<Mark>, keys: &[CacheKey]) {
        let _due_to = Reason::Doubt.enter();
        if let Some(mark) = mark
            && removed(Rule::DoubtIsForgotten)
        {
            self.evict_once(mark, keys, Source::Commit);
            return;
        }
        self.cache.apply_change(keys, &[]);
    }

    /// Evicts at once what a wake-up names and this node may hold, then makes the tail read. A
    /// wake-up about a report, which nodes of an earlier version send, concerns callers that wait
    /// for one, and not the tail.
    pub(crate) fn wake_up(&self, wake: &Wake) {
        count(&self.counters.wakes);
        if let Wake::Committed { mark, keys } = wake
            && self.is_of_this_epoch(*mark)
        {
            let known = self.intake.keys_of(keys);
            if !known.is_empty() {
                let _due_to = change_at(*mark).enter();
                self.evict_once(*mark, &known, Source::Wake);
            }
        }

        match wake {
            Wake::Look | Wake::Committed { .. } | Wake::Sealed(_) => self.hint.notify_one(),
            Wake::Reported => {}
        }

        // A wake-up of a still earlier version may be about a report without saying so.
        self.questions.hint();
    }

    fn is_of_this_epoch(&self, mark: Mark) -> bool {
        self.seen.is(|seen| seen.epoch() == mark.epoch())
    }

    fn trace_evicted(&self, mark: Mark, keys: &[CacheKey]) {
        for key in keys {
            self.observe.trace(&Trace::Evicted { mark, key });
        }
    }
}

/// Returns the reason of a record's evictions, for callers that ask why.
fn reason_of(record: &Record) -> Option<Reason> {
    match &record.body {
        Body::Row(row) => {
            let changed = ChangedRow::new(Arc::clone(&row.entity), row.operation, row.key.clone());
            Some(Reason::Change {
                rows: vec![changed],
                node: record.origin.clone(),
                place: Some(record.place.clone()),
                mark: Some(record.mark),
            })
        }
        // Their evictions state a reason of their own.
        Body::Entity(_) | Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => None,
    }
}

/// Returns a commit as the reason, of which no more is known here.
fn change_at(mark: Mark) -> Reason {
    Reason::Change {
        rows: Vec::new(),
        node: None,
        place: None,
        mark: Some(mark),
    }
}
