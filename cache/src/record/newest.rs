//! [`Newest`]: the newest records, as many as two bounds allow.
//!
//! One bound is on the number of records, the other on the bytes that they refer to, so that
//! neither takes the room of the other. What adjacent records share is counted once.

use std::{
    collections::{VecDeque, vec_deque},
    sync::Arc,
};

use super::reason::Reason;

/// A record, with the bytes that it refers to.
pub(super) trait Weighed {
    /// Returns its reason.
    fn reason(&self) -> Option<&Arc<Reason>>;

    /// Returns the bytes of text that only this record holds.
    fn text(&self) -> usize;
}

/// Records, oldest first.
#[derive(Debug)]
pub(super) struct Newest<T> {
    records: VecDeque<T>,
    /// The largest number of records.
    most: usize,
    /// The bytes that they refer to, and the most that they may.
    behind: usize,
    room: usize,
}

impl<T: Weighed> Newest<T> {
    /// Makes an empty list with these bounds. Nothing is allocated yet.
    pub(super) fn new(most: usize, room: usize) -> Self {
        Self {
            records: VecDeque::new(),
            most: most.max(1),
            behind: 0,
            room,
        }
    }

    /// Adds a record, unless it alone exceeds the bound. Returns a record that left, and whether
    /// [more must leave](Self::shorten).
    pub(super) fn push(&mut self, new: T) -> (Option<T>, bool) {
        if held_by(&new, None) > self.room {
            return (Some(new), false);
        }
        let gone = match self.records.len() >= self.most {
            true => self.pop(),
            false => None,
        };

        // Grown by hand, within the bound: a queue that grows by itself doubles.
        if self.records.len() == self.records.capacity() {
            let more = self.records.len().clamp(4, 64);
            let left = self.most - self.records.len();
            self.records.reserve_exact(more.min(left).max(1));
        }

        self.behind += held_by(&new, self.records.back());
        self.records.push_back(new);
        (gone, self.behind > self.room)
    }

    /// Removes the oldest record if the records exceed the bound. Returns it, and whether more must
    /// leave.
    pub(super) fn shorten(&mut self) -> (Option<T>, bool) {
        let gone = match self.behind > self.room {
            true => self.pop(),
            false => None,
        };
        (gone, self.behind > self.room)
    }

    fn pop(&mut self) -> Option<T> {
        let gone = self.records.pop_front()?;
        self.behind -= held_by(&gone, self.records.front());
        Some(gone)
    }

    /// Returns the records, oldest first.
    pub(super) fn iter(&self) -> vec_deque::Iter<'_, T> {
        self.records.iter()
    }

    pub(super) fn iter_mut(&mut self) -> vec_deque::IterMut<'_, T> {
        self.records.iter_mut()
    }

    /// Returns the bytes that are allocated for the records, with what they refer to.
    pub(super) fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<T>() + self.behind
    }
}

/// Returns the bytes that a record refers to and its neighbour does not.
fn held_by<T: Weighed>(record: &T, neighbour: Option<&T>) -> usize {
    let others = neighbour.and_then(Weighed::reason);
    let own = record
        .reason()
        .filter(|own| !others.is_some_and(|other| Arc::ptr_eq(own, other)));
    record.text() + own.map_or(0, |reason| reason.weight())
}
