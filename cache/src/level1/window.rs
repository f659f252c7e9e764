//! A table whose lookup is bounded by construction, whatever its keys hash to.
//!
//! An entry is in one of the sixteen places that begin at the one its hash chooses, and there is
//! one entry to a 64-bit hash. So a lookup reads at most sixteen entries and compares one key. Keys
//! that were chosen to collide push each other out, and L2 answers them; they make no lookup
//! expensive.
//!
//! An entry is one line of the processor's cache, with keys of up to 32 bytes in it. It keeps the
//! index of *its text's* slot, and a hit compares the entry's number with that slot. So an
//! invalidation, which knows the text, need not know this table, and the two hashes need not agree.
//!
//! The table is bounded in entries and in bytes. A clock hand evicts entries not hit since its last
//! pass. The caller gets the values that leave, and drops them once the thread's tables are no
//! longer borrowed.

use std::sync::Arc;

use crate::{
    faults::{Step, removed},
    fence::{
        number::{Moment, Number},
        slots::Slots,
    },
};

/// How many places may hold an entry.
const WINDOW: usize = 16;
/// How many bytes of a key are in its entry.
const INLINE: usize = 32;
/// The length of a key that is longer than that.
const LONG: u8 = u8::MAX;
/// How many places the smallest table has.
const FEWEST: usize = 16;
/// The largest share of the room that one entry may take: one part in this many. Junk keys are
/// long.
const LARGEST: u64 = 16;

/// The state of a place: a bit for each flag, so that a hit tests and sets one without touching the
/// others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    /// Empty, and was empty since the table was laid out: lookups end here.
    const EMPTY: Self = Self(0);
    /// Emptied: lookups go on, since entries may lie behind it.
    const GONE: Self = Self(1);
    const FULL: Self = Self(2);
    /// The entry expires.
    const TIMED: Self = Self(4);
    /// It was hit since the hand's last pass.
    const VISITED: Self = Self(8);

    #[inline]
    fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    fn without(self, flag: Self) -> Self {
        Self(self.0 & !flag.0)
    }
}

#[repr(C, align(64))]
struct Entry<W> {
    /// Zero if the place is empty; no hash is zero.
    hash: u64,
    /// The sequence before L2 was read.
    number: Number,
    /// `None` is a cached absence.
    value: Option<Arc<W>>,
    /// The index of the slot of the key's text.
    slot: u32,
    /// The selector and the kind of the parts.
    layout: u16,
    /// The length of the key in bytes, or [`LONG`].
    len: u8,
    flags: Flags,
    key: [u8; INLINE],
}

/// The fields of an entry that a hit seldom reads.
#[derive(Clone, Copy, Debug)]
struct ColdFields {
    expires: Moment,
    /// The bytes that the entry counts against the bound.
    weight: u32,
}

/// Values and absences are bounded apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    Absence,
}

impl Kind {
    /// Returns the kind of an entry with this value.
    pub(crate) fn of<V>(value: Option<V>) -> Self {
        match value {
            Some(_) => Self::Value,
            None => Self::Absence,
        }
    }
}

/// How much a table holds, or may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

impl Size {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// An entry that is about to be put into a table, without its key.
#[derive(Debug)]
pub(crate) struct NewEntry<W> {
    pub(crate) value: Option<Arc<W>>,
    pub(crate) number: Number,
    pub(crate) expires: Moment,
    pub(crate) slot: u32,
    /// What the value weighs in L2.
    pub(crate) weight: u32,
}

/// A key of the table: its hash, its layout and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableKey<'a> {
    pub(super) hash: u64,
    pub(super) layout: u16,
    pub(super) bytes: &'a [u8],
}

pub(super) struct Window<W> {
    /// None, or a power of two.
    entries: Vec<Entry<W>>,
    cold: Vec<ColdFields>,
    /// The keys that are longer than an entry holds, each whole; empty until there is one.
    long: Vec<Option<Box<[u8]>>>,
    live: usize,
    bytes: u64,
    hand: usize,
    limit: Size,
}

impl<W> Window<W> {
    pub(super) fn new(limit: Size) -> Self {
        Self {
            entries: Vec::new(),
            cold: Vec::new(),
            long: Vec::new(),
            live: 0,
            bytes: 0,
            hand: 0,
            limit,
        }
    }

    pub(super) fn size(&self) -> Size {
        Size {
            entries: self.live,
            bytes: self.bytes,
        }
    }

    /// Returns the place of an entry that is valid, and marks it as hit.
    #[inline(always)]
    pub(super) fn hit(
        &mut self,
        key: TableKey<'_>,
        slots: &Slots,
        is_ahead: impl FnOnce(Moment) -> bool,
    ) -> Option<&Option<Arc<W>>> {
        let place = self.find(key.hash)?;
        let entry = self.entries.get_mut(place)?;
        if !entry.is(key.layout, key.bytes) || !entry.is_valid(slots) {
            return None;
        }

        if entry.len == LONG && self.long[place].as_deref() != Some(key.bytes) {
            return None;
        }
        if entry.flags.has(Flags::TIMED) && !is_ahead(self.cold[place].expires) {
            return None;
        }
        entry.flags = entry.flags.with(Flags::VISITED);
        Some(&entry.value)
    }

