//! Invalidation of keys, of a tag, or of everything: by hand, by a change, or while a change is
//! handled.
//!
//! The order is the same everywhere: void the loads, remove L2's entries, take a number, raise the
//! slots. In any other order some thread could pair a new number with an old value.
//!
//! While a change is handled ([`Cause`](tidings_core::Cause)), values whose load began after the
//! change stay, and values older than the change's number go. But the slots are raised to a number
//! of their own, because a worker may have promoted an old value after the change took its number,
//! and noted a number above it. Each shard remembers the keys it dealt with last, so a second
//! handler of the same change costs nothing, not even an L2 lookup.

use tidings_core::CacheKey;

use crate::{
    answer::tag::Tag,
    engine::{flights::Voided, node::Engine},
    faults::{self, Step},
    fence::number::{Moment, Number},
    level2::{key::StoredKey, zone::Removed},
    record::RecordKind,
};

impl Engine {
    /// Invalidates keys on this node; under a cause, only values whose load began before it.
    /// Returns the last number to which a slot was raised.
    pub(crate) fn invalidate(&self, keys: &[CacheKey], cause: Option<Number>) -> Number {
        let mut gone = Removed::default();
        let mut last = None;
        let mut done = 0;
        let now = self.node.now();
        for key in keys {
            if let Some(number) = self.invalidate_one(key, cause, now, &mut gone) {
                last = Some(number);
                done += 1;
            }
        }

        let counters = &self.named.counters;
        counters.invalidations.add(done);
        counters.evicted_by_invalidation.add(gone.len());
        self.node.forget_tags(&gone);

        match (last, cause) {
            (Some(number), _) => number,
            (None, Some(cause)) => cause,
            (None, None) => self.node.sequence.next(),
        }
    }

    /// Invalidates a key on this node. Returns the number to which its slot was raised; `None` if a
    /// handler of the cause has dealt with the key.
    fn invalidate_one(
        &self,
        key: &CacheKey,
        cause: Option<Number>,
        now: Moment,
        gone: &mut Removed,
    ) -> Option<Number> {
        let below = cause.unwrap_or(Number::ALL);
        let void_below = match cause {
            Some(_) if faults::removed(Step::CauseVoids) => Number::ZERO,
            _ => below,
        };
        let raise = || {
            let number = match cause {
                Some(cause) if faults::removed(Step::CauseTakesOwnNumber) => cause,
                _ => self.node.sequence.next(),
            };
            if !faults::removed(Step::InvalidateRaisesSlot) {
                self.named.slots().raise(key.hash_value(), number);
            }
            number
        };

        // All steps under the lock under which results land. A result that was read at a position
        // before this invalidation lands before it, and is removed, or after it, and is compared
        // with the slot. Nothing is dropped before the lock is released: dropping a value runs user
        // code, and flights that are dropped may end tasks.
        let mutex = self.named.flights.shard(key);
        let before = gone.len();
        let mut shard = mutex.lock();
        if cause.is_some_and(|cause| shard.is_handled(key, cause)) {
            drop(shard);
            let hash = self.named.key_ref(key).hash_value();
            self.node.recorder.record_again(hash, now, cause);
            return None;
        }

        let early = faults::removed(Step::InvalidateNumbersLast).then(raise);
        faults::gap(Step::InvalidateNumbersLast);
        let voided = (!faults::removed(Step::InvalidateVoids)).then(|| shard.void(key, void_below));
        if !faults::removed(Step::InvalidateRemoves) {
            let key_ref = self.named.key_ref(key);
            self.node.level2.remove(&key_ref, below, gone);
        }

        let mut shard = faults::window(Step::InvalidateHoldsLock, shard, mutex);
        let number = early.unwrap_or_else(raise);
        if let Some(cause) = cause {
            shard.handled(key, cause);
        }
        drop(shard);

        let kind = RecordKind::Invalidated {
            held: gone.len() > before,
            voided: voided.as_ref().map_or(0, Voided::len),
        };
        let hash = self.named.key_ref(key).hash_value();
        self.node.recorder.record(hash, now, number, cause, kind);
        drop(voided);
        Some(number)
    }

