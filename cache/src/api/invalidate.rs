//! Invalidation: of keys, of a tag, of everything; by hand, by a change, and inside the handling of one.
//!
//! The order is the same everywhere: void what is loading, remove what L2 holds, take a number, raise the slots. In any
//! other order someone pairs a new number with an old value.
//!
//! While a change is handled ([`Cause`]), what began to load since the change stays. What is older than the change's number
//! goes; but the slots are raised to a number of their own, because a worker may have promoted an old value after the
//! change took its number, and noted a number above it. That a second handler of one change costs nothing, not even a
//! look-up in L2, is because each shard remembers what was dealt with last.

use tidings_core::{CacheKey, Cause};

use crate::{
    answer::receipt::{Invalidation, Receipt},
    api::cache::Cache,
    engine::tags::Tag,
    level2::zone::{NEVER, Removed, StoredKey},
    sync::Arc,
};

/// What [`Cache::invalidate`] takes: one key or many.
pub trait Keys {
    /// The keys.
    fn keys(&self) -> &[CacheKey];
}

impl Keys for CacheKey {
    fn keys(&self) -> &[CacheKey] {
        std::slice::from_ref(self)
    }
}

impl Keys for [CacheKey] {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

impl Keys for Vec<CacheKey> {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

impl<const N: usize> Keys for [CacheKey; N] {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

/// Below it, everything goes: no number is as high.
const ALL: u64 = NEVER;

impl Cache {
    /// Makes this node forget what it holds of one key or many, absences too.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees the old value, and no load that
    /// began before fills the cache. Who waits for such a load still gets its result; who comes later starts a new one.
    ///
    /// Inside the handling of a change ([`Cause`]) what began to load since the change stays.
    pub fn invalidate_local<K: Keys + ?Sized>(&self, keys: &K) {
        self.invalidate_under(keys.keys(), current_cause());
    }

    /// Makes every node forget one key or many: this one before it returns, as
    /// [`invalidate_local`](Self::invalidate_local) does, the others as fast as the cluster carries it.
    ///
    /// Inside the handling of a change ([`Cause`]) it acts on this node only: every node handles the change itself.
    pub fn invalidate<K: Keys + ?Sized>(&self, keys: &K) -> Receipt {
        let cause = current_cause();
        let keys = keys.keys();
        let number = self.invalidate_under(keys, cause);
        self.receipt(number, cause, || Invalidation::Keys {
            cache: Arc::clone(&self.named.name),
            keys: keys.to_vec(),
        })
    }

    /// Makes every node forget everything that carries a tag, and refuse what is loading and turns out to carry it.
    ///
    /// Acts on this node before it returns. An L1 may hold what L2 has given up, so every L1 entry of this cache looks into
    /// L2 once more; no entry without the tag is loaded again.
    pub fn invalidate_tag(&self, tag: impl Into<Tag>) -> Receipt {
        let cause = current_cause();
        let tag = tag.into();
        let number = self.invalidate_tag_under(&tag, cause);
        self.receipt(number, cause, || Invalidation::Tag {
            cache: Arc::clone(&self.named.name),
            tag,
        })
    }

    /// Like [`invalidate_tag`](Self::invalidate_tag), on this node only.
    pub fn invalidate_tag_local(&self, tag: impl Into<Tag>) {
        self.invalidate_tag_under(&tag.into(), current_cause());
    }

    /// Makes every node forget this cache; other named caches stay as they are. Costs a look at each entry of L2.
    pub fn purge(&self) -> Receipt {
        let cause = current_cause();
        let number = self.purge_under(cause);
        self.receipt(number, cause, || Invalidation::All {
            cache: Arc::clone(&self.named.name),
        })
    }

    /// Like [`purge`](Self::purge), on this node only.
    pub fn purge_local(&self) {
        self.purge_under(current_cause());
    }

