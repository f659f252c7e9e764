//! [`Numbers`]: which evictions were made before their records arrived, and under which number.
//!
//! An eviction is remembered by (mark, key) when it was made at an acknowledged commit or by an
//! authentic wake-up. When the record arrives, what was reloaded since then stays. An eviction that
//! was made in doubt is *not* remembered: the commit may lie ahead, and what was loaded in between
//! would stay too.
//!
//! The table is of one epoch, since a later one may hand its marks out again. (So may a log whose
//! loss was not noticed yet, in the same epoch; the ids of the marks tell them apart.) It is
//! bounded: a forgotten eviction costs one more load, never a stale read.

use std::collections::{BTreeMap, VecDeque};

use tidings_core::{
    CacheKey,
    log::{Cursor, Epoch, Mark},
};
use uuid::Uuid;

use crate::faults::{Rule, removed};

#[derive(Debug)]
pub(crate) struct Numbers {
    epoch: Option<Epoch>,
    by_mark: BTreeMap<Commit, Vec<(CacheKey, u64)>>,
    /// The marks in the order in which they came, for forgetting the oldest.
    order: VecDeque<Commit>,
    /// How many evictions are remembered: at most `capacity`.
    len: usize,
    capacity: usize,
}

/// Names a commit of the epoch: by its number, and by its record's id, since another commit may
/// have had the number, which the log has lost.
type Commit = (u64, Option<Uuid>);

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
        let keys = self.by_mark.get(&commit(mark))?;
        keys.iter()
            .find_map(|(known, number)| (known == key).then_some(*number))
    }

    /// Remembers evictions of one commit under one number.
    pub(crate) fn remember(&mut self, mark: Mark, keys: &[CacheKey], number: u64) {
        if self.epoch != Some(mark.epoch()) {
            self.clear();
            self.epoch = Some(mark.epoch());
        }

        let commit = commit(mark);
        let of_mark = self.by_mark.entry(commit).or_insert_with(|| {
            self.order.push_back(commit);
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

    /// Forgets the commits that a cursor covers: it shows that whatever comes for them is late.
    /// Commits that the log has lost are kept: a repeated wake-up for one would evict again.
    pub(crate) fn passed(&mut self, cursor: &Cursor, is_lost: impl Fn(Mark) -> bool) {
        let Some(epoch) = self.epoch else {
            return;
        };

        let mut order = std::mem::take(&mut self.order);
        order.retain(|&(number, id)| {
            let mark = Mark::new(epoch, number);
            let lost = id.is_some_and(|id| is_lost(mark.with_id(id)));
            let open = lost || !cursor.covers(mark);
            if !open {
                self.forget((number, id));
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

    fn forget(&mut self, commit: Commit) {
        if let Some(keys) = self.by_mark.remove(&commit) {
            self.len -= keys.len();
        }
    }
}

fn commit(mark: Mark) -> Commit {
    let id = mark.id().filter(|_| !removed(Rule::HistoryIsChecked));
    (mark.number(), id)
}

#[cfg(test)]
mod tests {
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
    fn a_commit_that_has_the_number_of_a_lost_one_was_not_evicted_for() {
        let mut numbers = Numbers::new(10);
        let of = |id| mark(1, 7).with_id(Uuid::from_u128(id));
        numbers.remember(of(1), &[key("a")], 3);
        assert_eq!(numbers.number(of(2), &key("a")), None);
        numbers.remember(of(2), &[key("a")], 4);
        assert_eq!(numbers.number(of(2), &key("a")), Some(4));
        assert_eq!(
            numbers.number(of(1), &key("a")),
            Some(3),
            "its wake-up is late"
        );
        let cursor = Cursor::counted(mark(1, 0).epoch(), 7);
        numbers.passed(&cursor, |mark| mark == of(1));
        assert_eq!(
            numbers.number(of(1), &key("a")),
            Some(3),
            "its wake-up is repeated"
        );
        numbers.passed(&cursor, |_| false);
        assert_eq!((numbers.len, numbers.order.len()), (0, 0));
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
        numbers.passed(&Cursor::counted(mark(1, 0).epoch(), 2), |_| false);
        assert_eq!(numbers.number(mark(1, 2), &key("a")), None);
        assert_eq!(numbers.number(mark(1, 3), &key("a")), Some(3));
        assert_eq!((numbers.len, numbers.order.len()), (1, 1));
    }
}