    /// Invalidates everything that carries a tag on this node; under a cause, only values whose
    /// load began before it.
    pub(crate) fn invalidate_tag(&self, tag: &Tag, cause: Option<Number>) -> Number {
        if faults::removed(Step::TagNumbersLast) {
            self.named.slots().raise_all(self.node.sequence.next());
        }

        self.announce();
        let gone = match self.remove_tagged(tag, cause) {
            Ok(gone) => gone,
            Err(Handled(cause)) => return cause,
        };

        // A number of its own, taken after L2 was cleared: see the module's documentation.
        let number = self.node.sequence.next();
        if !faults::removed(Step::TagNumbersLast) && !faults::removed(Step::TagRaisesSlots) {
            self.named.slots().raise_all(number);
        }
        if let Some(cause) = cause {
            self.named.tags.lock().done(tag, cause);
        }

        let now = self.node.now();
        for key in gone.keys() {
            let (hash, kind) = (key.key_ref().hash_value(), RecordKind::Tagged(tag.clone()));
            self.node.recorder.record(hash, now, number, cause, kind);
        }

        let counters = &self.named.counters;
        counters.tag_invalidations.add(1);
        counters.evicted_by_invalidation.add(gone.len());
        number
    }

    /// Announces that values read at a position up to now may be older than the invalidation that
    /// follows: a load that begins after the flights were voided may land before the slots are
    /// raised.
    fn announce(&self) {
        if !faults::removed(Step::PurgeAnnounces) {
            self.named.announce(self.node.sequence.current().after());
        }
    }

    /// Notes the tag's number for later fills, and removes L2's entries that carry the tag.
    fn remove_tagged(&self, tag: &Tag, cause: Option<Number>) -> Result<Removed, Handled> {
        let mut gone = Removed::default();

        // Entries with the tag enter L2 under this lock, so none can come in between.
        let mut index = self.named.tags.lock();
        if let Some(cause) = cause.filter(|cause| index.is_done(tag, *cause)) {
            return Err(Handled(cause));
        }

        let below = cause.unwrap_or_else(|| self.node.sequence.next());
        let noted = if faults::removed(Step::TagNumberIsNoted) {
            Number::ZERO
        } else {
            below
        };

        for key in index.invalidated(tag, noted) {
            if faults::removed(Step::TagRemoves) {
                continue;
            }
            let mut removed = Removed::default();
            self.node.level2.remove(&key.key_ref(), below, &mut removed);
            for (key, tags) in removed.tagged() {
                index.left(key, tags);
            }
            gone.extend(removed);
        }

        Ok(gone)
    }

    /// Invalidates everything of this cache on this node; under a cause, only values whose load
    /// began before it.
    pub(crate) fn purge(&self, cause: Option<Number>) -> Number {
        let below = cause.unwrap_or(Number::ALL);
        if faults::removed(Step::PurgeNumbersLast) {
            self.named.slots().raise_all(self.node.sequence.next());
        }

        self.announce();
        if !faults::removed(Step::PurgeVoids) {
            self.named.flights.void_all(below);
        }

        let cache = self.named.index;
        let gone = if faults::removed(Step::PurgeRemoves) {
            Removed::default()
        } else {
            let leaves =
                |key: &StoredKey, number, _: Moment| key.cache() == cache && number < below;
            self.node.level2.sift(leaves)
        };

        let number = self.node.sequence.next();
        if !faults::removed(Step::PurgeNumbersLast) && !faults::removed(Step::PurgeRaisesSlots) {
            self.named.slots().raise_all(number);
        }

        let now = self.node.now();
        self.node.recorder.record_all(cache, now, number, cause);
        let counters = &self.named.counters;
        counters.purges.add(1);
        counters.evicted_by_purge.add(gone.len());
        self.node.forget_tags(&gone);
        number
    }

    /// Evicts the keys and tags of a committed change, whatever cause the thread runs under.
    /// Returns the number that becomes the change's own cause: handlers that invalidate the same
    /// keys and tags under it have nothing left to do.
    pub(crate) fn apply_change(&self, keys: &[CacheKey], tags: &[Tag]) -> Number {
        // Taken before the first key is evicted. A load that begins while the other keys are being
        // evicted may be older than another change, whose number would be below one taken last.
        let first = self.node.sequence.next();
        for tag in tags {
            self.invalidate_tag(tag, None);
        }

        if !keys.is_empty() {
            self.invalidate(keys, None);
        }

        faults::gap(Step::ChangeNumbersFirst);
        let number = if faults::removed(Step::ChangeNumbersFirst) {
            self.node.sequence.next()
        } else {
            first
        };
        self.node.recorder.cause(number);

        for key in keys {
            self.named.flights.lock(key).handled(key, number);
        }

        if !tags.is_empty() {
            let mut index = self.named.tags.lock();
            for tag in tags {
                index.done(tag, number);
            }
        }
        number
    }
}

/// A handler of this cause has dealt with the tag.
struct Handled(Number);
