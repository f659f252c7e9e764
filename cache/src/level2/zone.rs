//! L2: what the node's workers share. Two zones over quick_cache, values and absences, each bounded
//! in bytes.
//!
//! This only stores. Flights and fences above it decide what may enter, and when. quick_cache's own
//! placeholders for running loads are not used, because its `retain`, `remove_if` and overweight
//! inserts leave them entitled to fill. Values that leave are returned, so that their `Drop` runs
//! when no lock is held.

use std::hash::BuildHasherDefault;

use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as Zone};

use crate::{
    answer::tag::Tag,
    fence::number::{Moment, Number},
    level2::{
        key::{IdentityHasher, KeyRef, StoredKey},
        stored::Stored,
    },
    sync::Arc,
    user_code,
};

/// What an entry weighs besides its key and its value: its place in the zone, a share of the zone's
/// spare room (its tables double when they grow, and it remembers keys that it evicted), and the
/// headers of its allocations.
pub(crate) const ENTRY_OVERHEAD: u64 = 288;
/// The same for an absence.
pub(crate) const ABSENCE_OVERHEAD: u64 = 240;

/// A shard smaller than this would refuse large values for little gain in concurrency.
const SMALLEST_SHARD: u64 = 4 << 20;

/// An entry of either zone. `V` is the value's pointer, or nothing for an absence.
#[derive(Clone)]
pub(crate) struct Held<V> {
    pub(crate) value: V,
    /// The sequence when its load began, or when it was set.
    pub(crate) number: Number,
    /// When its load began, or when it was set.
    pub(crate) read: Moment,
    pub(crate) expires: Moment,
    pub(crate) weight: u32,
    pub(crate) extra: Option<Arc<Extra>>,
}

/// The fields that few entries have.
#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) tags: Box<[Tag]>,
    /// When to load it again in the background.
    pub(crate) refresh_at: Moment,
    /// The end of its bound on staleness: no new expiry goes beyond it.
    pub(crate) until: Moment,
    /// Whether it was read at a position, so that the time of the read is unknown.
    pub(crate) positioned: bool,
}

/// When an entry was read, and when it expires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) read: Moment,
    pub(crate) expires: Moment,
}

pub(crate) type Present = Held<Arc<dyn Stored>>;
pub(crate) type Absent = Held<()>;
/// The entry of a key: a value, or an absence.
pub(crate) type Found = Held<Option<Arc<dyn Stored>>>;

/// Whether an entry is a value or an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    Absence,
}

impl<V> Held<V> {
    pub(crate) fn map<W>(self, map: impl FnOnce(V) -> W) -> Held<W> {
        Held {
            value: map(self.value),
            number: self.number,
            read: self.read,
            expires: self.expires,
            weight: self.weight,
            extra: self.extra,
        }
    }

    /// Returns the times of the entry. An entry that was read at a position may have been read at
    /// any earlier time.
    pub(crate) fn times(&self) -> Times {
        let read = match &self.extra {
            Some(extra) if extra.positioned => Moment::START,
            _ => self.read,
        };
        Times {
            read,
            expires: self.expires,
        }
    }

    pub(crate) fn tags(&self) -> &[Tag] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }

    pub(crate) fn refresh_at(&self) -> Moment {
        self.extra
            .as_ref()
            .map_or(Moment::NEVER, |extra| extra.refresh_at)
    }

    pub(crate) fn until(&self) -> Moment {
        self.extra
            .as_ref()
            .map_or(Moment::NEVER, |extra| extra.until)
    }
}

