//! Loads that fail or are late: what their callers get, and what becomes of an expired value.

use std::time::Duration;

use tidings_core::CacheKey;

use crate::{
    engine::{
        flight::{Answer, Flight, Landed},
        node::Engine,
    },
    error::GetError,
    faults::{self, Step},
    fence::number::{Moment, Number},
    level2::zone::{Extra, Held, Present, Removed},
    options::terms::Terms,
    sync::Arc,
};

impl Engine {
    /// Lands a flight with an error, or with the expired value if that may be served.
    pub(crate) fn fail(&self, flight: &Arc<Flight>, terms: &Terms, error: GetError) {
        let (resurrected, put_off) = {
            let mut shard = self.named.flights.lock(&flight.key);
            if !shard.finish(flight) {
                (None, Removed::default())
            } else {
                match self.resurrect(flight, terms) {
                    None if flight.replaces() => (None, self.put_refresh_off(&flight.key)),
                    resurrected => (resurrected, Removed::default()),
                }
            }
        };

        flight.land(self.answer_of(flight, resurrected, error));
        self.node.release(Some((&self.named, &flight.key)), put_off);
    }

    /// Tells the callers that wait that the load is late. Returns whether its result could still be of use.
    pub(crate) fn overdue(&self, flight: &Arc<Flight>, terms: &Terms, after: Duration) -> bool {
        let (current, displaced, resurrected) = {
            let mut shard = self.named.flights.lock(&flight.key);
            if shard.is_current(flight) {
                let displaced = shard.make_overdue(flight);
                (true, Some(displaced), self.resurrect(flight, terms))
            } else {
                (false, None, None)
            }
        };
        drop(displaced);

        flight.land(self.answer_of(flight, resurrected, GetError::Deadline { after }));
        current
    }

    /// Gives an expired value a new time, if the terms allow that. Under the lock of the key's shard, for a current flight:
    /// so the value was not invalidated.
    fn resurrect(&self, flight: &Flight, terms: &Terms) -> Option<(Answer, Removed)> {
        if terms.resurrect_ttl.is_zero() {
            return None;
        }

        let now = self.node.now();
        let name = self.named.name_of(&flight.key);
        let held = self.node.level2.present.peek(&name)?;
        if held.expires > now {
            return None; // a renewal failed: what is cached stays, and the caller hears of it
        }

        let until = held.until();
        let expires = now.plus(terms.resurrect_ttl).min(until);
        if expires <= now {
            return None;
        }
        let answer = Answer {
            value: Some(Arc::clone(&held.value)),
            filled: Some(expires),
            not_from: Number::ALL,
            stale: true,
        };
        let extra = Extra {
            tags: held.tags().into(),
            refresh_at: Moment::NEVER,
            until,
        };
        let held = Held {
            expires,
            extra: Some(Arc::new(extra)),
            ..held
        };
        let removed = self.exchange(&flight.key, held);
        if removed.refused.is_some() {
            return None;
        }
        Some((answer, removed))
    }

    fn answer_of(
        &self,
        flight: &Flight,
        resurrected: Option<(Answer, Removed)>,
        error: GetError,
    ) -> Landed {
        let Some((answer, removed)) = resurrected else {
            return Landed::Failed(error);
        };
        self.named.counters.stale_served.add(1);
        self.node.release(Some((&self.named, &flight.key)), removed);
        Landed::Value(answer)
    }

    /// A background load failed: the next attempt waits until half of the entry's remaining time has passed. Under the
    /// lock of the key's shard, for a current flight: so the value was not invalidated.
    fn put_refresh_off(&self, key: &CacheKey) -> Removed {
        let now = self.node.now();
        let Some(held) = self.node.level2.present.peek(&self.named.name_of(key)) else {
            return Removed::default();
        };
        if held.refresh_at() == Moment::NEVER || held.expires < now {
            return Removed {
                refused: Some(held.map(Some)),
                ..Removed::default()
            };
        }

        let pause = (held.expires.since(now) / 2).max(Duration::from_nanos(1));
        let extra = Extra {
            tags: held.tags().into(),
            refresh_at: now.plus(pause),
            until: held.until(),
        };
        let held = Held {
            extra: Some(Arc::new(extra)),
            ..held
        };
        self.exchange(key, held)
    }

    /// Puts an entry in the place of itself, with other times. It keeps its number, so that an invalidation that has not
    /// come round to removing it yet still does.
    fn exchange(&self, key: &CacheKey, held: Present) -> Removed {
        let stored = self.named.stored(key);
        if faults::removed(Step::StaleStaysRemoved) {
            faults::gap(Step::StaleStaysRemoved);
            return self.node.level2.put(stored, held.map(Some));
        }
        self.node.level2.exchange(stored, held)
    }
}
