//! The table of one named cache on one thread.
//!
//! Values and absences are kept apart, each bounded in entries and in bytes, so that a flood of
//! absences pushes out no value. An entry that takes too large a part of the bound is not kept.
//! A clock hand evicts entries not hit since its last pass. The caller gets the values that leave,
//! and drops them once the table is no longer borrowed: a value's `Drop` may use the cache.

use std::{any::Any, sync::Weak};

use hashbrown::HashTable;
use tidings_core::{CacheKey, clock::Clock};

use crate::{
    faults::{Step, removed},
    fence::{
        number::{Moment, Number},
        slots::Slots,
    },
    level1::{
        sampling,
        view::AnyView,
        window::{Kind, Size},
    },
    stats::{ThreadCounters, Threads},
    sync::Arc,
    user_code,
};

/// One hit in this many, on average, touches L2, so that L2 does not take the hottest keys for cold
/// ones.
const TOUCH_EVERY: u64 = 64;

/// The share of the bound that is for absences: one part in this many.
const ABSENCES: u64 = 8;

/// The largest share of the room that one entry may take: one part in this many. Junk keys are
/// long.
const LARGEST: u64 = 16;

/// The id of a named cache in this process.
pub(crate) type CacheId = u64;

/// When threads get an L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attach {
    /// At their first call that reads the cache; threads that were attached before keep their
    /// label.
    AtFirstUse,
    /// Only by [`Cache::attach_thread`](crate::Cache::attach_thread).
    ByHand,
}

/// What the tables of one named cache share on all threads.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Distinguishes its tables from those of other caches.
    pub(crate) cache_id: CacheId,
    pub(crate) node: u64,
    /// Dead once the node's last handle is dropped.
    pub(crate) alive: Weak<()>,
    pub(crate) attach: Attach,
    pub(crate) slots: Slots,
    pub(crate) clock: Arc<dyn Clock>,
    /// How many entries each table keeps, and how many bytes.
    pub(crate) capacity: usize,
    pub(crate) bytes: u64,
    pub(crate) threads: Arc<Threads>,
}

impl Shared {
    /// Returns whether a moment is in the future. Reads no clock for [`Moment::NEVER`].
    #[inline]
    fn is_ahead(&self, moment: Moment) -> bool {
        moment == Moment::NEVER || moment > Moment::from(self.clock.now())
    }
}

/// The result of a lookup. Two words, which travel in registers: a wider answer was measured to
/// cost as much as the lookup.
pub(crate) enum TableLookup<T> {
    /// A value, or a cached absence.
    Hit(Option<Arc<T>>),
    /// The same, and this hit is to touch the entry in L2.
    Touch(Option<Arc<T>>),
    /// No valid entry of this type, or no table.
    Miss,
}

/// The value of an entry; `None` is a cached absence. Entries that leave are returned in this form
/// too: the rest of an entry is of no use any more, and a hundred bytes to move.
pub(crate) type Value = Option<Arc<dyn Any + Send + Sync>>;

/// An entry without its key.
pub(crate) struct Content {
    pub(crate) value: Value,
    /// The sequence before L2 was read.
    pub(crate) number: Number,
    pub(crate) expires: Moment,
    /// When it was read from its backing store.
    pub(crate) read: Moment,
    /// What the value weighs in L2.
    pub(crate) weight: u32,
}

pub(super) struct Table {
    pub(super) cache_id: CacheId,
    pub(super) node: u64,
    values: Zone,
    /// The number of hits at which L2 is touched next.
    next_touch: u64,
    pub(super) counters: Arc<ThreadCounters>,
    absences: Zone,
    /// The tables of the cache's views, by their index.
    pub(super) views: Vec<Option<Box<dyn AnyView>>>,
    threads: Arc<Threads>,
}

/// Entries of one kind.
struct Zone {
    entries: HashTable<Entry>,
    capacity: usize,
    room: u64,
    bytes: u64,
    hand: usize,
}

#[repr(C)] // what a hit reads lies together, the end of the key's buffer last
struct Entry {
    content: Content,
    visited: bool,
    key: CacheKey,
}

impl Table {
    pub(super) fn new(shared: &Shared, label: &Arc<str>) -> Self {
        let (capacity, room) = (shared.capacity, shared.bytes);
        let absences = Zone::new(capacity.div_ceil(ABSENCES as usize), room / ABSENCES);
        Self {
            cache_id: shared.cache_id,
            node: shared.node,
            values: Zone::new(capacity, room - room / ABSENCES),
            next_touch: 1,
            counters: shared.threads.join(label),
            absences,
            views: Vec::new(),
            threads: Arc::clone(&shared.threads),
        }
    }

