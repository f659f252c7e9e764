//! Callers that found nothing: they join a load or start one, and take what it gives.

use std::any::Any;

use futures_util::FutureExt;
use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Answered, Outcome},
        fills::{Allowed, Standing},
        form::Form,
        load::Load,
        tag::Tag,
        ttl::Ttl,
    },
    engine::{
        erased::ErasedLoaded,
        flight::{Answer, Flight, Landed, Rank, Turn, ValueType, Why},
        horizon::Horizon,
        lookup::Promise,
        node::Engine,
        task::{Failure, Loading, rank},
    },
    error::GetError,
    faults::{Step, removed},
    fence::number::{Noted, Number},
    level2::{
        stored::{Cacheable, typed},
        zone::Times,
    },
    options::{call::GetOptions, lifetime::limit, terms::Terms},
    outside,
    sync::Arc,
};

/// What a call asks of the load that it joins or starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) why: Why,
    pub(crate) terms: Terms,
    /// The bound on the staleness of the answer, if the call itself sets one.
    pub(crate) staleness: Ttl,
    /// If the call has waited for the end of a load that it could not join: the last turn when it
    /// came.
    pub(crate) queued: Option<Turn>,
}

/// What a caller that found nothing gets hold of.
pub(crate) enum Start {
    /// A flight of its own, in the table, whose load is to be run.
    Own(Arc<Flight>),
    /// Another caller's.
    Joined(Arc<Flight>),
    /// Another caller's, which it may not join. It waits until that has landed or is overdue, and
    /// then asks again with this turn: a load that was entered later will do.
    Queued(Arc<Flight>, Turn),
    /// Another load has filled L2 by now.
    Filled,
}

/// What a load in progress is to a call.
enum Join {
    /// It will do.
    This,
    /// It began before the call, and may be too old: the next will do.
    Next,
    /// It is in the way.
    Neither,
    /// Its time is over.
    Late,
}

/// A caller's part in a flight.
pub(crate) struct Share {
    pub(crate) flight: Arc<Flight>,
    pub(crate) outcome: Outcome,
    /// What the caller noted before it looked.
    pub(crate) noted: Number,
}

impl Engine {
    /// Returns what a call of these options asks of a load.
    pub(crate) fn demand(&self, why: Why, options: &GetOptions) -> Demand {
        let terms = self.terms(options);
        let own = if options.bounds_staleness() {
            terms.max_staleness
        } else {
            Ttl::Never // the cache's is kept with the entry
        };
        Demand {
            why,
            terms,
            staleness: own,
            queued: None,
        }
    }

    /// Joins the load of a key, or enters a new one into the table.
    pub(crate) fn start<V: Cacheable>(
        &self,
        key: &CacheKey,
        demand: &Demand,
    ) -> Result<Start, GetError> {
        let rank = rank();
        // Before the lock: this is user code. What is read counts as read before it was asked,
        // or a thread that stops in between would keep something for longer than was allowed.
        let asked = self.node.fills.as_ref().map(|_| self.node.now());
        let allowed = Allowed::begin(self.node.fills.as_ref(), key);
        let standing = Standing::ask(self.node.fills.as_ref(), allowed);
        let horizon = self.node.horizon();
        let mut voided = None;

        let mut shard = self.named.flights.lock(key);
        if let Some(flight) = shard.joinable(key) {
            let asked = ValueType::of::<V>();
            if flight.of.id != asked.id {
                return Err(GetError::wrong_type(key, flight.of.name, asked.name));
            }

            let flight = Arc::clone(flight);
            match self.may_join(&flight, demand, horizon, standing) {
                Join::This => {
                    let waker = self.join(&flight, demand, rank);
                    drop(shard);
                    outside::wake(waker.into_iter()); // with the lock released
                    return Ok(Start::Joined(flight));
                }
                // One load at a time: a load of its own for each call would be as many as there
                // are calls.
                Join::Next => {
                    let turn = demand.queued.unwrap_or_else(|| shard.last_turn());
                    // It gets no more time, but goes ahead if this caller may not wait for permits.
                    let waker = flight.join(flight.noted.read, rank);
                    drop(shard);
                    outside::wake(waker.into_iter()); // with the lock released
                    return Ok(Start::Queued(flight, turn));
                }
                Join::Neither => voided = Some(shard.close(&flight)),
                // Its task has yet to find out that it is late.
                Join::Late => voided = Some(shard.make_overdue(&flight)),
            }
        }

        // Under the lock: a load that landed since L2 was read has filled it, and one that lands
        // later is joined above.
        let look_again = demand.why == Why::Miss && !removed(Step::StartLooksAgain);
        if look_again && self.is_live(key, demand, horizon) {
            return Ok(Start::Filled);
        }
        if self.node.refuses_loads(horizon) {
            self.named.counters.refused_unproven.add(1);
            let bound = self.node.ceiling.duration().unwrap_or_default();
            return Err(GetError::unproven(key, bound));
        }

        let noted = Noted {
            number: self.node.sequence.current(),
            read: asked.unwrap_or_else(|| self.node.now()),
        };
        let due = limit(noted.read, demand.terms.deadline);
        let of = ValueType::of::<V>();
        let began = (demand.why, shard.next_turn());
        let flight = Flight::new(key.clone(), noted, of, allowed, began, due, rank);
        let flight = Arc::new(flight);
        shard.start(Arc::clone(&flight));
        drop(shard);

        drop(voided); // with the lock released: this may end a task
        Ok(Start::Own(flight))
    }

