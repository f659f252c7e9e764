//! Loads that fail or are late: what happens to their flights, and what their callers get.
//!
//! An expired value stays in L2. Each caller decides by its own terms whether it takes it; a load
//! that failed leaves a mark, so that not every call tries again.

use std::{any::Any, time::Duration};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Answered, Outcome},
        form::Form,
    },
    engine::{flight::Flight, flight::Landed, node::Engine},
    error::GetError,
    faults::{self, Step},
    fence::number::Moment,
    level2::{
        stored::{Cacheable, typed},
        zone::{Extra, Found, Held, Present, Removed},
    },
    options::{lifetime::limit, terms::Terms},
    record::RecordKind,
    sync::Arc,
};

/// After a failure, the next attempt comes after one part in this many of the time for which the
/// expired value may still be served.
const ATTEMPTS: u32 = 8;

impl Engine {
    /// Lands a flight without a value.
    pub(crate) fn fail(&self, flight: &Arc<Flight>, terms: &Terms, landed: Landed) {
        let mut gone = Removed::default();

        // Under the lock, and only for a current flight: then L2's entry was not invalidated.
        let mut shard = self.named.flights.lock(&flight.key);
        if shard.finish(flight) {
            gone = self.postpone(&flight.key, terms);
        }
        drop(shard);

        self.note_load(flight, |by, took| RecordKind::Failed { by, took });
        flight.land(landed);
        self.node.release(Some((&self.named, &flight.key)), gone);
    }

    /// Closes a flight to new callers. Returns whether its result could still be of use.
    pub(crate) fn overdue(&self, flight: &Arc<Flight>, terms: &Terms) -> bool {
        let mut gone = Removed::default();

        // Under the lock, and only for a current flight: then L2's entry was not invalidated.
        let mut shard = self.named.flights.lock(&flight.key);
        let displaced = shard.is_current(flight).then(|| {
            gone = self.postpone(&flight.key, terms);
            shard.make_overdue(flight)
        });
        drop(shard);

        self.node.release(Some((&self.named, &flight.key)), gone);
        let current = displaced.is_some();
        drop(displaced); // with the lock released: this may end a task
        current
    }

    /// Postpones the next attempt to load a key: for an entry that is refreshed before it expires,
    /// by half of its remaining time; for an expired entry that may be served, by a part of the
    /// time for which it may be.
    fn postpone(&self, key: &CacheKey, terms: &Terms) -> Removed {
        let now = self.node.now();
        let Some(held) = self.node.level2.present.peek(&self.named.key_ref(key)) else {
            return Removed::default();
        };

        let pause = if held.expires > now {
            let asks = held.refresh_at() != Moment::NEVER;
            asks.then(|| held.expires.since(now) / 2)
        } else {
            let left = stale_until(&held, terms).since(now);
            (!left.is_zero()).then(|| left / ATTEMPTS)
        };
        let Some(pause) = pause else {
            return Removed::refused(held.map(Some)); // dropped by the caller, with no lock held
        };

        let extra = Extra {
            tags: held.tags().into(),
            refresh_at: now.plus(pause.max(Duration::from_nanos(1))),
            until: held.until(),
            positioned: held.extra.as_ref().is_some_and(|extra| extra.positioned),
        };
        let held = Held {
            extra: Some(Arc::new(extra)),
            ..held
        };
        self.exchange(key, held)
    }

    /// Replaces an entry by itself with other times. It keeps its number, so that an invalidation
    /// that has not removed it yet still does.
    fn exchange(&self, key: &CacheKey, held: Present) -> Removed {
        let stored = self.named.stored(key);
        if faults::removed(Step::StaleStaysRemoved) {
            faults::gap(Step::StaleStaysRemoved);
            return self.node.level2.put(stored, held.map(Some));
        }
        self.node.level2.exchange(stored, held)
    }

    /// Returns the expired value of a key, if a caller with these terms may be served it because
    /// its load has failed or is late.
    pub(crate) fn serve_stale<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        terms: &Terms,
    ) -> Result<Option<Answered<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        if terms.resurrect_ttl.is_zero() {
            return Ok(None);
        }
        let horizon = self.node.horizon(); // before the value is read
        let Some(held) = self.node.level2.present.peek(&self.named.key_ref(key)) else {
            return Ok(None);
        };

        let until = stale_until(&held, terms).min(horizon.until(held.times().read));
        let now = self.node.now();
        if held.expires > now || until <= now {
            return Ok(None);
        }

        self.stale::<V, W, M>(key, form, held.map(Some)).map(Some)
    }

    /// Returns an expired value that the caller may be served, and counts it.
    pub(crate) fn stale<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        held: Found,
    ) -> Result<Answered<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let read = held.read;
        let shared = held.value.map(|value| typed::<V>(value, key)).transpose()?;
        let value = self.shared(key, form, shared)?;
        self.named.counters.stale_served.add(1);
        Ok(Answered {
            value,
            outcome: Outcome::Stale,
            read,
        })
    }

    /// Returns whether a load of an expired entry has failed, so that a caller with these terms is
    /// served the value without another load.
    pub(crate) fn has_failed(&self, held: &Found, terms: &Terms, now: Moment) -> bool {
        let marked = held.refresh_at() != Moment::NEVER && held.refresh_at() > held.expires;
        let until = held.expires.plus(terms.resurrect_ttl).min(held.until());
        let fresh_enough = limit(held.times().read, terms.max_staleness) > now;
        marked && held.value.is_some() && until > now && fresh_enough
    }
}

/// Returns until when an expired value may be served to a caller with these terms. The time counts
/// from its expiry, and never goes beyond its own bound on staleness or the caller's.
fn stale_until(held: &Present, terms: &Terms) -> Moment {
    let until = held.expires.plus(terms.resurrect_ttl);
    let bound = limit(held.times().read, terms.max_staleness);
    until.min(held.until()).min(bound)
}
