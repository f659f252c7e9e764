//! Tags: names of groups of entries that are invalidated together.
//!
//! The index knows which keys of L2 carry a tag, and for each tag the number that its last
//! invalidation took. A fill is refused if a tag of its value was invalidated after its load began;
//! that check and the insert into the index happen under one lock, which `invalidate_tag` takes
//! too. The numbers of tags that nothing carries are bounded, and the oldest is forgotten first:
//! forgotten tags share one number, which errs on the side of refusing a fill.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    answer::tag::Tag,
    fence::number::Number,
    level2::{key::StoredKey, zone::Level2},
    sync::{Mutex, MutexGuard},
};

/// How many tags without members have their number remembered.
const REMEMBERED: usize = 65_536;

/// A map with room for more tags than this is shrunk when most of it is empty.
const KEPT_ROOM: usize = 64;

/// The tags of one cache.
#[derive(Debug)]
pub(crate) struct Tags {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    tags: HashMap<Tag, State>,
    /// The tags of the map that have no members, by the number of their last invalidation: the
    /// oldest is forgotten first.
    idle: BTreeSet<(Number, Tag)>,
    /// The highest number of a tag that is no longer in the map.
    forgotten: Number,
    /// The highest number of any tag: a load that failed never reports its tags.
    latest: Number,
    /// How many tags may be idle.
    bound: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last invalidation: loads that began before it may not fill.
    number: Number,
    /// Handlers of this cause, and of earlier ones, have nothing left to do.
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

    /// Removes a key that left L2 from the index, unless it is in L2 again: entries with a tag get
    /// into L2 under this lock.
    pub(crate) fn forget(&self, key: &StoredKey, tags: &[Tag], level2: &Level2) {
        let mut index = self.lock();
        for tag in tags {
            let holds = level2.inspect(&key.key_ref(), |_, tags| tags.contains(tag));
            if !holds.unwrap_or(false) {
                index.remove(tag, key);
            }
        }
    }
}

impl Index {
    /// Returns the highest number that an invalidation of one of the tags took.
    pub(crate) fn newest(&self, tags: &[Tag]) -> Number {
        let number = |tag| {
            self.tags
                .get(tag)
                .map_or(self.forgotten, |state| state.number)
        };
        tags.iter().map(number).max().unwrap_or_default()
    }

    pub(crate) fn enter(&mut self, key: &StoredKey, tags: &[Tag]) {
        let forgotten = self.forgotten;
        for tag in tags {
            let state = self.tags.entry(Tag::clone(tag)).or_insert_with(|| State {
                number: forgotten,
                ..State::default()
            });
            if state.members.is_empty() {
                self.idle.remove(&(state.number, Tag::clone(tag)));
            }
            state.members.insert(key.clone());
        }
    }

    fn remove(&mut self, tag: &Tag, key: &StoredKey) {
        let Some(state) = self.tags.get_mut(tag) else {
            return;
        };
        if !state.members.remove(key) {
            return;
        }

        let (len, capacity) = (state.members.len(), state.members.capacity());
        if capacity > KEPT_ROOM && len * 8 < capacity {
            state.members.shrink_to(len * 2);
        }
        if state.members.is_empty() {
            self.make_idle(tag);
        }
    }

    /// Frees the set of a tag that has no members any more. Only its number is remembered, as long
    /// as there is room.
    fn make_idle(&mut self, tag: &Tag) {
        let Some(state) = self.tags.get_mut(tag) else {
            return;
        };
        state.members = HashSet::new();

        // At or below the number of the forgotten tags, its own number adds nothing.
        if state.number <= self.forgotten && state.done == Number::ZERO {
            self.tags.remove(tag);
        } else {
            self.idle.insert((state.number, Tag::clone(tag)));
        }

        while self.idle.len() > self.bound {
            if let Some((number, tag)) = self.idle.pop_first() {
                self.forgotten = self.forgotten.max(number);
                self.tags.remove(&tag);
            }
        }

        let (len, capacity) = (self.tags.len(), self.tags.capacity());
        if capacity > KEPT_ROOM && len * 8 < capacity {
            self.tags.shrink_to(len * 2);
        }
    }

    /// Notes an invalidation of a tag; returns the keys that carry it.
    pub(crate) fn invalidated(&mut self, tag: &Tag, number: Number) -> Vec<StoredKey> {
        self.latest = self.latest.max(number);

        let forgotten = self.forgotten;
        let state = self.tags.entry(Tag::clone(tag)).or_default();
        let idle = state.members.is_empty();
        if idle {
            self.idle.remove(&(state.number, Tag::clone(tag)));
        }
        state.number = state.number.max(number).max(forgotten);

        let members = state.members.iter().cloned().collect();
        if idle {
            self.make_idle(tag);
        }
        members
    }

    /// Returns the number of the last invalidation of any tag.
    pub(crate) fn latest(&self) -> Number {
        self.latest
    }

    /// Notes that a key left L2 because of its tag.
    pub(crate) fn left(&mut self, key: &StoredKey, tags: &[Tag]) {
        for tag in tags {
            self.remove(tag, key);
        }
    }

    pub(crate) fn is_done(&self, tag: &Tag, cause: Number) -> bool {
        self.tags.get(tag).is_some_and(|state| state.done >= cause)
    }

    /// Remembers that everything older than this cause was evicted, in both levels.
    pub(crate) fn done(&mut self, tag: &Tag, cause: Number) {
        if let Some(state) = self.tags.get_mut(tag) {
            state.done = state.done.max(cause);
        }
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
        let tags = Tags::bounded(1);
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
