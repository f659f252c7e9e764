//! Loads that fail or are late: what becomes of their flights, and what callers get in the place of
//! a value.
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

/// After a failure the next attempt comes once one part in this many has passed of the time that is
/// left for serving the expired value.
const ATTEMPTS: u32 = 8;

impl Engine {
    /// Lands a flight without a value.
    pub(crate) fn fail(&self, flight: &Arc<Flight>, terms: &Terms, landed: Landed) {
        let mut put_off = Removed::default();

        // Under the lock, for a current flight: so what L2 holds was not invalidated.
        let mut shard = self.named.flights.lock(&flight.key);
        if shard.finish(flight) {
            put_off = self.put_off(&flight.key, terms);
        }
        drop(shard);

        self.note_load(flight, |by, took| RecordKind::Failed { by, took });
        flight.land(landed);
        self.node.release(Some((&self.named, &flight.key)), put_off);
    }

    /// Closes a flight to new callers. Returns whether its result could still be of use.
    pub(crate) fn overdue(&self, flight: &Arc<Flight>, terms: &Terms) -> bool {
        let mut put_off = Removed::default();

        // Under the lock, for a current flight: so what L2 holds was not invalidated.
        let mut shard = self.named.flights.lock(&flight.key);
        let displaced = shard.is_current(flight).then(|| {
            put_off = self.put_off(&flight.key, terms);
            shard.make_overdue(flight)
        });
        drop(shard);

        self.node.release(Some((&self.named, &flight.key)), put_off);
        let current = displaced.is_some();
        drop(displaced); // with the lock released: this may end a task
        current
    }

    /// Puts the next attempt off: of an entry that is to be loaded again before it expires, until
    /// half of its remaining time has passed; of an expired one that may be served, until a part of
    /// that time has passed.
    fn put_off(&self, key: &CacheKey, terms: &Terms) -> Removed {
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

    /// Puts an entry in the place of itself, with other times. It keeps its number, so that an
    /// invalidation that has not come round to removing it yet still does.
    fn exchange(&self, key: &CacheKey, held: Present) -> Removed {
        let stored = self.named.stored(key);
        if faults::removed(Step::StaleStaysRemoved) {
            faults::gap(Step::StaleStaysRemoved);
            return self.node.level2.put(stored, held.map(Some));
        }
        self.node.level2.exchange(stored, held)
    }

    /// Returns the expired value of a key, if a caller of these terms may be served it: its load
    /// has failed, or is late.
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

    /// Returns an expired value that a caller may be served, and counts it.
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

    /// Returns whether a load of an expired entry has failed, and a caller of these terms is served
    /// the value without another.
    pub(crate) fn has_failed(&self, held: &Found, terms: &Terms, now: Moment) -> bool {
        let marked = held.refresh_at() != Moment::NEVER && held.refresh_at() > held.expires;
        let until = held.expires.plus(terms.resurrect_ttl).min(held.until());
        let fresh_enough = limit(held.times().read, terms.max_staleness) > now;
        marked && held.value.is_some() && until > now && fresh_enough
    }
}

/// Returns until when an expired value may be served to a caller of these terms: counted from when
/// it expired, and never beyond a bound on staleness, its own or the caller's.
fn stale_until(held: &Present, terms: &Terms) -> Moment {
    let until = held.expires.plus(terms.resurrect_ttl);
    let bound = limit(held.times().read, terms.max_staleness);
    until.min(held.until()).min(bound)
}
