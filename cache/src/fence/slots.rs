//! A node's sequence, and the slots that each cache keeps of it.
//!
//! Every load and every L1 fill notes the sequence *before* it reads anything; every invalidation
//! takes the next number *after* it has removed what it found, and raises the key's slot to it. So
//! an L1 entry whose number is not below its slot was read after every invalidation that the slot
//! has seen. Two keys that share a slot cost each other a lookup in L2, never a load, because L2 is
//! exact.

use crate::{
    fence::number::Number,
    sync::{AtomicU64, Ordering},
};

/// A node's count of invalidations.
#[derive(Debug, Default)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    /// Returns the number to note before reading. `SeqCst`: what is read next must not move ahead
    /// of it.
    pub(crate) fn current(&self) -> Number {
        Number(self.0.load(Ordering::SeqCst))
    }

    /// Takes the next number. A thread that sees it sees what was removed before it was taken.
    pub(crate) fn next(&self) -> Number {
        Number(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// For each slot, the highest number that an invalidation of one of its keys took.
#[derive(Debug)]
pub(crate) struct Slots(Box<[AtomicU64]>);

impl Slots {
    /// Makes slots that are all at zero. `count` is rounded up to a power of two.
    pub(crate) fn new(count: usize) -> Self {
        Self(
            (0..count.next_power_of_two())
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }

    /// Returns the number below which nothing is valid for a key of this hash.
    #[inline]
    pub(crate) fn floor(&self, hash: u64) -> Number {
        Number(self.slot(hash).load(Ordering::Acquire))
    }

    /// Returns the index of a hash's slot, for [`floor_at`](Self::floor_at).
    pub(crate) fn index(&self, hash: u64) -> u32 {
        // There are fewer slots than a `u32` can count: each takes eight bytes.
        self.place(hash) as u32
    }

    /// Returns the number below which nothing is valid for the keys of a slot.
    #[inline]
    pub(crate) fn floor_at(&self, index: u32) -> Number {
        let index = index as usize & (self.0.len() - 1);
        Number(self.0[index].load(Ordering::Acquire))
    }

    /// Raises the floor; a floor is never lowered.
    pub(crate) fn raise(&self, hash: u64, number: Number) {
        self.slot(hash).fetch_max(number.0, Ordering::SeqCst);
    }

    /// Raises every floor. Writes each slot: some 50 us for the usual 16,384.
    pub(crate) fn raise_all(&self, number: Number) {
        for slot in &self.0 {
            slot.fetch_max(number.0, Ordering::SeqCst);
        }
    }

    #[inline]
    fn slot(&self, hash: u64) -> &AtomicU64 {
        &self.0[self.place(hash)]
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        // The length is a power of two, so the mask keeps the index within it. The bits in the
        // middle: the lowest choose a bucket in L1, and a slot should not follow that choice.
        (hash >> 20) as usize & (self.0.len() - 1)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_never_lowered() {
        let slots = Slots::new(3);
        slots.raise(7, Number(5));
        slots.raise(7, Number(4));
        assert_eq!(slots.floor(7), Number(5));
        slots.raise_all(Number(6));
        assert_eq!(slots.floor(u64::MAX), Number(6));
        slots.raise_all(Number(2));
        assert_eq!(slots.floor(7), Number(6));
    }

    #[test]
    fn slots_are_chosen_by_the_hash() {
        let slots = Slots::new(4);
        slots.raise(1 << 20, Number(9));
        assert_eq!(slots.floor(1 << 20), Number(9));
        assert_eq!(
            slots.floor(5 << 20),
            Number(9),
            "four slots: 5 shares with 1"
        );

        for other in [0, 2, 3] {
            assert_eq!(slots.floor(other << 20), Number::ZERO);
        }
    }
}
