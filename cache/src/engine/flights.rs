//! The table of loads in progress. A flight is in it from before it reads anything until it lands.
//!
//! A flight that is in the table is *current*: its result may enter L2, and later callers join it.
//! To void a flight is to take it out; callers that wait for it still get its result. A fill
//! happens under the lock of the table's shard, right after the check that the flight is current,
//! so nothing can void it in between.
//!
//! An overdue flight stays in the table, so that what comes late can still fill. A key has at most
//! one of these; the older is ended when the next becomes overdue. A renewal that a later caller
//! could not join stays too, closed, until it lands or is overdue.

use std::collections::VecDeque;

use hashbrown::HashTable;
use tidings_core::CacheKey;

use crate::{
    engine::flight::{Flight, Turn},
    fence::number::Number,
    sync::{Arc, Mutex, MutexGuard},
};

/// How many keys each shard remembers that handlers of a cause have dealt with.
const REMEMBERED: usize = 16;

/// A table with room for more flights than this gives memory back when most of it is empty.
const KEPT_ROOM: usize = 64;

/// The flights of one cache.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
}

/// A share of the table, by key.
#[derive(Default)]
pub(crate) struct Shard {
    flights: HashTable<Arc<Flight>>,
    /// The turn of the flight that was entered last.
    last: Turn,
    /// What handlers have invalidated last, and under which cause.
    handled: VecDeque<(CacheKey, Number)>,
}

impl Flights {
    /// Makes an empty table. `shards` is rounded up to a power of two.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.next_power_of_two())
                .map(|_| Mutex::new(Shard::default()))
                .collect(),
        }
    }

    pub(crate) fn lock(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        self.shard(key).lock()
    }

    /// Returns the lock of a key's share.
    pub(crate) fn shard(&self, key: &CacheKey) -> &Mutex<Shard> {
        // The length is a power of two. The high bits: the low ones choose the bucket within the
        // shard.
        let index = (key.hash_value() >> 48) as usize & (self.shards.len() - 1);
        &self.shards[index]
    }

    /// Takes out every flight that began before `below`.
    pub(crate) fn void_all(&self, below: Number) {
        for shard in &self.shards {
            let gone = Voided(shard.lock().take(|flight| flight.noted.number < below));
            drop(gone); // with the lock released: this may end a task
        }
    }

    pub(crate) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().flights.len()).sum()
    }
}

impl Drop for Flights {
    /// Ends all flights: the last handle has gone, and no load has a cache to fill any more.
    fn drop(&mut self) {
        for shard in &self.shards {
            let flights = std::mem::take(&mut shard.lock().flights);
            flights.iter().for_each(|flight| flight.abandon());
        }
    }
}

impl Shard {
    /// Returns the flight that a caller may wait for.
    pub(crate) fn joinable(&self, key: &CacheKey) -> Option<&Arc<Flight>> {
        self.flights
            .iter_hash(key.hash_value())
            .find(|flight| flight.key == *key && !flight.is_overdue() && !flight.is_closed())
    }

    /// Returns the turn of the flight that was entered last.
    pub(crate) fn last_turn(&self) -> Turn {
        self.last
    }

    /// Takes the turn of a flight that is entered next, under the same lock.
    pub(crate) fn next_turn(&mut self) -> Turn {
        self.last.0 += 1;
        self.last
    }

    pub(crate) fn start(&mut self, flight: Arc<Flight>) {
        let hash = flight.key.hash_value();
        self.flights
            .insert_unique(hash, flight, |flight| flight.key.hash_value());
    }

    /// Takes a flight out. Returns whether it was in: that is, current.
    pub(crate) fn finish(&mut self, flight: &Arc<Flight>) -> bool {
        let is_it = |other: &Arc<Flight>| Arc::ptr_eq(other, flight);
        let found = self.flights.find_entry(flight.key.hash_value(), is_it);
        let current = found.map(|entry| entry.remove()).is_ok();

        let (len, capacity) = (self.flights.len(), self.flights.capacity());
        if capacity > KEPT_ROOM && len * 8 < capacity {
            self.flights
                .shrink_to(len * 2, |flight| flight.key.hash_value());
        }
        current
    }

    pub(crate) fn is_current(&self, flight: &Arc<Flight>) -> bool {
        self.flights
            .iter_hash(flight.key.hash_value())
            .any(|other| Arc::ptr_eq(other, flight))
    }

