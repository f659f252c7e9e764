//! The tables of one view on one thread: values and absences apart, so that a flood of absences
//! pushes out no value.

use std::{any::Any, sync::Arc};

use tidings_core::clock::Clock;

use crate::{
    answer::parts::Lent,
    fence::{number::Moment, slots::Slots},
    level1::{
        seed::{self, Hashing},
        window::{Kind, NewEntry, Size, TableKey, Window},
    },
    stats::ThreadCounters,
};

/// One hit in this many touches L2 on average. The distance is drawn at random each time: a fixed
/// one would fall on the same key again and again if every request makes the same number of
/// lookups.
const TOUCH_EVERY: u64 = 256;

/// The share of the bound that is for absences: one part in this many.
const ABSENCES: usize = 8;

/// A view's number among those of its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViewIndex(pub(crate) usize);

/// A selector's number among those of its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SelectorIndex(pub(crate) u8);

/// How the bytes of a key are read: the selector of the key, and the kind of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyLayout(pub(super) u16);

impl KeyLayout {
    #[inline]
    pub(crate) fn new(selector: SelectorIndex, lent: Lent<'_>) -> Self {
        Self(u16::from_be_bytes([selector.0, lent.kind()]))
    }
}

/// The result of a lookup. Two words if `R` is one, which travel in registers.
pub(crate) enum ViewLookup<R> {
    /// What the caller's closure made of a value, or of a cached absence.
    Hit(R),
    /// The same, and this hit is to touch the entry in L2.
    Touch(R),
    /// No valid entry, or no table.
    Miss,
}

pub(crate) struct ViewTable<W> {
    hashing: Hashing,
    values: Window<W>,
    absences: Window<W>,
    /// Hits until the next one that touches L2.
    until_touch: u64,
    random: u64,
}

impl<W> ViewTable<W> {
    pub(super) fn new(capacity: usize, room: u64) -> Self {
        let absences = Size {
            entries: capacity.div_ceil(ABSENCES),
            bytes: room / ABSENCES as u64,
        };
        let values = Size {
            entries: capacity,
            bytes: room - absences.bytes,
        };

        let mut this = Self {
            hashing: Hashing::new(),
            values: Window::new(values),
            absences: Window::new(absences),
            until_touch: 0,
            random: seed::random() | 1,
        };

        this.draw();
        this
    }

    /// Looks a key up, and returns what `make` makes of its value.
    #[inline(always)]
    pub(crate) fn get<R>(
        &mut self,
        layout: KeyLayout,
        bytes: &[u8],
        slots: &Slots,
        clock: &Arc<dyn Clock>,
        counters: &ThreadCounters,
        make: impl FnOnce(Option<&Arc<W>>) -> R,
    ) -> ViewLookup<R> {
        let key = self.key(layout, bytes);
        let is_ahead = |moment| moment > Moment::from(clock.now());
        let made = match self.values.hit(key, slots, is_ahead) {
            Some(value) => {
                counters.l1_hit();
                make(value.as_ref())
            }
            None if has_absence(
                &mut self.absences,
                key.hash,
                key.layout,
                key.bytes,
                slots,
                clock,
            ) =>
            {
                counters.l1_absence_hit();
                make(None)
            }
            None => return ViewLookup::Miss,
        };

        self.until_touch -= 1;
        if self.until_touch == 0 {
            self.draw();
            ViewLookup::Touch(made)
        } else {
            ViewLookup::Hit(made)
        }
    }

    /// Puts a value or an absence in the place of what the key had. Returns the values that left
    /// for it, or the value itself if it was not kept.
    pub(crate) fn put(
        &mut self,
        layout: KeyLayout,
        bytes: &[u8],
        new: NewEntry<W>,
        slots: &Slots,
    ) -> Vec<Arc<W>> {
        let mut gone = Vec::new();
        let key = self.key(layout, bytes);
        if new.value.is_some() {
            self.absences.remove(key.hash, &mut gone);
            self.values.put(key, new, slots, &mut gone);
        } else {
            self.values.remove(key.hash, &mut gone);
            self.absences.put(key, new, slots, &mut gone);
        }

        gone
    }

