//! Loads in progress. Each is in a table of our own from before it reads anything until it lands.
//!
//! A flight that is in the table is *current*: its result may enter L2, and later callers join it. To void a flight is to
//! take it out; callers that wait for it still get its result. A fill happens under the lock of the table's shard, right
//! after the check that the flight is current, so nothing can void it in between.
//!
//! A flight past its deadline is *overdue*: no caller joins it any more, but it stays in the table, so that what comes late
//! can still fill. A key has at most one of these; the older is ended when the next becomes overdue.

use std::{
    any::TypeId,
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hashbrown::HashTable;
use tidings_core::CacheKey;

use crate::{
    error::GetError,
    fence::number::{Moment, Noted, Number},
    level2::stored::Stored,
    sync::{Abort, Arc, AtomicBool, Mutex, MutexGuard, Ordering},
};

/// How many keys each shard remembers that handlers of a cause have dealt with.
const REMEMBERED: usize = 16;

/// Why a load is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Neither level has the key.
    Miss,
    /// A caller wants it loaded whatever is cached.
    Renew,
    /// The entry asks to be loaded again in the background.
    Refresh,
}

impl Why {
    /// Returns whether landing replaces what workers may hold in L1.
    pub(crate) const fn replaces(self) -> bool {
        match self {
            Self::Miss => false,
            Self::Renew | Self::Refresh => true,
        }
    }
}

/// The type of a value, to be compared and to be named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl ValueType {
    pub(crate) fn of<V: 'static>() -> Self {
        Self {
            id: TypeId::of::<V>(),
            name: std::any::type_name::<V>(),
        }
    }
}

/// How a load ended, for the callers that waited.
#[derive(Clone)]
pub(crate) enum Landed {
    Value(Answer),
    Failed(GetError),
}

/// What a load gave.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) value: Option<Arc<dyn Stored>>,
    /// When it expires, if L2 holds it: then L1 may too.
    pub(crate) filled: Option<Moment>,
    /// Callers that noted this number or a higher one came after a tag of the value was invalidated: they ask again.
    pub(crate) not_from: Number,
    /// The load failed, and this is the expired value.
    pub(crate) stale: bool,
}

/// One load of one key.
pub(crate) struct Flight {
    pub(crate) key: CacheKey,
    /// The sequence, and the time, before the load began.
    pub(crate) noted: Noted,
    pub(crate) of: ValueType,
    /// Written under the shard's lock only.
    overdue: AtomicBool,
    /// Landing replaces what workers may hold in L1: a renewal or a refresh. Written under the shard's lock only.
    replaces: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    landed: Option<Landed>,
    wakers: Vec<Option<Waker>>,
    /// Indexes of `wakers` whose waiter went away.
    free: Vec<usize>,
    abort: Option<Abort>,
    ended: bool,
}

impl Flight {
    pub(crate) fn new(key: CacheKey, noted: Noted, of: ValueType, why: Why) -> Self {
        Self {
            key,
            noted,
            of,
            overdue: AtomicBool::new(false),
            replaces: AtomicBool::new(why.replaces()),
            state: Mutex::new(State::default()),
        }
    }

    /// Gives the result to all callers that wait. The first result stays: that of an overdue load comes after its error.
    pub(crate) fn land(&self, landed: Landed) {
        let wakers = {
            let mut state = self.state.lock();
            if state.landed.is_some() {
                return;
            }
            state.landed = Some(landed);
            state.free = Vec::new();
            std::mem::take(&mut state.wakers)
        };
        // Woken without the lock: the first thing they do is to take it.
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    pub(crate) fn replaces(&self) -> bool {
        self.replaces.load(Ordering::Relaxed)
    }

    /// Must be called under the shard's lock.
    pub(crate) fn make_replace(&self) {
        self.replaces.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed)
    }

    /// Remembers how to end the load's task, unless it must end already.
    pub(crate) fn runs_as(&self, abort: Abort) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            abort.abort();
        } else {
            state.abort = Some(abort);
        }
    }

    /// Ends the load's task: no caller waits for it, and nothing may be filled from it.
    fn end(&self) {
        let abort = {
            let mut state = self.state.lock();
            state.ended = true;
            state.abort.take()
        };
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// Waits for the result. Cancel safe: the load does not notice.
    pub(crate) fn wait(self: Arc<Self>) -> Wait {
        Wait {
            flight: self,
            place: None,
        }
    }
}

