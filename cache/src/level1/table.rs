//! The table of one named cache on one thread.
//!
//! Bounded in entries; a clock hand evicts entries not hit since its last pass. What leaves is handed to the caller, who
//! drops it once the table is no longer borrowed: a value's `Drop` may use the cache.

use std::{any::Any, sync::Weak};

use hashbrown::HashTable;
use tidings_core::{CacheKey, clock::Clock};

use crate::{
    faults::{Step, removed},
    fence::{
        number::{Moment, Number},
        slots::Slots,
    },
    stats::{ThreadCounters, Threads},
    sync::Arc,
};

/// One hit in this many touches L2, so that L2 does not take the hottest keys for cold ones.
const TOUCH_EVERY: u64 = 64;

/// A named cache's number in the process.
pub(crate) type Place = u64;

/// What the tables of one named cache share on all threads.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells its tables from those of other caches.
    pub(crate) place: Place,
    pub(crate) node: u64,
    /// Gone with the node's last handle.
    pub(crate) alive: Weak<()>,
    pub(crate) slots: Slots,
    pub(crate) clock: Arc<dyn Clock>,
    /// How many entries each table keeps.
    pub(crate) capacity: usize,
    pub(crate) threads: Arc<Threads>,
}

impl Shared {
    /// Returns whether a moment has yet to come. The clock is read only if it could have.
    #[inline]
    fn is_ahead(&self, moment: Moment) -> bool {
        moment == Moment::NEVER || moment > Moment::from(self.clock.now())
    }
}

/// Two words, which travel in registers: a wider answer was seen to cost as much as the lookup.
pub(crate) enum Found<T> {
    /// A value, or a cached absence.
    Hit(Option<Arc<T>>),
    /// The same, and it is this hit's turn to tell L2.
    Touch(Option<Arc<T>>),
    /// Nothing that is valid and of this type; or no table.
    Miss,
}

/// What an entry holds; `None` is a cached absence. What leaves is handed on as that, too: the rest of an entry has nothing to
/// say, and a hundred bytes to move.
pub(crate) type Value = Option<Arc<dyn Any + Send + Sync>>;

/// An entry that is to be kept, besides its key.
pub(crate) struct Kept {
    pub(crate) value: Value,
    /// The sequence before L2 was read.
    pub(crate) number: Number,
    pub(crate) expires: Moment,
}

pub(super) struct Table {
    pub(super) place: Place,
    pub(super) node: u64,
    entries: HashTable<Entry>,
    capacity: usize,
    hand: usize,
    pub(super) counters: Arc<ThreadCounters>,
    threads: Arc<Threads>,
}

#[repr(C)] // what a hit reads lies together, the end of the key's buffer last
struct Entry {
    kept: Kept,
    visited: bool,
    key: CacheKey,
}

impl Table {
    pub(super) fn new(shared: &Shared, label: &Arc<str>) -> Self {
        Self {
            place: shared.place,
            node: shared.node,
            entries: HashTable::new(),
            capacity: shared.capacity,
            hand: 0,
            counters: shared.threads.join(label),
            threads: Arc::clone(&shared.threads),
        }
    }

    #[inline]
    pub(super) fn get<T: Any + Send + Sync>(
        &mut self,
        key: &CacheKey,
        shared: &Shared,
    ) -> Found<T> {
        let hash = key.hash_value();

        // By the hash alone, so that the loop over a group's candidates holds no call, and its registers stay where they are.
        // Two keys that share all 64 bits of a secret hash evict each other, if that ever happens.
        let entry = self
            .entries
            .find_mut(hash, |entry| entry.key.hash_value() == hash);
        let Some(entry) = entry.filter(|entry| entry.key.as_bytes() == key.as_bytes()) else {
            return Found::Miss;
        };
        let Kept {
            value,
            number,
            expires,
        } = &entry.kept;
        if is_below(*number, shared.slots.floor(hash)) || !shared.is_ahead(*expires) {
            return Found::Miss;
        }

        let value = match value {
            None => None,
            Some(value) => match Arc::clone(value).downcast() {
                Ok(value) => Some(value),
                // L2 knows whether the caller or this entry's form is the odd one.
                Err(_) => return Found::Miss,
            },
        };
        if !entry.visited {
            entry.visited = true;
        }

        let hits = self.counters.l1_hit(value.is_none());
        if hits.is_multiple_of(TOUCH_EVERY) {
            Found::Touch(value)
        } else {
            Found::Hit(value)
        }
    }

    /// Keeps an entry, and leaves in its place what goes for it.
    pub(super) fn put(&mut self, key: &CacheKey, kept: &mut Kept, slots: &Slots) {
        let hash = key.hash_value();
        if let Some(old) = (self.entries).find_mut(hash, |entry| entry.key.hash_value() == hash) {
            if old.key != *key {
                old.key = key.clone();
            }
            old.visited = false;
            std::mem::swap(&mut old.kept, kept);
            return;
        }
        if self.capacity == 0 {
            return;
        }

        let gone = if self.entries.len() >= self.capacity {
            self.evict(slots)
        } else {
            None
        };
        let entry = Entry {
            key: key.clone(),
            kept: Kept {
                value: std::mem::replace(&mut kept.value, gone),
                ..*kept
            },
            visited: false,
        };
        self.entries
            .insert_unique(hash, entry, |entry| entry.key.hash_value());
        self.entries_changed();
    }

    /// Takes out what is no longer valid, and gives memory back if little is left.
    pub(super) fn sweep(&mut self, slots: &Slots, now: Moment) -> Vec<Value> {
        let is_gone = |entry: &mut Entry| {
            let Kept {
                number, expires, ..
            } = entry.kept;
            expires <= now || number < slots.floor(entry.key.hash_value())
        };
        let gone = self
            .entries
            .extract_if(is_gone)
            .map(|entry| entry.kept.value)
            .collect();
        self.entries_changed();

        if is_sparse(&self.entries) {
            self.entries.shrink_to_fit(|entry| entry.key.hash_value());
        }
        gone
    }

    /// Turns the hand until it meets an entry that was not hit since its last pass, or is no longer valid. Returns its value.
    fn evict(&mut self, slots: &Slots) -> Value {
        // Twice round at most: the first round clears every mark.
        let buckets = self.entries.num_buckets();
        for _ in 0..2 * buckets {
            let index = self.hand;
            self.hand = if index + 1 < buckets { index + 1 } else { 0 };
            let Some(entry) = self.entries.get_bucket_mut(index) else {
                continue;
            };

            let floor = slots.floor(entry.key.hash_value());
            if entry.visited && !is_below(entry.kept.number, floor) {
                entry.visited = false;
                continue;
            }

            let value = entry.kept.value.take();
            if let Ok(entry) = self.entries.get_bucket_entry(index) {
                entry.remove();
            }
            return value;
        }
        None
    }

    fn entries_changed(&self) {
        self.counters.entries(self.entries.len() as u64);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.threads.leave(&self.counters);
    }
}

/// The whole of an L1 entry's validity.
#[inline]
fn is_below(number: Number, floor: Number) -> bool {
    !removed(Step::Level1ComparesSlot) && number < floor
}

/// Returns whether memory is to be given back.
fn is_sparse(entries: &HashTable<Entry>) -> bool {
    entries.len() * 4 < entries.capacity()
}
