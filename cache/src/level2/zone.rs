//! L2: what the node's workers share. Two zones over quick_cache, values and absences, each bounded in bytes.
//!
//! This only stores. What may enter, and when, is decided by flights and fences above it; quick_cache's own placeholders
//! for running loads are not used, because its `retain`, `remove_if` and overweight inserts leave them entitled to fill.
//! Values that leave are handed back, so that their `Drop` runs when no lock is held.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter, sync::Cache as Zone};
use tidings_core::CacheKey;

use crate::{engine::tags::Tag, level2::stored::Stored, sync::Arc};

/// What an entry weighs besides its key and its value: its place in the zone, a share of the zone's spare room (its
/// tables double when they grow, and it remembers keys that it evicted), and the headers of its allocations.
pub(crate) const ENTRY_OVERHEAD: u64 = 288;
/// The same for an absence.
pub(crate) const ABSENCE_OVERHEAD: u64 = 240;

/// A shard smaller than this would refuse large values for little gain in concurrency.
const SMALLEST_SHARD: u64 = 4 << 20;

/// A time on the node's clock, in nanoseconds. `NEVER` is never reached.
pub(crate) const NEVER: u64 = u64::MAX;

/// A key as L2 holds it: its text without the room that an inline key keeps.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    hash: u64,
    cache: u32,
    text: Box<[u8]>,
}

impl StoredKey {
    pub(crate) fn new(cache: u32, key: &CacheKey) -> Self {
        Self {
            hash: mixed(cache, key),
            cache,
            text: key.as_bytes().into(),
        }
    }

    pub(crate) fn cache(&self) -> u32 {
        self.cache
    }

    pub(crate) fn name(&self) -> Name<'_> {
        Name {
            hash: self.hash,
            cache: self.cache,
            text: &self.text,
        }
    }
}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for StoredKey {}

/// A key to look up with, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    hash: u64,
    cache: u32,
    text: &'a [u8],
}

impl<'a> Name<'a> {
    pub(crate) fn new(cache: u32, key: &'a CacheKey) -> Self {
        Self {
            hash: mixed(cache, key),
            cache,
            text: key.as_bytes(),
        }
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<StoredKey> for Name<'_> {
    fn equivalent(&self, key: &StoredKey) -> bool {
        *self == key.name()
    }
}

/// Named caches share the zones; the same key in two of them hashes apart.
fn mixed(cache: u32, key: &CacheKey) -> u64 {
    key.hash_value() ^ u64::from(cache).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Passes on the hash that a key carries.
#[derive(Debug, Default)]
pub(crate) struct Carried(u64);

impl Hasher for Carried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write their hash as one u64; nothing else is hashed.
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// An entry of either zone. `V` is the value's pointer, or nothing for an absence.
#[derive(Clone)]
pub(crate) struct Held<V> {
    pub(crate) value: V,
    /// The sequence when its load began, or when it was set.
    pub(crate) number: u64,
    pub(crate) born: u64,
    pub(crate) expires: u64,
    pub(crate) weight: u32,
    pub(crate) extra: Option<Arc<Extra>>,
}

/// What few entries have.
#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) tags: Box<[Tag]>,
    /// When to load anew in the background.
    pub(crate) refresh_at: u64,
    /// The bound on its staleness: no new time goes beyond it.
    pub(crate) until: u64,
}

pub(crate) type Present = Held<Arc<dyn Stored>>;
pub(crate) type Absent = Held<()>;

impl<V> Held<V> {
    pub(crate) fn map<W>(self, map: impl FnOnce(V) -> W) -> Held<W> {
        Held {
            value: map(self.value),
            number: self.number,
            born: self.born,
            expires: self.expires,
            weight: self.weight,
            extra: self.extra,
        }
    }

    pub(crate) fn tags(&self) -> &[Tag] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }

    pub(crate) fn refresh_at(&self) -> u64 {
        self.extra.as_ref().map_or(NEVER, |extra| extra.refresh_at)
    }

    pub(crate) fn until(&self) -> u64 {
        self.extra.as_ref().map_or(NEVER, |extra| extra.until)
    }
}

