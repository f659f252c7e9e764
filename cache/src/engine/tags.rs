//! Tags: names of groups of entries that are invalidated together.
//!
//! The index knows which keys of L2 carry a tag, and for each tag the number that its last invalidation took. A fill is
//! refused if a tag of its value was invalidated after its load began; that check, and the entry into the index, happen
//! under one lock, which `invalidate_tag` takes too. The map of numbers is bounded: one number stands for all that it
//! forgot, which can only refuse more fills, never fewer.

use std::collections::{HashMap, HashSet};

use crate::{
    answer::tag::Tag,
    fence::number::Number,
    level2::{key::StoredKey, zone::Level2},
    sync::{Mutex, MutexGuard},
};

/// How many tags without members are remembered by their number.
const REMEMBERED: usize = 65_536;

/// The tags of one cache.
#[derive(Debug)]
pub(crate) struct Tags {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    tags: HashMap<Tag, State>,
    /// The highest number of a tag that is no longer in the map.
    forgotten: Number,
    /// The highest number of any tag: a load that failed never tells its tags.
    latest: Number,
    bound: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last invalidation: loads that began before it may not fill.
    number: Number,
    /// Up to this cause, handlers have nothing left to do.
    done: Number,
    members: HashSet<StoredKey>,
}

impl Tags {
    pub(crate) fn new() -> Self {
        Self::bounded(REMEMBERED)
    }

    fn bounded(bound: usize) -> Self {
        let index = Index {
            bound,
            ..Index::default()
        };
        Self {
            index: Mutex::new(index),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    pub(crate) fn mutex(&self) -> &Mutex<Index> {
        &self.index
    }

    /// Takes a key that left L2 out of the index, unless it has come back: what is in L2 with a tag got there under
    /// this lock.
    pub(crate) fn forget(&self, key: &StoredKey, tags: &[Tag], level2: &Level2) {
        let mut index = self.lock();
        for tag in tags {
            if !holds(level2, key, tag) {
                index.remove(tag, key);
            }
        }
    }
}

/// Returns whether L2 holds the key with this tag, in either zone.
fn holds(level2: &Level2, key: &StoredKey, tag: &Tag) -> bool {
    let in_values = level2.present.peek(&key.name());
    let in_absences = level2.absent.peek(&key.name());
    in_values.is_some_and(|held| held.tags().contains(tag))
        || in_absences.is_some_and(|held| held.tags().contains(tag))
}

impl Index {
    /// The highest number that an invalidation of one of the tags took.
    pub(crate) fn newest(&self, tags: &[Tag]) -> Number {
        tags.iter()
            .map(|tag| {
                self.tags
                    .get(tag)
                    .map_or(self.forgotten, |state| state.number)
            })
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn enter(&mut self, key: &StoredKey, tags: &[Tag]) {
        let forgotten = self.forgotten;
        for tag in tags {
            self.tags
                .entry(Tag::clone(tag))
                .or_insert_with(|| State {
                    number: forgotten,
                    ..State::default()
                })
                .members
                .insert(key.clone());
        }
    }

    fn remove(&mut self, tag: &Tag, key: &StoredKey) {
        let Some(state) = self.tags.get_mut(tag) else {
            return;
        };
        state.members.remove(key);
        if state.members.is_empty() {
            state.members = HashSet::new();
            // At or below what stands for the forgotten, its number says nothing more.
            if state.number <= self.forgotten && state.done == Number::ZERO {
                self.tags.remove(tag);
            }
        }
    }

    /// Notes an invalidation of a tag; gives the keys that carry it.
    pub(crate) fn invalidated(&mut self, tag: &Tag, number: Number) -> Vec<StoredKey> {
        if self.tags.len() >= self.bound && !self.tags.contains_key(tag) {
            self.forget_numbers();
        }
        self.latest = self.latest.max(number);
        let forgotten = self.forgotten;
        let state = self.tags.entry(Tag::clone(tag)).or_default();
        state.number = state.number.max(number).max(forgotten);
        state.members.iter().cloned().collect()
    }

    /// The number of the last invalidation of any tag.
    pub(crate) fn latest(&self) -> Number {
        self.latest
    }

    /// A key left L2 because of its tag.
    pub(crate) fn left(&mut self, key: &StoredKey, tags: &[Tag]) {
        for tag in tags {
            self.remove(tag, key);
        }
    }

    pub(crate) fn is_done(&self, tag: &Tag, cause: Number) -> bool {
        self.tags.get(tag).is_some_and(|state| state.done >= cause)
    }

    /// Whatever was older than this cause is gone, everywhere.
    pub(crate) fn done(&mut self, tag: &Tag, cause: Number) {
        if let Some(state) = self.tags.get_mut(tag) {
            state.done = state.done.max(cause);
        }
    }

    /// Drops the tags that have no members; one number stands for theirs.
    fn forget_numbers(&mut self) {
        let forgotten = &mut self.forgotten;
        self.tags.retain(|_, state| {
            if state.members.is_empty() {
                *forgotten = (*forgotten).max(state.number);
            }
            !state.members.is_empty()
        });
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use tidings_core::CacheKey;

    use super::*;

    fn key(text: &str) -> StoredKey {
        StoredKey::new(0, &CacheKey::from_text(text))
    }

    #[test]
    fn one_number_stands_for_all_tags_that_were_forgotten() {
        let tags = Tags::bounded(2);
        let mut index = tags.lock();
        let (a, b, c): (Tag, Tag, Tag) = ("a".into(), "b".into(), "c".into());
        index.enter(&key("k"), std::slice::from_ref(&a));
        assert_eq!(index.newest(std::slice::from_ref(&b)), Number::ZERO);
        index.invalidated(&b, Number(7));
        assert_eq!(index.invalidated(&c, Number(9)), []);
        assert_eq!(
            index.newest(std::slice::from_ref(&b)),
            Number(7),
            "forgotten, not unknown"
        );
        assert_eq!(index.newest(&["never".into()]), Number(7));
        assert_eq!(index.newest(std::slice::from_ref(&c)), Number(9));
        assert_eq!(index.newest(&[a.clone(), c]), Number(9));
        assert_eq!(
            index.invalidated(&a, Number(10)),
            [key("k")],
            "a tag with members is never forgotten"
        );
    }

    #[test]
    fn a_tag_of_nothing_takes_no_room() {
        let tags = Tags::new();
        let mut index = tags.lock();
        let tag: Tag = "a".into();
        index.enter(&key("k"), std::slice::from_ref(&tag));
        index.left(&key("k"), std::slice::from_ref(&tag));
        assert!(index.tags.is_empty());
    }
}