    #[inline]
    pub(super) fn get<T: Any + Send + Sync>(
        &mut self,
        key: &CacheKey,
        shared: &Shared,
    ) -> TableLookup<T> {
        let hash = key.hash_value();
        let Some(entry) = self.values.find(key, hash) else {
            return self.get_absence(key, shared);
        };
        let Content {
            value: Some(value),
            number,
            expires,
            ..
        } = &entry.content
        else {
            return TableLookup::Miss;
        };
        if is_below(*number, shared.slots.floor(hash)) || !shared.is_ahead(*expires) {
            return TableLookup::Miss;
        }

        // L2 knows whether the caller asks for a wrong type, or this entry holds another form.
        let Ok(value) = Arc::clone(value).downcast() else {
            return TableLookup::Miss;
        };
        if !entry.visited {
            entry.visited = true;
        }

        let hits = self.counters.l1_hit();
        if hits < self.next_touch {
            return TableLookup::Hit(Some(value));
        }
        self.next_touch = hits + sampling::distance(hash, hits, TOUCH_EVERY);
        TableLookup::Touch(Some(value))
    }

    #[inline(never)]
    fn get_absence<T>(&mut self, key: &CacheKey, shared: &Shared) -> TableLookup<T> {
        let hash = key.hash_value();
        let Some(entry) = self.absences.find(key, hash) else {
            return TableLookup::Miss;
        };

        let Content {
            number, expires, ..
        } = entry.content;
        if is_below(number, shared.slots.floor(hash)) || !shared.is_ahead(expires) {
            return TableLookup::Miss;
        }
        entry.visited = true;

        let hits = self.counters.l1_absence_hit();
        if hits < self.next_touch {
            return TableLookup::Hit(None);
        }
        self.next_touch = hits + sampling::distance(hash, hits, TOUCH_EVERY);
        TableLookup::Touch(None)
    }

    /// Returns when the entry of a key was read from its backing store.
    pub(super) fn read_of(&mut self, key: &CacheKey) -> Option<Moment> {
        let hash = key.hash_value();
        let entry = match self.values.find(key, hash) {
            Some(entry) => entry,
            None => self.absences.find(key, hash)?,
        };
        Some(entry.content.read)
    }

    /// Puts an entry in, and adds the values that leave for it to `gone`.
    #[inline]
    pub(super) fn put(&mut self, key: &CacheKey, new: Content, slots: &Slots, gone: &mut Removed) {
        let (zone, other) = match new.value {
            Some(_) => (&mut self.values, &mut self.absences),
            None => (&mut self.absences, &mut self.values),
        };
        let kind = Kind::of(new.value.as_ref());
        other.remove(key, gone);
        zone.put(key, new, slots, gone);
        self.trim(kind, slots, gone);
        self.entries_changed();
    }

    /// Keeps the bounds after a view's table was filled. Returns the values that left that table,
    /// and those that leave for it.
    pub(super) fn view_changed<W: Any + Send + Sync>(
        &mut self,
        kind: Kind,
        left: Vec<Arc<W>>,
        slots: &Slots,
    ) -> Removed {
        let mut gone = Removed::default();
        left.into_iter().for_each(|value| gone.add(Some(value)));
        self.trim(kind, slots, &mut gone);
        self.entries_changed();
        gone
    }

    /// Keeps this table and those of the views together within the bounds: the one with the most
    /// bytes evicts first.
    fn trim(&mut self, kind: Kind, slots: &Slots, gone: &mut Removed) {
        loop {
            let zone = match kind {
                Kind::Value => &mut self.values,
                Kind::Absence => &mut self.absences,
            };
            let mut total = zone.size();
            let (mut fullest, mut most) = (None, total.bytes);

            for view in self.views.iter_mut().flatten() {
                let held = view.size(kind);
                total = total.and(held);
                if held.bytes > most {
                    (fullest, most) = (Some(view), held.bytes);
                }
            }

            if total.entries <= zone.capacity && total.bytes <= zone.room {
                return;
            }

            match fullest {
                Some(view) => gone.add(view.evict(kind, slots)),
                None if zone.evict(slots, gone) => {}
                None => return,
            }
        }
    }

    /// Removes entries that are no longer valid, and frees memory if few are left.
    pub(super) fn sweep(&mut self, slots: &Slots, now: Moment) -> Removed {
        let mut gone = Removed::default();
        self.values.sweep(slots, now, &mut gone);
        self.absences.sweep(slots, now, &mut gone);
        for view in self.views.iter_mut().flatten() {
            let left = view.sweep(slots, now);
            left.into_iter().for_each(|value| gone.add(Some(value)));
        }
        self.entries_changed();
        gone
    }

    fn entries_changed(&self) {
        let mut total = self.values.size().and(self.absences.size());
        for view in self.views.iter().flatten() {
            total = total
                .and(view.size(Kind::Value))
                .and(view.size(Kind::Absence));
        }
        self.counters.set_size(total.entries as u64, total.bytes);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.threads.leave(&self.counters);
        for zone in [&mut self.values, &mut self.absences] {
            user_code::drop_each(zone.entries.drain().map(|entry| entry.content.value));
        }
        for view in self.views.iter_mut().flatten() {
            user_code::drop_each(view.take_all());
        }
    }
}

/// Values that left a table, to be dropped when it is no longer borrowed: a value's `Drop` may use
/// the cache. Most calls remove one value, or none.
#[derive(Default)]
pub(crate) struct Removed {
    one: Value,
    more: Vec<Value>,
}