    /// What the node does first with a committed change: evicts the keys and tags at once, whatever cause the thread runs
    /// under, and gives the number that becomes the change's own [`Cause`].
    ///
    /// Handlers of the change that invalidate the same keys under that cause have nothing left to do.
    pub fn apply_change(&self, keys: &[CacheKey], tags: &[Tag]) -> u64 {
        for tag in tags {
            self.invalidate_tag_under(tag, None);
        }
        let number = self.invalidate_under(keys, None);
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

    /// The last number that the node's sequence gave, for [`Loaded::read_at`](crate::Loaded::read_at).
    #[must_use]
    pub fn number(&self) -> u64 {
        self.node.sequence.current()
    }

    pub(crate) fn invalidate_under(&self, keys: &[CacheKey], cause: Option<u64>) -> u64 {
        let counters = &self.named.counters;
        let below = cause.unwrap_or(ALL);
        let mut removed = Removed::default();
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::InvalidateNumbersLast) {
            let number = self.node.sequence.next();
            for key in keys {
                self.named.slots.raise(key.hash_value(), number);
            }
            crate::faults::pause();
            for key in keys {
                drop(self.named.flights.lock(key).void(key, below));
                drop(self.node.level2.remove(&self.named.name_of(key), below));
            }
            return number;
        }
        let mut open = Vec::new();
        for key in keys {
            if cause.is_some_and(|cause| self.named.flights.lock(key).is_handled(key, cause)) {
                continue;
            }
            step!(InvalidateVoids, {
                let below = void_below(below);
                let voided = self.named.flights.lock(key).void(key, below);
                drop(voided);
            });
            step!(InvalidateRemoves, {
                removed.extend(self.node.level2.remove(&self.named.name_of(key), below));
            });
            open.push(key);
        }
        let number = match cause {
            Some(cause) if open.is_empty() => cause,
            _ => self.own_number(cause),
        };
        for key in &open {
            step!(InvalidateRaisesSlot, {
                self.named.slots.raise(key.hash_value(), number);
            });
            if let Some(cause) = cause {
                self.named.flights.lock(key).handled(key, cause);
            }
        }
        counters.invalidations.add(open.len());
        counters.evicted_by_invalidation.add(removed.len());
        self.node.forget_tags(&removed);
        number
    }

    /// The number for the slots.
    fn own_number(&self, cause: Option<u64>) -> u64 {
        #[cfg(any(shuttle, tidings_faults))]
        if let Some(cause) = cause
            && crate::faults::removed(crate::faults::Step::CauseTakesOwnNumber)
        {
            return cause;
        }
        let _ = cause;
        self.node.sequence.next()
    }

    pub(crate) fn invalidate_tag_under(&self, tag: &Tag, cause: Option<u64>) -> u64 {
        let mut removed = Removed::default();
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::TagNumbersLast) {
            self.named.slots.raise_all(self.node.sequence.next());
        }
        {
            // Under this lock entries with the tag enter L2, so none can come in between.
            let mut index = self.named.tags.lock();
            if let Some(cause) = cause.filter(|cause| index.is_done(tag, *cause)) {
                return cause;
            }
            let below = cause.unwrap_or_else(|| self.node.sequence.next());
            let noted = step!(TagNumberIsNoted, below, or 0);
            for key in index.invalidated(tag, noted) {
                step!(TagRemoves, {
                    let gone = self.node.level2.remove(&key.name(), below);
                    for (key, tags) in gone.tagged() {
                        index.left(key, tags);
                    }
                    removed.extend(gone);
                });
            }
        }
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::TagNumbersLast) {
            return self.node.sequence.current();
        }
        // A number of its own, after L2 was cleared: see the module's text.
        let number = self.node.sequence.next();
        step!(TagRaisesSlots, {
            self.named.slots.raise_all(number);
        });
        if let Some(cause) = cause {
            self.named.tags.lock().done(tag, cause);
        }
        let counters = &self.named.counters;
        counters.tag_invalidations.add(1);
        counters.evicted_by_invalidation.add(removed.len());
        number
    }

    pub(crate) fn purge_under(&self, cause: Option<u64>) -> u64 {
        let below = cause.unwrap_or(ALL);
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::PurgeNumbersLast) {
            self.named.slots.raise_all(self.node.sequence.next());
        }
        step!(PurgeVoids, {
            self.named.flights.void_all(below);
        });
        let cache = self.named.index;
        let leaves = |key: &StoredKey, number, _| key.cache() == cache && number < below;
        let removed = step!(PurgeRemoves, self.node.level2.sift(leaves), or Removed::default());
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::PurgeNumbersLast) {
            return self.node.sequence.current();
        }
        let number = self.node.sequence.next();
        step!(PurgeRaisesSlots, {
            self.named.slots.raise_all(number);
        });
        let counters = &self.named.counters;
        counters.purges.add(1);
        counters.evicted_by_invalidation.add(removed.len());
        self.node.forget_tags(&removed);
        number
    }

    fn receipt(
        &self,
        number: u64,
        cause: Option<u64>,
        invalidation: impl FnOnce() -> Invalidation,
    ) -> Receipt {
        let others = match (&self.node.propagate, cause) {
            (Some(propagate), None) => Some(propagate.propagate(invalidation())),
            // A lone node, or one change that every node handles itself (G14).
            _ => None,
        };
        Receipt::new(number, others)
    }
}

fn current_cause() -> Option<u64> {
    Cause::current().map(|cause| cause.number)
}

fn void_below(below: u64) -> u64 {
    #[cfg(any(shuttle, tidings_faults))]
    if below != ALL && crate::faults::removed(crate::faults::Step::CauseVoids) {
        return 0;
    }
    below
}
