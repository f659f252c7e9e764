//! [`Numbers`]: which evictions were made before their records arrived, and under which number.
//!
//! An eviction is remembered by (mark, key) when it was made at an acknowledged commit or by an
//! authentic wake-up. When the record arrives, what was reloaded since then stays. An eviction that
//! was made in doubt is *not* remembered: the commit may lie ahead, and what was loaded in between
//! would stay too.
//!
//! The table is of one epoch, since a later one may hand its marks out again, and is bounded: an
//! eviction that was forgotten costs one more load, never a stale read.

use std::collections::{BTreeMap, VecDeque};

use tidings_core::{
    CacheKey,
    log::{Cursor, Epoch, Mark},
};

use crate::faults::{Rule, removed};

#[derive(Debug)]
pub(crate) struct Numbers {
    epoch: Option<Epoch>,
    by_mark: BTreeMap<u64, Vec<(CacheKey, u64)>>,
    /// The marks in the order in which they came, for forgetting the oldest.
    order: VecDeque<u64>,
    /// How many evictions are remembered: at most `capacity`.
    len: usize,
    capacity: usize,
}

impl Numbers {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            epoch: None,
            by_mark: BTreeMap::new(),
            order: VecDeque::new(),
            len: 0,
            capacity,
        }
    }

    /// Returns the number under which a key was evicted for a commit.
    pub(crate) fn number(&self, mark: Mark, key: &CacheKey) -> Option<u64> {
        if self.epoch != Some(mark.epoch()) && !removed(Rule::NumbersEndWithEpoch) {
            return None;
        }
        let keys = self.by_mark.get(&mark.number())?;
        keys.iter()
            .find_map(|(known, number)| (known == key).then_some(*number))
    }

    /// Remembers evictions of one commit under one number.
    pub(crate) fn remember(&mut self, mark: Mark, keys: &[CacheKey], number: u64) {
        if self.epoch != Some(mark.epoch()) {
            self.clear();
            self.epoch = Some(mark.epoch());
        }
        let of_mark = self.by_mark.entry(mark.number()).or_insert_with(|| {
            self.order.push_back(mark.number());
            Vec::new()
        });
        for key in keys {
            if of_mark.iter().all(|(known, _)| known != key) {
                of_mark.push((key.clone(), number));
                self.len += 1;
            }
        }

        while self.len > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// Forgets the commits that a cursor covers: whatever comes for them is known to be late by
    /// that.
    pub(crate) fn passed(&mut self, cursor: &Cursor) {
        let Some(epoch) = self.epoch else {
            return;
        };
        let mut order = std::mem::take(&mut self.order);
        order.retain(|number| {
            let open = !cursor.covers(Mark::new(epoch, *number));
            if !open {
                self.forget(*number);
            }
            open
        });
        self.order = order;
    }

    /// Forgets everything, at a gap.
    pub(crate) fn clear(&mut self) {
        if removed(Rule::NumbersEndWithEpoch) {
            return;
        }
        self.epoch = None;
        self.by_mark.clear();
        self.order.clear();
        self.len = 0;
    }

    fn forget(&mut self, number: u64) {
        if let Some(keys) = self.by_mark.remove(&number) {
            self.len -= keys.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn mark(epoch: u64, number: u64) -> Mark {
        Mark::new(Epoch::new(epoch, Uuid::from_u128(epoch.into())), number)
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::new("k", &[name])
    }

    #[test]
    fn a_later_epoch_forgets_the_marks_of_the_one_before() {
        let mut numbers = Numbers::new(10);
        numbers.remember(mark(1, 7), &[key("a")], 3);
        assert_eq!(numbers.number(mark(1, 7), &key("a")), Some(3));
        assert_eq!(numbers.number(mark(2, 7), &key("a")), None);
        numbers.remember(mark(2, 8), &[key("b")], 4);
        assert_eq!(numbers.number(mark(1, 7), &key("a")), None);
    }

    #[test]
    fn the_first_number_of_a_commit_stays() {
        let mut numbers = Numbers::new(10);
        numbers.remember(mark(1, 7), &[key("a")], 3);
        numbers.remember(mark(1, 7), &[key("a"), key("b")], 5);
        assert_eq!(numbers.number(mark(1, 7), &key("a")), Some(3));
        assert_eq!(numbers.number(mark(1, 7), &key("b")), Some(5));
    }

    #[test]
    fn what_the_cursor_covers_is_forgotten_and_so_is_the_oldest_beyond_the_capacity() {
        let mut numbers = Numbers::new(2);
        for number in 1..=3 {
            numbers.remember(mark(1, number), &[key("a")], number);
        }
        assert_eq!(numbers.number(mark(1, 1), &key("a")), None);
        assert_eq!(numbers.number(mark(1, 2), &key("a")), Some(2));
        numbers.passed(&Cursor::counted(mark(1, 0).epoch(), 2));
        assert_eq!(numbers.number(mark(1, 2), &key("a")), None);
        assert_eq!(numbers.number(mark(1, 3), &key("a")), Some(3));
        assert_eq!((numbers.len, numbers.order.len()), (1, 1));
    }
}