impl Removed {
    fn add(&mut self, value: Value) {
        if value.is_none() {
            return;
        }
        if self.one.is_none() {
            self.one = value;
        } else {
            self.more.push(value);
        }
    }
}

impl Drop for Removed {
    // Each by itself: a value whose `Drop` panics takes no other along.
    #[inline]
    fn drop(&mut self) {
        if let Some(one) = self.one.take() {
            user_code::drop_each([one]);
        }
        if !self.more.is_empty() {
            user_code::drop_each(std::mem::take(&mut self.more));
        }
    }
}

impl Zone {
    fn new(capacity: usize, room: u64) -> Self {
        Self {
            entries: HashTable::new(),
            capacity,
            room,
            bytes: 0,
            hand: 0,
        }
    }

    fn size(&self) -> Size {
        Size {
            entries: self.entries.len(),
            bytes: self.bytes,
        }
    }

    #[inline]
    fn find(&mut self, key: &CacheKey, hash: u64) -> Option<&mut Entry> {
        // By the hash alone, so that the loop over a group's candidates holds no call, and its
        // registers stay where they are. Two keys that share all 64 bits of a secret hash evict
        // each other, if that ever happens.
        let entry = self
            .entries
            .find_mut(hash, |entry| entry.key.hash_value() == hash);
        entry.filter(|entry| entry.key.as_bytes() == key.as_bytes())
    }

    /// Puts an entry in, within the bound of entries. The bound of bytes is the table's to keep.
    #[inline]
    fn put(&mut self, key: &CacheKey, new: Content, slots: &Slots, gone: &mut Removed) {
        let weight = u64::from(new.weight);
        if self.capacity == 0 || weight > self.room / LARGEST {
            self.remove(key, gone);
            return gone.add(new.value);
        }

        let hash = key.hash_value();
        if let Some(old) = (self.entries).find_mut(hash, |entry| entry.key.hash_value() == hash) {
            if old.key != *key {
                old.key = key.clone();
            }
            old.visited = false;
            let old = std::mem::replace(&mut old.content, new);
            self.bytes = self.bytes - u64::from(old.weight) + weight;
            gone.add(old.value);
        } else {
            if self.entries.len() >= self.capacity {
                self.evict(slots, gone);
            }

            let entry = Entry {
                key: key.clone(),
                content: new,
                visited: false,
            };
            self.entries
                .insert_unique(hash, entry, |entry| entry.key.hash_value());
            self.bytes += weight;
        }
    }

    fn remove(&mut self, key: &CacheKey, gone: &mut Removed) {
        if self.entries.is_empty() {
            return;
        }

        let hash = key.hash_value();
        let found = self
            .entries
            .find_entry(hash, |entry| entry.key.hash_value() == hash);

        if let Ok(found) = found {
            let (entry, _) = found.remove();
            self.bytes -= u64::from(entry.content.weight);
            gone.add(entry.content.value);
        }
    }

    /// Turns the hand until it meets an entry that was not hit since its last pass, or is no longer
    /// valid, and evicts it. Returns whether there was one.
    fn evict(&mut self, slots: &Slots, gone: &mut Removed) -> bool {
        // At most two rounds: the first one clears every mark.
        let buckets = self.entries.num_buckets();
        for _ in 0..2 * buckets {
            let index = self.hand;
            let next = index + 1;
            self.hand = if next < buckets { next } else { 0 };
            let Some(entry) = self.entries.get_bucket_mut(index) else {
                continue;
            };

            // The slot of an entry that is evicted anyway is not read: it is seldom in the
            // processor's cache.
            if entry.visited && !is_below(entry.content.number, slots.floor(entry.key.hash_value()))
            {
                entry.visited = false;
                continue;
            }

            if let Ok(entry) = self.entries.get_bucket_entry(index) {
                let (entry, _) = entry.remove();
                self.bytes -= u64::from(entry.content.weight);
                gone.add(entry.content.value);
                return true;
            }
        }

        false
    }

    fn sweep(&mut self, slots: &Slots, now: Moment, gone: &mut Removed) {
        let is_gone = |entry: &mut Entry| {
            let Content {
                number, expires, ..
            } = entry.content;
            expires <= now || number < slots.floor(entry.key.hash_value())
        };
        for entry in self.entries.extract_if(is_gone) {
            self.bytes -= u64::from(entry.content.weight);
            gone.add(entry.content.value);
        }

        if is_sparse(&self.entries) {
            self.entries.shrink_to_fit(|entry| entry.key.hash_value());
        }
    }
}

/// Returns whether a number is below its slot, which is all that makes an L1 entry invalid.
#[inline]
fn is_below(number: Number, floor: Number) -> bool {
    !removed(Step::Level1ComparesSlot) && number < floor
}

/// Returns whether memory is to be freed.
fn is_sparse(entries: &HashTable<Entry>) -> bool {
    entries.len() * 4 < entries.capacity()
}