    #[inline(always)]
    fn key<'a>(&self, layout: KeyLayout, bytes: &'a [u8]) -> TableKey<'a> {
        TableKey {
            hash: self.hashing.hash(layout.0, bytes),
            layout: layout.0,
            bytes,
        }
    }

    #[cold]
    fn draw(&mut self) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.until_touch = 1 + (self.random >> 11) % (2 * TOUCH_EVERY - 1);
    }
}

/// Returns whether a key has a cached absence. Not inlined, so that the path of a value's hit is
/// short.
#[inline(never)]
fn has_absence<W>(
    absences: &mut Window<W>,
    hash: u64,
    layout: u16,
    bytes: &[u8],
    slots: &Slots,
    clock: &Arc<dyn Clock>,
) -> bool {
    let is_ahead = |moment| moment > Moment::from(clock.now());
    let key = TableKey {
        hash,
        layout,
        bytes,
    };
    absences.hit(key, slots, is_ahead).is_some()
}

/// A view's table without its type.
pub(super) trait AnyView: Any {
    /// Returns how much the table holds of a kind.
    fn size(&self, kind: Kind) -> Size;

    /// Evicts an entry that was not hit recently. Returns its value.
    fn evict(&mut self, kind: Kind, slots: &Slots) -> Option<Arc<dyn Any + Send + Sync>>;

    /// Removes every entry.
    fn take_all(&mut self) -> Vec<Arc<dyn Any + Send + Sync>>;

    /// Removes entries that are no longer valid.
    fn sweep(&mut self, slots: &Slots, now: Moment) -> Vec<Arc<dyn Any + Send + Sync>>;
}

impl<W: Any + Send + Sync> AnyView for ViewTable<W> {
    fn size(&self, kind: Kind) -> Size {
        match kind {
            Kind::Value => self.values.size(),
            Kind::Absence => self.absences.size(),
        }
    }

    fn evict(&mut self, kind: Kind, slots: &Slots) -> Option<Arc<dyn Any + Send + Sync>> {
        let mut gone = Vec::new();
        match kind {
            Kind::Value => self.values.evict(slots, &mut gone),
            Kind::Absence => self.absences.evict(slots, &mut gone),
        }
        gone.pop().map(|value| value as _)
    }

    fn take_all(&mut self) -> Vec<Arc<dyn Any + Send + Sync>> {
        let all = self.values.take_all().chain(self.absences.take_all());
        all.map(|value| value as _).collect()
    }

    fn sweep(&mut self, slots: &Slots, now: Moment) -> Vec<Arc<dyn Any + Send + Sync>> {
        let mut gone = Vec::new();
        self.values.sweep(slots, now, &mut gone);
        self.absences.sweep(slots, now, &mut gone);
        gone.into_iter().map(|value| value as _).collect()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use tidings_core::clock::ManualClock;

    use super::*;
    use crate::{fence::number::Number, stats::Threads};

    #[test]
    fn one_hit_in_256_on_average_touches_l2() {
        let mut table = ViewTable::<u64>::new(100, u64::MAX);
        let (slots, threads) = (Slots::new(4), Threads::default());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let counters = threads.join(&"w".into());
        let new = NewEntry {
            value: Some(Arc::new(1)),
            number: Number(1),
            expires: Moment::NEVER,
            slot: 0,
            weight: 10,
        };
        drop(table.put(KeyLayout(0), b"key", new, &slots));

        let mut touches = 0;
        for _ in 0..1_000 * TOUCH_EVERY {
            match table.get(KeyLayout(0), b"key", &slots, &clock, &counters, |_| ()) {
                ViewLookup::Touch(()) => touches += 1,
                ViewLookup::Hit(()) => {}
                ViewLookup::Miss => panic!("it was put"),
            }
        }
        // The distances are drawn at random: 18 is one standard deviation.
        assert!((850..1_150).contains(&touches), "{touches}");
    }
}