    /// Puts an entry in, if the bounds allow. Values that leave for it are added to `gone`.
    pub(super) fn put(
        &mut self,
        key: TableKey<'_>,
        new: NewEntry<W>,
        slots: &Slots,
        gone: &mut Vec<Arc<W>>,
    ) {
        // The entry of this hash may be another key's: there is one entry to a hash.
        self.remove(key.hash, gone);

        let weight = weight_of(key.bytes, new.weight);
        if self.limit.entries == 0 || u64::from(weight) > self.limit.bytes / LARGEST {
            gone.extend(new.value);
            return;
        }

        while self.live >= self.limit.entries || self.bytes + u64::from(weight) > self.limit.bytes {
            self.evict(slots, gone);
        }
        if (self.live + 1) * 2 > self.entries.len() {
            self.lay_out((self.entries.len() * 2).max(FEWEST), gone);
        }

        let place = self.place_for(key.hash, slots, gone);
        self.fill(place, key, new, weight);
    }

    /// Removes the entry of a hash, if there is one.
    pub(super) fn remove(&mut self, hash: u64, gone: &mut Vec<Arc<W>>) {
        if let Some(place) = self.find(hash) {
            gone.extend(self.take(place));
        }
    }

    /// Removes entries that are no longer valid, and frees memory if few are left.
    pub(super) fn sweep(&mut self, slots: &Slots, now: Moment, gone: &mut Vec<Arc<W>>) {
        for place in 0..self.entries.len() {
            let entry = &self.entries[place];
            if entry.is_full() && (!entry.is_valid(slots) || self.cold[place].expires <= now) {
                gone.extend(self.take(place));
            }
        }
        if self.live * 8 < self.entries.len() && self.entries.len() > FEWEST {
            self.lay_out((self.live * 4).next_power_of_two().max(FEWEST), gone);
        }
    }

    #[inline(always)]
    fn find(&self, hash: u64) -> Option<usize> {
        let home = hash as usize & self.entries.len().wrapping_sub(1);
        if self.entries.get(home)?.hash == hash {
            return Some(home);
        }
        self.find_farther(hash)
    }

    /// Searches the whole window of a hash. Not inlined, so that the check of its first place is.
    #[inline(never)]
    fn find_farther(&self, hash: u64) -> Option<usize> {
        for place in places(hash, self.entries.len()) {
            let entry = self.entries.get(place)?;
            if entry.hash == hash {
                return Some(place);
            }
            if entry.flags == Flags::EMPTY {
                return None;
            }
        }

        None
    }

    /// Returns an empty place in the window of a hash, and makes one if there is none.
    fn place_for(&mut self, hash: u64, slots: &Slots, gone: &mut Vec<Arc<W>>) -> usize {
        if let Some(free) = self.free(hash) {
            return free;
        }

        // The window is full, which is rare in a table that is at most half full. An entry that may
        // also lie farther on makes room.
        for place in places(hash, self.entries.len()) {
            if let Some(to) = self.free(self.entries[place].hash) {
                self.shift(place, to);
                return place;
            }
        }

        // Or an entry that was not hit is evicted.
        let mut victim = None;
        for place in places(hash, self.entries.len()) {
            let entry = &mut self.entries[place];
            if !entry.flags.has(Flags::VISITED) || !entry.is_valid(slots) {
                victim = Some(place);
                break;
            }
            entry.flags = entry.flags.without(Flags::VISITED);
        }

        let victim = victim.unwrap_or(hash as usize & (self.entries.len() - 1));
        gone.extend(self.take(victim));
        victim
    }

    /// Returns the first empty place in the window of a hash.
    fn free(&self, hash: u64) -> Option<usize> {
        places(hash, self.entries.len()).find(|&place| !self.entries[place].is_full())
    }

    fn shift(&mut self, from: usize, to: usize) {
        let gone = Entry::nothing(Flags::GONE);
        self.entries[to] = std::mem::replace(&mut self.entries[from], gone);
        self.cold[to] = self.cold[from];
        if !self.long.is_empty() {
            self.long[to] = self.long[from].take();
        }
    }

    fn fill(&mut self, place: usize, key: TableKey<'_>, new: NewEntry<W>, weight: u32) {
        let timed = if new.expires == Moment::NEVER {
            Flags::EMPTY
        } else {
            Flags::TIMED
        };
        let mut entry = Entry {
            hash: key.hash,
            number: new.number,
            value: new.value,
            slot: new.slot,
            layout: key.layout,
            len: LONG,
            flags: Flags::FULL.with(timed),
            key: [0; INLINE],
        };
        let len = key.bytes.len();

        if len <= INLINE {
            entry.len = len as u8;
            entry.key[..len].copy_from_slice(key.bytes);
        } else {
            entry.key.copy_from_slice(&key.bytes[..INLINE]);
            self.long.resize(self.entries.len(), None);
            self.long[place] = Some(key.bytes.into());
        }

        self.entries[place] = entry;
        self.cold[place] = ColdFields {
            expires: new.expires,
            weight,
        };
        self.live += 1;
        self.bytes += u64::from(weight);
    }