    fn may_join(
        &self,
        flight: &Flight,
        demand: &Demand,
        horizon: Horizon,
        standing: Standing,
    ) -> Join {
        if !self.node.is_ahead(flight.due()) {
            return Join::Late;
        }

        match demand.why {
            Why::Reload => return Join::Neither,
            Why::Miss | Why::Renew | Why::Refresh => {}
        }
        let read = flight.noted.read;
        let own = limit(read, demand.staleness);

        // Nothing voids what may not be kept, on a node that others may have given up: a receipt
        // may have been resolved since the load began, and this call came later. Unless it came
        // earlier, and has waited since.
        if (flight.allowed, standing) == (Allowed::Never, Standing::GivenUp) {
            let waited = demand.queued.is_some_and(|turn| turn < flight.turn);
            let waited = waited || removed(Step::QueuedJoinLater);
            return match waited && self.node.is_ahead(own) {
                true => Join::This,
                // Nothing would come of the wait.
                false if self.node.refuses_loads(horizon) => Join::Neither,
                false if removed(Step::LaterCallersQueue) => Join::Neither,
                false => Join::Next,
            };
        }

        match self.node.is_ahead(own.min(horizon.until(read))) {
            true => Join::This,
            false => Join::Neither,
        }
    }

    /// Makes a caller one of a flight's. Under the shard's lock; returns what is to be woken
    /// without it.
    fn join(&self, flight: &Flight, demand: &Demand, rank: Rank) -> Option<std::task::Waker> {
        match demand.why {
            Why::Refresh => None, // it waits for nothing
            Why::Renew | Why::Reload => {
                flight.make_replace();
                flight.join(limit(flight.noted.read, demand.terms.deadline), rank)
            }
            Why::Miss => flight.join(limit(flight.noted.read, demand.terms.deadline), rank),
        }
    }

    fn is_live(&self, key: &CacheKey, demand: &Demand, horizon: Horizon) -> bool {
        let is_live = |times: &Times, _: &[Tag]| {
            let fresh = limit(times.read, demand.staleness).min(horizon.until(times.read));
            self.node.is_ahead(times.expires.min(fresh))
        };
        let name = self.named.name_of(key);
        self.node.level2.inspect(&name, is_live).unwrap_or(false)
    }

    /// Runs the load of one flight.
    pub(crate) fn run<V: Cacheable>(
        &self,
        flight: &Arc<Flight>,
        demand: &Demand,
        tags: Option<&Arc<[Tag]>>,
        load: impl Load<V>,
    ) {
        let flights = vec![Arc::clone(flight)];
        let tags = tags.cloned();
        self.spawn(flights, demand.terms, tags, demand.why, || single(load));
    }

    /// Loads an entry again in the background, unless that is being done.
    pub(crate) fn refresh<V: Cacheable>(
        &self,
        key: &CacheKey,
        terms: Terms,
        tags: Option<&Arc<[Tag]>>,
        load: impl Load<V>,
    ) {
        let demand = Demand {
            why: Why::Refresh,
            terms,
            staleness: Ttl::Never,
            queued: None,
        };

        // Another type, or no proof: the caller has its value, and the next caller that needs a
        // load hears of it.
        if let Ok(Start::Own(flight)) = self.start::<V>(key, &demand) {
            self.named.counters.refreshes.add(1);
            self.run(&flight, &demand, tags, load);
        }
    }

    /// Returns what a caller gets of a flight that has landed. Nothing comes of it if the caller is
    /// to ask again: it came after a tag of the value was invalidated, and the load before; the
    /// value of another caller's load has come to its own end; or the load was ended, and the
    /// caller has time left.
    pub(crate) fn arrived<V, W, M>(
        &self,
        form: &M,
        share: &Share,
        landed: Landed,
        terms: &Terms,
    ) -> Result<Option<Answered<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let (began, noted) = (share.flight.noted.number, share.noted);
        match landed {
            Landed::Ended => Ok(None),
            // It might have carried any tag that was invalidated since it began.
            Landed::Failed(_) if noted > began && self.named.tags.lock().latest() > began => {
                Ok(None)
            }
            Landed::Failed(error) => {
                match self.serve_stale::<V, W, M>(&share.flight.key, form, terms)? {
                    Some(entry) => Ok(Some(entry)),
                    None => Err(error),
                }
            }
            Landed::Value(answer)
                if noted >= answer.not_from && !removed(Step::LateCallersAskAgain) =>
            {
                Ok(None)
            }
            // The caller whose load it was has no other to start.
            Landed::Value(answer)
                if share.outcome == Outcome::Joined && !self.node.is_ahead(answer.ends) =>
            {
                Ok(None)
            }
            Landed::Value(answer) => self.take::<V, W, M>(form, share, answer).map(Some),
        }
    }

    fn take<V, W, M>(
        &self,
        form: &M,
        share: &Share,
        answer: Answer,
    ) -> Result<Answered<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let key = &share.flight.key;
        let read = share.flight.noted.read;
        let horizon = self.node.horizon();

        // Its type was compared when the flight was joined.
        let shared = (answer.value.map(|value| typed::<V>(value, key))).transpose()?;
        let value = match answer.filled {
            Some(expires) => {
                let promise = Promise {
                    number: share.noted,
                    expires: expires.min(horizon.until(answer.since)),
                    read,
                    weight: answer.weight,
                };
                let promote = self.promotes();
                self.promote(key, form, shared, promise, promote)?
            }
            None => self.shared(key, form, shared)?,
        };
        Ok(Answered {
            value,
            outcome: share.outcome,
            read,
        })
    }
}

/// Returns the future of a load of one key, with its type erased.
fn single<V: Cacheable>(load: impl Load<V>) -> Loading {
    let loading = load.load();
    async move {
        let loaded = loading.await.map_err(Failure::Error)?;
        Ok(vec![ErasedLoaded::new(loaded)])
    }
    .boxed()
}