/// A caller that waits for a flight.
pub(crate) struct Wait {
    flight: Arc<Flight>,
    place: Option<usize>,
}

impl Future for Wait {
    type Output = Landed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Landed> {
        let flight = Arc::clone(&self.flight);
        let mut state = flight.state.lock();
        if let Some(landed) = &state.landed {
            return Poll::Ready(landed.clone());
        }
        let place = match self.place.or_else(|| state.free.pop()) {
            Some(place) => place,
            None => {
                state.wakers.push(None);
                state.wakers.len() - 1
            }
        };
        self.place = Some(place);
        match &mut state.wakers[place] {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut state = self.flight.state.lock();
            if state.landed.is_none() {
                let waker = state.wakers[place].take();
                state.free.push(place);
                drop(state);
                drop(waker); // a waker's drop may run code of its executor
            }
        }
    }
}

/// The flights of one cache.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
}

/// A share of the table, by key.
#[derive(Default)]
pub(crate) struct Shard {
    flights: HashTable<Arc<Flight>>,
    /// What handlers have invalidated last, and under which cause.
    handled: VecDeque<(CacheKey, Number)>,
}

impl Flights {
    /// `shards` is rounded up to a power of two.
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
        // The length is a power of two. The high bits: the low ones choose the bucket within the shard.
        let index = (key.hash_value() >> 48) as usize & (self.shards.len() - 1);
        &self.shards[index]
    }

    /// Takes out every flight that began before `below`.
    pub(crate) fn void_all(&self, below: Number) {
        for shard in &self.shards {
            let gone = shard.lock().take(|flight| flight.noted.number < below);
            end_overdue(&gone);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().flights.len())
            .sum()
    }
}

impl Shard {
    /// The flight that a caller may wait for.
    pub(crate) fn joinable(&self, key: &CacheKey) -> Option<&Arc<Flight>> {
        self.flights
            .iter_hash(key.hash_value())
            .find(|flight| flight.key == *key && !flight.is_overdue())
    }

    pub(crate) fn start(&mut self, flight: Arc<Flight>) {
        let hash = flight.key.hash_value();
        self.flights
            .insert_unique(hash, flight, |flight| flight.key.hash_value());
    }

    /// Takes a flight out, and tells whether it was in: that is, current.
    pub(crate) fn finish(&mut self, flight: &Arc<Flight>) -> bool {
        self.flights
            .find_entry(flight.key.hash_value(), |other| Arc::ptr_eq(other, flight))
            .map(|entry| entry.remove())
            .is_ok()
    }

    pub(crate) fn is_current(&self, flight: &Arc<Flight>) -> bool {
        self.flights
            .iter_hash(flight.key.hash_value())
            .any(|other| Arc::ptr_eq(other, flight))
    }

    /// Closes a flight to new callers. Returns the older one of the key that it displaces, to be ended.
    #[must_use]
    pub(crate) fn make_overdue(&mut self, flight: &Arc<Flight>) -> Voided {
        let gone = self.take_of(&flight.key, Flight::is_overdue);
        flight.overdue.store(true, Ordering::Relaxed);
        Voided(gone)
    }

    /// Takes out the flights of a key that began before `below`.
    #[must_use]
    pub(crate) fn void(&mut self, key: &CacheKey, below: Number) -> Voided {
        Voided(self.take_of(key, |flight| flight.noted.number < below))
    }

    /// Whether a handler has dealt with this key under this cause or a later one.
    pub(crate) fn is_handled(&self, key: &CacheKey, cause: Number) -> bool {
        self.handled
            .iter()
            .any(|(other, number)| *number >= cause && other == key)
    }

    /// Whatever was older than this cause is gone, everywhere.
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

/// Flights that left the table. Let go once the shard's lock is released: that ends the overdue ones.
pub(crate) struct Voided(Vec<Arc<Flight>>);

impl Drop for Voided {
    fn drop(&mut self) {
        end_overdue(&self.0);
    }
}

fn end_overdue(flights: &[Arc<Flight>]) {
    for flight in flights.iter().filter(|flight| flight.is_overdue()) {
        flight.end();
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