impl Found {
    /// Returns a value, or else an absence.
    fn split(mut self) -> Result<Present, Absent> {
        match self.value.take() {
            Some(value) => Ok(self.map(|_| value)),
            None => Err(self.map(|_| ())),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Weigh;

impl<V> Weighter<StoredKey, Held<V>> for Weigh {
    fn weight(&self, _: &StoredKey, held: &Held<V>) -> u64 {
        u64::from(held.weight)
    }
}

/// Collects the entries that leave a zone, to be dropped and removed from the tag index when no
/// lock of the zone is held.
#[derive(Clone, Debug)]
pub(crate) struct Collect;

impl<V> Lifecycle<StoredKey, Held<V>> for Collect {
    type RequestState = Vec<(StoredKey, Held<V>)>;

    fn on_evict(&self, state: &mut Self::RequestState, key: StoredKey, held: Held<V>) {
        state.push((key, held));
    }
}

type Map<V> = Zone<StoredKey, Held<V>, Weigh, BuildHasherDefault<IdentityHasher>, Collect>;

/// The two zones.
pub(crate) struct Level2 {
    pub(crate) present: Map<Arc<dyn Stored>>,
    pub(crate) absent: Map<()>,
    heaviest: u64,
    heaviest_absence: u64,
}

/// The entries that left the zones.
#[derive(Default)]
pub(crate) struct Removed {
    pub(crate) present: Vec<(StoredKey, Present)>,
    pub(crate) absent: Vec<(StoredKey, Absent)>,
    /// An entry that did not get into its zone, and only waits to be dropped without a lock.
    pub(crate) refused: Option<Found>,
}

impl Removed {
    /// Holds an entry that did not get into its zone.
    pub(crate) fn refused(held: Found) -> Self {
        let mut removed = Self::default();
        removed.refused = Some(held);
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.present.len() + self.absent.len()
    }

    pub(crate) fn extend(&mut self, mut other: Self) {
        self.present.append(&mut other.present);
        self.absent.append(&mut other.absent);
        if self.refused.is_none() {
            self.refused = other.refused.take();
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &StoredKey> {
        let present = self.present.iter().map(|(key, _)| key);
        present.chain(self.absent.iter().map(|(key, _)| key))
    }

    /// Returns the keys that carried tags, with their tags.
    pub(crate) fn tagged(&self) -> impl Iterator<Item = (&StoredKey, &[Tag])> {
        let present = self.present.iter().map(|(key, held)| (key, held.tags()));
        let absent = self.absent.iter().map(|(key, held)| (key, held.tags()));
        present.chain(absent).filter(|(_, tags)| !tags.is_empty())
    }
}

impl Drop for Removed {
    // Dropping a value runs user code: each by itself, and never with a lock held.
    fn drop(&mut self) {
        user_code::drop_each(std::mem::take(&mut self.present));
        user_code::drop_each(std::mem::take(&mut self.absent));
        user_code::drop_each(self.refused.take());
    }
}

impl Level2 {
    /// Makes empty zones. `absences` bytes of the `capacity` are for absences.
    pub(crate) fn new(capacity: u64, absences: u64) -> Self {
        let values = capacity.saturating_sub(absences);
        let present = zone(values, ENTRY_OVERHEAD + 256);
        let absent = zone(absences, ABSENCE_OVERHEAD + 64);

        // quick_cache admits what fits into the hot part of a shard, 97 % of it by default. Weights
        // are kept as u32.
        let hot_part = |shard: u64| (shard / 100 * 97).min(u64::from(u32::MAX));

        Self {
            heaviest: hot_part(present.shard_capacity()),
            heaviest_absence: hot_part(absent.shard_capacity()),
            present,
            absent,
        }
    }

    /// Returns the weight above which an entry of this kind is served but not kept.
    pub(crate) fn heaviest(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Value => self.heaviest,
            Kind::Absence => self.heaviest_absence,
        }
    }

    /// Returns the entry of a key, a value or an absence, and counts a hit. It looks for a value
    /// first: a fill that replaces one kind by the other inserts before it removes.
    pub(crate) fn get(&self, key: &KeyRef<'_>) -> Option<Found> {
        match self.present.get(key) {
            Some(held) => Some(held.map(Some)),
            None => self.absent.get(key).map(|held| held.map(|()| None)),
        }
    }

    /// Runs a closure on the times and tags of a key's entry, without counting a hit and without
    /// sharing the value. Nothing can be dropped here, so any lock may be held.
    pub(crate) fn inspect<R>(
        &self,
        key: &KeyRef<'_>,
        ask: impl Fn(&Times, &[Tag]) -> R,
    ) -> Option<R> {
        let mut answer = None;
        // A `remove_if` that removes nothing: the only call that lends an entry and does not clone
        // it.
        self.present.remove_if(key, |held| {
            answer = Some(ask(&held.times(), held.tags()));
            false
        });

        if answer.is_none() {
            self.absent.remove_if(key, |held| {
                answer = Some(ask(&held.times(), held.tags()));
                false
            });
        }

        answer
    }

    /// Returns the entry of a key, without counting a hit.
    pub(crate) fn find(&self, key: &KeyRef<'_>) -> Option<Found> {
        match self.present.peek(key) {
            Some(held) => Some(held.map(Some)),
            None => self.absent.peek(key).map(|held| held.map(|()| None)),
        }
    }

    /// Puts an entry into its zone. Returns what left.
    pub(crate) fn put(&self, key: StoredKey, held: Found) -> Removed {
        match held.split() {
            Ok(present) => self.insert(key, present),
            Err(absent) => self.insert_absent(key, absent),
        }
    }

    /// Puts a value in, and removes the key's absence. Returns what left, including the key's
    /// former entry.
    fn insert(&self, key: StoredKey, held: Present) -> Removed {
        let mut removed = Removed::default();
        let copy = key.clone();
        self.present
            .insert_with_lifecycle(key, held, &mut removed.present);
        // After the insert: a reader that looks in the zones in the same order finds one or the
        // other.
        removed.absent.extend(self.absent.remove(&copy.key_ref()));
        removed
    }

    /// Puts an absence in, and removes the key's value.
    fn insert_absent(&self, key: StoredKey, held: Absent) -> Removed {
        let mut removed = Removed::default();
        let copy = key.clone();
        self.absent
            .insert_with_lifecycle(key, held, &mut removed.absent);
        removed.present.extend(self.present.remove(&copy.key_ref()));
        removed
    }

    /// Replaces the value of a key, if it still has one, in one step: an invalidation that removes
    /// the old value at the same time is not undone. Returns what left: the former entry, or this
    /// one.
    pub(crate) fn exchange(&self, key: StoredKey, held: Present) -> Removed {
        let mut removed = Removed::default();

        let refused = self
            .present
            .replace_with_lifecycle(key, held, true, &mut removed.present);
        removed.refused = refused.err().map(|(_, held)| held.map(Some));

        removed
    }

    /// Removes the entry of a key from either zone, if its number is below `below`.
    pub(crate) fn remove(&self, key: &KeyRef<'_>, below: Number, removed: &mut Removed) {
        let present = self.present.remove_if(key, |held| held.number < below);
        removed.present.extend(present);
        let absent = self.absent.remove_if(key, |held| held.number < below);
        removed.absent.extend(absent);
    }

    /// Returns how many entries a cache has. Costs a read of each entry's key.
    pub(crate) fn count(&self, cache: u32) -> usize {
        let count = std::cell::Cell::new(0);
        self.present.retain(|key, _| {
            count.set(count.get() + usize::from(key.cache() == cache));
            true
        });
        self.absent.retain(|key, _| {
            count.set(count.get() + usize::from(key.cache() == cache));
            true
        });

        count.get()
    }

    /// Removes from both zones the entries for which `leaves` returns true.
    pub(crate) fn sift(&self, leaves: impl Fn(&StoredKey, Number, Moment) -> bool) -> Removed {
        let mut removed = Removed::default();
        sift(&self.present, &leaves, &mut removed.present);
        sift(&self.absent, &leaves, &mut removed.absent);
        removed
    }
}

/// Removes the entries for which `leaves` returns true. `retain` would drop values under the zone's
/// lock, so clones of the entries that leave are kept until it is done.
fn sift<V: Clone>(
    zone: &Map<V>,
    leaves: impl Fn(&StoredKey, Number, Moment) -> bool,
    removed: &mut Vec<(StoredKey, Held<V>)>,
) {
    let gone = std::cell::RefCell::new(std::mem::take(removed));
    zone.retain(|key, held| {
        let leaves = leaves(key, held.number, held.expires);
        if leaves {
            gone.borrow_mut().push((key.clone(), held.clone()));
        }
        !leaves
    });
    *removed = gone.into_inner();
}

fn zone<V: Clone>(capacity: u64, typical: u64) -> Map<V> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let shards = (capacity / SMALLEST_SHARD)
        .clamp(1, cores * 4)
        .next_power_of_two();
    let options = OptionsBuilder::new()
        .shards(shards as usize)
        .estimated_items_capacity((capacity / typical).max(1) as usize)
        .weight_capacity(capacity)
        .build()
        .expect("both capacities are set, which is all that build asks for");
    Zone::with_options(options, Weigh, BuildHasherDefault::default(), Collect)
}

impl std::fmt::Debug for Level2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Level2")
            .field("values", &self.present.len())
            .field("absences", &self.absent.len())
            .finish_non_exhaustive()
    }
}