    /// Returns whether a renewal or a refresh of a key is in progress.
    pub(crate) fn is_being_replaced(&self, key: &CacheKey) -> bool {
        self.flights
            .iter_hash(key.hash_value())
            .any(|flight| flight.key == *key && flight.replaces())
    }

    /// Closes a flight to new callers. Returns the older one of the key that it displaces, to be
    /// ended. One that lands at this moment gives its callers nothing either.
    #[must_use]
    pub(crate) fn make_overdue(&mut self, flight: &Arc<Flight>) -> Voided {
        let is_older = |other: &Flight| other.is_overdue() && !std::ptr::eq(other, &**flight);
        let gone = self.take_of(&flight.key, is_older);
        gone.iter().for_each(|older| older.make_displaced());
        flight.make_overdue();
        Voided(gone)
    }

    /// Takes out the flights of a key that began before `below`.
    #[must_use]
    pub(crate) fn void(&mut self, key: &CacheKey, below: Number) -> Voided {
        Voided(self.take_of(key, |flight| flight.noted.number < below))
    }

    /// Deals with the other loads of a key for which a renewal has landed: what they have read may
    /// be older. No caller joins them any more. One that is a renewal itself stays, since it may
    /// also have read something newer: when it lands, neither result is kept.
    #[must_use]
    pub(crate) fn outdate(&mut self, key: &CacheKey) -> Voided {
        let gone = self.take_of(key, |flight| !flight.replaces());
        let others = self.flights.iter_hash(key.hash_value());
        for flight in others.filter(|flight| flight.key == *key) {
            flight.make_contested();
            flight.close();
        }
        Voided(gone)
    }

    /// Makes room for a caller for whom the loads in progress will not do. A renewal is closed to
    /// new callers and still lands, as its own were promised; what else there is must not fill any
    /// more.
    #[must_use]
    pub(crate) fn close(&mut self, flight: &Flight) -> Voided {
        flight.close();
        Voided(self.take_of(&flight.key, |flight| !flight.replaces()))
    }

    /// Returns whether a handler has dealt with this key under this cause or a later one.
    pub(crate) fn is_handled(&self, key: &CacheKey, cause: Number) -> bool {
        self.handled
            .iter()
            .any(|(other, number)| *number >= cause && other == key)
    }

    /// Remembers that everything older than this cause is gone, everywhere.
    pub(crate) fn handled(&mut self, key: &CacheKey, cause: Number) {
        if self.handled.len() == REMEMBERED {
            self.handled.pop_front();
        }
        self.handled.push_back((key.clone(), cause));
    }

    fn take_of(&mut self, key: &CacheKey, which: impl Fn(&Flight) -> bool) -> Vec<Arc<Flight>> {
        let mut taken = Vec::new();
        while let Ok(entry) = self.flights.find_entry(key.hash_value(), |flight| {
            flight.key == *key && which(flight)
        }) {
            taken.push(entry.remove().0);
        }
        taken
    }

    fn take(&mut self, which: impl Fn(&Flight) -> bool) -> Vec<Arc<Flight>> {
        self.flights.extract_if(|flight| which(flight)).collect()
    }
}

/// Flights that left the table. Let go once the shard's lock is released: that ends the overdue
/// ones.
pub(crate) struct Voided(Vec<Arc<Flight>>);

impl Voided {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Voided {
    fn drop(&mut self) {
        for flight in self.0.iter().filter(|flight| flight.is_overdue()) {
            flight.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_keys_that_handlers_dealt_with_are_remembered() {
        let mut shard = Shard::default();
        let keys: Vec<_> = (0..=REMEMBERED)
            .map(|index| CacheKey::new("test", &[index.to_string().as_str()]))
            .collect();
        for key in &keys[..REMEMBERED] {
            shard.handled(key, Number(7));
        }
        assert!(
            keys[..REMEMBERED]
                .iter()
                .all(|key| shard.is_handled(key, Number(7)))
        );
        assert!(
            shard.is_handled(&keys[0], Number(6)),
            "an earlier cause is dealt with too"
        );
        assert!(!shard.is_handled(&keys[0], Number(8)), "a later one is not");
        shard.handled(&keys[REMEMBERED], Number(7));
        let remembered: Vec<_> = keys
            .iter()
            .map(|key| shard.is_handled(key, Number(7)))
            .collect();
        assert_eq!(remembered.iter().position(|&known| known), Some(1));
        assert!(remembered[1..].iter().all(|&known| known));
    }
}
