//! Invalidation: of keys, of a tag, of everything; by hand, by a change, and inside the handling of one.
//!
//! The order is the same everywhere: void what is loading, remove what L2 holds, take a number, raise the slots. In any
//! other order some thread pairs a new number with an old value.
//!
//! While a change is handled ([`Cause`](tidings_core::Cause)), what began to load since the change stays. What is older
//! than the change's number goes; but the slots are raised to a number of their own, because a worker may have promoted
//! an old value after the change took its number, and noted a number above it. Each shard remembers the keys it dealt
//! with last, so a second handler of the same change costs nothing, not even an L2 lookup.

use tidings_core::CacheKey;

use crate::{
    answer::tag::Tag,
    engine::node::Engine,
    faults::{self, Step},
    fence::number::{Moment, Number},
    level2::{key::StoredKey, zone::Removed},
};

impl Engine {
    /// Makes this node forget keys; under a cause, what began before it. Returns the number that the slots were raised to.
    pub(crate) fn invalidate(&self, keys: &[CacheKey], cause: Option<Number>) -> Number {
        let mut gone = Removed::default();
        if faults::removed(Step::InvalidateNumbersLast) {
            self.raise(keys.iter(), self.node.sequence.next());
            faults::gap(Step::InvalidateNumbersLast);
        }

        let mut open = Vec::new();
        for key in keys {
            if cause.is_some_and(|cause| self.named.flights.lock(key).is_handled(key, cause)) {
                continue;
            }
            gone.extend(self.void_and_remove(key, cause));
            open.push(key);
        }

        let number = match cause {
            Some(cause) if open.is_empty() => cause,
            Some(cause) if faults::removed(Step::CauseTakesOwnNumber) => cause,
            _ if faults::removed(Step::InvalidateNumbersLast) => self.node.sequence.current(),
            _ => self.node.sequence.next(),
        };
        let early = faults::removed(Step::InvalidateNumbersLast);
        if !early && !faults::removed(Step::InvalidateRaisesSlot) {
            self.raise(open.iter().copied(), number);
        }
        if let Some(cause) = cause {
            for key in &open {
                self.named.flights.lock(key).handled(key, cause);
            }
        }

        let counters = &self.named.counters;
        counters.invalidations.add(open.len());
        counters.evicted_by_invalidation.add(gone.len());
        self.node.forget_tags(&gone);
        number
    }

    /// Voids the flights of a key, and removes what L2 holds of it, as far as a cause reaches.
    fn void_and_remove(&self, key: &CacheKey, cause: Option<Number>) -> Removed {
        let below = cause.unwrap_or(Number::ALL);

        if !faults::removed(Step::InvalidateVoids) {
            let void_below = match cause {
                Some(_) if faults::removed(Step::CauseVoids) => Number::ZERO,
                _ => below,
            };
            let voided = self.named.flights.lock(key).void(key, void_below);
            drop(voided); // with the lock released: this may end a task
        }

        if faults::removed(Step::InvalidateRemoves) {
            return Removed::default();
        }
        self.node.level2.remove(&self.named.name_of(key), below)
    }

    fn raise<'a>(&self, keys: impl Iterator<Item = &'a CacheKey>, number: Number) {
        for key in keys {
            self.named.slots().raise(key.hash_value(), number);
        }
    }

    /// Makes this node forget what carries a tag; under a cause, what began before it.
    pub(crate) fn invalidate_tag(&self, tag: &Tag, cause: Option<Number>) -> Number {
        if faults::removed(Step::TagNumbersLast) {
            self.named.slots().raise_all(self.node.sequence.next());
        }

        let gone = match self.remove_tagged(tag, cause) {
            Ok(gone) => gone,
            Err(Handled(cause)) => return cause,
        };

        // A number of its own, after L2 was cleared: see the module's text.
        let number = self.node.sequence.next();
        if !faults::removed(Step::TagNumbersLast) && !faults::removed(Step::TagRaisesSlots) {
            self.named.slots().raise_all(number);
        }
        if let Some(cause) = cause {
            self.named.tags.lock().done(tag, cause);
        }

        let counters = &self.named.counters;
        counters.tag_invalidations.add(1);
        counters.evicted_by_invalidation.add(gone.len());
        number
    }

    /// Notes the tag's number for the fills to come, and removes what L2 holds with the tag.
    fn remove_tagged(&self, tag: &Tag, cause: Option<Number>) -> Result<Removed, Handled> {
        let mut gone = Removed::default();

        // Under this lock entries with the tag enter L2, so none can come in between.
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
            let removed = self.node.level2.remove(&key.name(), below);
            for (key, tags) in removed.tagged() {
                index.left(key, tags);
            }
            gone.extend(removed);
        }
        Ok(gone)
    }

    /// Makes this node forget everything of this cache; under a cause, what began before it.
    pub(crate) fn purge(&self, cause: Option<Number>) -> Number {
        let below = cause.unwrap_or(Number::ALL);
        if faults::removed(Step::PurgeNumbersLast) {
            self.named.slots().raise_all(self.node.sequence.next());
        }

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

        let counters = &self.named.counters;
        counters.purges.add(1);
        counters.evicted_by_invalidation.add(gone.len());
        self.node.forget_tags(&gone);
        number
    }

    /// Evicts what a committed change has changed, whatever cause the thread runs under. Returns the number that becomes
    /// the change's own cause: handlers that invalidate the same under it have nothing left to do.
    pub(crate) fn apply_change(&self, keys: &[CacheKey], tags: &[Tag]) -> Number {
        for tag in tags {
            self.invalidate_tag(tag, None);
        }
        let number = self.invalidate(keys, None);

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

/// A handler of this cause has dealt with it.
struct Handled(Number);