impl Held<Option<Arc<dyn Stored>>> {
    /// A value, or else an absence.
    pub(crate) fn split(mut self) -> Result<Present, Absent> {
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

/// Collects what leaves a zone, to be dropped and taken from the tag index when no lock of the zone is held.
#[derive(Clone, Debug)]
pub(crate) struct Collect;

impl<V> Lifecycle<StoredKey, Held<V>> for Collect {
    type RequestState = Vec<(StoredKey, Held<V>)>;

    fn on_evict(&self, state: &mut Self::RequestState, key: StoredKey, held: Held<V>) {
        state.push((key, held));
    }
}

type Map<V> = Zone<StoredKey, Held<V>, Weigh, BuildHasherDefault<Carried>, Collect>;

/// The two zones.
pub(crate) struct Level2 {
    pub(crate) present: Map<Arc<dyn Stored>>,
    pub(crate) absent: Map<()>,
    heaviest: u64,
    heaviest_absence: u64,
}

/// Which zones gave something up, and what it was.
#[derive(Default)]
pub(crate) struct Removed {
    pub(crate) present: Vec<(StoredKey, Present)>,
    pub(crate) absent: Vec<(StoredKey, Absent)>,
}

impl Removed {
    pub(crate) fn len(&self) -> usize {
        self.present.len() + self.absent.len()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.present.extend(other.present);
        self.absent.extend(other.absent);
    }

    /// The keys that carried tags, with their tags.
    pub(crate) fn tagged(&self) -> impl Iterator<Item = (&StoredKey, &[Tag])> {
        let present = self.present.iter().map(|(key, held)| (key, held.tags()));
        let absent = self.absent.iter().map(|(key, held)| (key, held.tags()));
        present.chain(absent).filter(|(_, tags)| !tags.is_empty())
    }
}

impl Level2 {
    /// `absences` bytes of the `capacity` are for absences.
    pub(crate) fn new(capacity: u64, absences: u64) -> Self {
        let values = capacity.saturating_sub(absences);
        let present = zone(values, ENTRY_OVERHEAD + 256);
        let absent = zone(absences, ABSENCE_OVERHEAD + 64);
        // quick_cache admits what fits into the hot part of a shard, 97 % of it by default. Weights are kept as u32.
        let hot_part = |shard: u64| (shard / 100 * 97).min(u64::from(u32::MAX));
        Self {
            heaviest: hot_part(present.shard_capacity()),
            heaviest_absence: hot_part(absent.shard_capacity()),
            present,
            absent,
        }
    }

    /// The weight above which a value, or an absence, is served and not kept.
    pub(crate) fn heaviest(&self, value: bool) -> u64 {
        if value {
            self.heaviest
        } else {
            self.heaviest_absence
        }
    }

    /// Puts a value in, takes the key's absence out. Gives what had to leave, the key's former entry included.
    pub(crate) fn insert(&self, key: StoredKey, held: Present) -> Removed {
        let mut removed = Removed::default();
        let name = key.clone();
        self.present
            .insert_with_lifecycle(key, held, &mut removed.present);
        // After the insert: a reader that looks into the zones in the same order finds one or the other.
        removed.absent.extend(self.absent.remove(&name.name()));
        removed
    }

    /// Puts an absence in, takes the key's value out.
    pub(crate) fn insert_absent(&self, key: StoredKey, held: Absent) -> Removed {
        let mut removed = Removed::default();
        let name = key.clone();
        self.absent
            .insert_with_lifecycle(key, held, &mut removed.absent);
        removed.present.extend(self.present.remove(&name.name()));
        removed
    }

    /// Puts a value in the place of the one that its key holds; nothing happens if it holds none any more. In one step: an
    /// invalidation that removes the old one meanwhile is not undone.
    pub(crate) fn exchange(&self, key: StoredKey, held: Present) -> Option<Removed> {
        let mut removed = Removed::default();
        let zone = &self.present;
        zone.replace_with_lifecycle(key, held, true, &mut removed.present)
            .ok()
            .map(|()| removed)
    }

    /// Takes out what a key holds in either zone, if it is older than `below`.
    pub(crate) fn remove(&self, name: &Name<'_>, below: u64) -> Removed {
        let mut removed = Removed::default();
        removed
            .present
            .extend(self.present.remove_if(name, |held| held.number < below));
        removed
            .absent
            .extend(self.absent.remove_if(name, |held| held.number < below));
        removed
    }

    /// Takes out what `leaves` says of either zone.
    pub(crate) fn sift(&self, leaves: impl Fn(&StoredKey, u64, u64) -> bool) -> Removed {
        let mut removed = Removed::default();
        sift(&self.present, &leaves, &mut removed.present);
        sift(&self.absent, &leaves, &mut removed.absent);
        removed
    }
}

/// `retain` would drop values under the zone's lock, so clones of what leaves are kept until it is done.
fn sift<V: Clone>(
    zone: &Map<V>,
    leaves: impl Fn(&StoredKey, u64, u64) -> bool,
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