    /// Removes an entry. Returns its value.
    fn take(&mut self, place: usize) -> Option<Arc<W>> {
        let next = (place + 1) & (self.entries.len() - 1);
        // No entry lies behind a place that is followed by an empty one.
        let left = if self.entries[next].flags == Flags::EMPTY {
            Flags::EMPTY
        } else {
            Flags::GONE
        };
        let entry = std::mem::replace(&mut self.entries[place], Entry::nothing(left));

        if let Some(long) = self.long.get_mut(place) {
            *long = None;
        }

        self.live -= 1;
        self.bytes -= u64::from(self.cold[place].weight);
        entry.value
    }

    /// Removes every entry.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<W>> {
        (self.live, self.bytes) = (0, 0);
        (self.cold, self.long) = (Vec::new(), Vec::new());
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().filter_map(|entry| entry.value)
    }

    /// Turns the hand until it meets an entry that was not hit since its last pass, or is no longer
    /// valid, and evicts it.
    pub(super) fn evict(&mut self, slots: &Slots, gone: &mut Vec<Arc<W>>) {
        // At most two rounds: the first one clears every mark.
        for _ in 0..2 * self.entries.len() {
            let place = self.hand & (self.entries.len() - 1);
            self.hand = place + 1;

            let entry = &mut self.entries[place];
            if entry.flags.has(Flags::VISITED) && entry.is_valid(slots) {
                entry.flags = entry.flags.without(Flags::VISITED);
            } else if entry.is_full() {
                gone.extend(self.take(place));
                return;
            }
        }
    }

    /// Lays the entries out in a table of this many places.
    fn lay_out(&mut self, size: usize, gone: &mut Vec<Arc<W>>) {
        let nothing = ColdFields {
            expires: Moment::NEVER,
            weight: 0,
        };
        let entries = (0..size).map(|_| Entry::nothing(Flags::EMPTY)).collect();
        let entries = std::mem::replace(&mut self.entries, entries);
        let cold = std::mem::replace(&mut self.cold, vec![nothing; size]);
        let mut long = std::mem::take(&mut self.long);
        (self.live, self.bytes, self.hand) = (0, 0, 0);

        for (place, entry) in entries.into_iter().enumerate() {
            if !entry.is_full() {
                continue;
            }
            let Some(to) = self.free(entry.hash) else {
                gone.extend(entry.value);
                continue;
            };

            if let Some(key) = long.get_mut(place).and_then(Option::take) {
                self.long.resize(size, None);
                self.long[to] = Some(key);
            }
            self.entries[to] = entry;
            self.cold[to] = cold[place];
            self.live += 1;
            self.bytes += u64::from(cold[place].weight);
        }
    }
}

impl<W> Entry<W> {
    fn nothing(flags: Flags) -> Self {
        Self {
            hash: 0,
            number: Number::ZERO,
            value: None,
            slot: 0,
            layout: 0,
            len: 0,
            flags,
            key: [0; INLINE],
        }
    }

    fn is_full(&self) -> bool {
        self.flags.has(Flags::FULL)
    }

    /// Returns whether the entry is that of a key, as far as the entry holds the key.
    #[inline(always)]
    fn is(&self, layout: u16, bytes: &[u8]) -> bool {
        if self.layout != layout {
            return false;
        }
        if let Ok(whole) = <&[u8; INLINE]>::try_from(bytes) {
            return usize::from(self.len) == INLINE && *whole == self.key;
        }

        match bytes.get(..INLINE) {
            Some(beginning) => self.len == LONG && *beginning == self.key,
            None => self.key.get(..usize::from(self.len)) == Some(bytes),
        }
    }

    /// Returns whether nothing of its slot was invalidated since it was read.
    #[inline(always)]
    fn is_valid(&self, slots: &Slots) -> bool {
        removed(Step::ViewComparesSlot) || self.number >= slots.floor_at(self.slot)
    }
}

/// Returns the places that may hold an entry of a hash, in a table of a size that is a power of
/// two.
fn places(hash: u64, size: usize) -> impl Iterator<Item = usize> {
    (0..WINDOW).map(move |step| (hash as usize).wrapping_add(step) & (size - 1))
}

/// Returns the bytes that an entry counts against the bound: its two places, its value, and its key
/// if the entry does not hold it.
fn weight_of(key: &[u8], value: u32) -> u32 {
    let places = 2 * (size_of::<Entry<()>>() + size_of::<ColdFields>());
    let long = if key.len() > INLINE { key.len() } else { 0 };
    let rest = u32::try_from(places + long).unwrap_or(u32::MAX);
    value.saturating_add(rest)
}

#[cfg(all(test, not(shuttle)))]
mod tests;
