//! Callers that found nothing: they join a load or start one, and take its result.

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
        lookup::EntryMeta,
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
    sync::Arc,
    user_code,
};

/// What a call demands of the load that it joins or starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadRequest {
    pub(crate) why: Why,
    pub(crate) terms: Terms,
    /// The bound on the staleness of the answer, if the call itself sets one.
    pub(crate) staleness: Ttl,
    /// The turn of the latest flight when the call came, if it has waited for the end of a load
    /// that it could not join.
    pub(crate) queued: Option<Turn>,
}

/// How a caller that found nothing gets its value.
pub(crate) enum Start {
    /// By a new flight, which is in the table; the caller runs its load.
    Own(Arc<Flight>),
    /// By the flight of another caller.
    Joined(Arc<Flight>),
    /// Not by the flight of another caller, which it may not join. It waits until that flight has
    /// landed or is overdue, and then asks again with this turn: a load that was entered later will
    /// do.
    Queued(Arc<Flight>, Turn),
    /// By another lookup: a load has filled L2 in the meantime.
    Filled,
}

/// What a call does about a load in progress.
enum JoinDecision {
    /// It joins the load.
    Join,
    /// It waits for the next load: this one began before the call, and may be too old.
    WaitForNext,
    /// It starts a load of its own, in the place of this one.
    Displace,
    /// It starts a load of its own, because this one is overdue.
    Overdue,
}

/// A flight that a caller takes part in.
pub(crate) struct JoinedFlight {
    pub(crate) flight: Arc<Flight>,
    pub(crate) outcome: Outcome,
    /// The number that the caller noted before its lookup.
    pub(crate) noted: Number,
}

impl Engine {
    /// Returns what a call with these options demands of a load.
    pub(crate) fn load_request(&self, why: Why, options: &GetOptions) -> LoadRequest {
        let terms = self.terms(options);
        let own = if options.bounds_staleness() {
            terms.max_staleness
        } else {
            Ttl::Never // the cache's is kept with the entry
        };
        LoadRequest {
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
        request: &LoadRequest,
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
            match self.decide_join(&flight, request, horizon, standing) {
                JoinDecision::Join => {
                    let waker = self.join(&flight, request, rank);
                    drop(shard);
                    user_code::wake(waker.into_iter()); // with the lock released
                    return Ok(Start::Joined(flight));
                }
                // One load at a time: a load of its own for each call would be as many as there
                // are calls.
                JoinDecision::WaitForNext => {
                    let turn = request.queued.unwrap_or_else(|| shard.last_turn());
                    // It gets no more time, but goes ahead if this caller may not wait for permits.
                    let waker = flight.join(flight.noted.read, rank);
                    drop(shard);
                    user_code::wake(waker.into_iter()); // with the lock released
                    return Ok(Start::Queued(flight, turn));
                }
                JoinDecision::Displace => voided = Some(shard.close(&flight)),
                // Its task has not noticed yet that it is late.
                JoinDecision::Overdue => voided = Some(shard.make_overdue(&flight)),
            }
        }

        // Under the lock: a load that landed since L2 was read has filled it, and one that lands
        // later is joined above.
        let look_again = request.why == Why::Miss && !removed(Step::StartLooksAgain);
        if look_again && self.is_live(key, request, horizon) {
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
        let due = limit(noted.read, request.terms.deadline);
        let of = ValueType::of::<V>();
        let began = (request.why, shard.next_turn());
        let flight = Flight::new(key.clone(), noted, of, allowed, began, due, rank);
        let flight = Arc::new(flight);
        shard.start(Arc::clone(&flight));
        drop(shard);

        drop(voided); // with the lock released: this may end a task
        Ok(Start::Own(flight))
    }

    fn decide_join(
        &self,
        flight: &Flight,
        request: &LoadRequest,
        horizon: Horizon,
        standing: Standing,
    ) -> JoinDecision {
        if !self.node.is_ahead(flight.due()) {
            return JoinDecision::Overdue;
        }

        match request.why {
            Why::Reload => return JoinDecision::Displace,
            Why::Miss | Why::Renew | Why::Refresh => {}
        }
        let read = flight.noted.read;
        let own = limit(read, request.staleness);

        // Nothing voids what may not be kept, on a node that others may have given up: a receipt
        // may have been resolved since the load began, and this call came later. Unless it came
        // earlier, and has waited since.
        if (flight.allowed, standing) == (Allowed::Never, Standing::GivenUp) {
            let waited = request.queued.is_some_and(|turn| turn < flight.turn);
            let waited = waited || removed(Step::QueuedJoinLater);
            return match waited && self.node.is_ahead(own) {
                true => JoinDecision::Join,
                // Waiting would lead to nothing.
                false if self.node.refuses_loads(horizon) => JoinDecision::Displace,
                false if removed(Step::LaterCallersQueue) => JoinDecision::Displace,
                false => JoinDecision::WaitForNext,
            };
        }

        match self.node.is_ahead(own.min(horizon.until(read))) {
            true => JoinDecision::Join,
            false => JoinDecision::Displace,
        }
    }

    /// Adds a caller to a flight. Called under the shard's lock; the returned waker is woken
    /// without it.
    fn join(&self, flight: &Flight, request: &LoadRequest, rank: Rank) -> Option<std::task::Waker> {
        match request.why {
            Why::Refresh => None, // it waits for nothing
            Why::Renew | Why::Reload => {
                flight.make_replace();
                flight.join(limit(flight.noted.read, request.terms.deadline), rank)
            }
            Why::Miss => flight.join(limit(flight.noted.read, request.terms.deadline), rank),
        }
    }

    fn is_live(&self, key: &CacheKey, request: &LoadRequest, horizon: Horizon) -> bool {
        let is_live = |times: &Times, _: &[Tag]| {
            let fresh = limit(times.read, request.staleness).min(horizon.until(times.read));
            self.node.is_ahead(times.expires.min(fresh))
        };
        let key = self.named.key_ref(key);
        self.node.level2.inspect(&key, is_live).unwrap_or(false)
    }

    /// Runs the load of one flight.
    pub(crate) fn run<V: Cacheable>(
        &self,
        flight: &Arc<Flight>,
        request: &LoadRequest,
        tags: Option<&Arc<[Tag]>>,
        load: impl Load<V>,
    ) {
        let flights = vec![Arc::clone(flight)];
        let tags = tags.cloned();
        self.spawn(flights, request.terms, tags, request.why, || single(load));
    }

    /// Loads an entry again in the background, unless that is being done.
    pub(crate) fn refresh<V: Cacheable>(
        &self,
        key: &CacheKey,
        terms: Terms,
        tags: Option<&Arc<[Tag]>>,
        load: impl Load<V>,
    ) {
        let request = LoadRequest {
            why: Why::Refresh,
            terms,
            staleness: Ttl::Never,
            queued: None,
        };

        // An error (another type, or no proof) is not reported here: the caller has its value, and
        // the next caller that needs a load gets the error.
        if let Ok(Start::Own(flight)) = self.start::<V>(key, &request) {
            self.named.counters.refreshes.add(1);
            self.run(&flight, &request, tags, load);
        }
    }

    /// Returns what a caller gets from a flight that has landed. `None` means that the caller must
    /// ask again: a tag of the value was invalidated after the load began and before the caller
    /// came; the value of another caller's load is no longer valid; or the load was ended without a
    /// result, and the caller has time left.
    pub(crate) fn arrived<V, W, M>(
        &self,
        form: &M,
        joined: &JoinedFlight,
        landed: Landed,
        terms: &Terms,
    ) -> Result<Option<Answered<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let (began, noted) = (joined.flight.noted.number, joined.noted);
        match landed {
            Landed::Ended => Ok(None),
            // Its value might have carried any tag that was invalidated since it began.
            Landed::Failed(_) if noted > began && self.named.tags.lock().latest() > began => {
                Ok(None)
            }
            Landed::Failed(error) => {
                match self.serve_stale::<V, W, M>(&joined.flight.key, form, terms)? {
                    Some(entry) => Ok(Some(entry)),
                    None => Err(error),
                }
            }
            Landed::Value(answer)
                if noted >= answer.not_from && !removed(Step::LateCallersAskAgain) =>
            {
                Ok(None)
            }
            // A caller takes the value of its own load even so: it has no other load to start.
            Landed::Value(answer)
                if joined.outcome == Outcome::Joined && !self.node.is_ahead(answer.ends) =>
            {
                Ok(None)
            }
            Landed::Value(answer) => self.take::<V, W, M>(form, joined, answer).map(Some),
        }
    }

    fn take<V, W, M>(
        &self,
        form: &M,
        joined: &JoinedFlight,
        answer: Answer,
    ) -> Result<Answered<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let key = &joined.flight.key;
        let read = joined.flight.noted.read;
        let horizon = self.node.horizon();

        // Its type was compared when the flight was joined.
        let shared = (answer.value.map(|value| typed::<V>(value, key))).transpose()?;
        let value = match answer.filled {
            Some(expires) => {
                let meta = EntryMeta {
                    number: joined.noted,
                    expires: expires.min(horizon.until(answer.since)),
                    read,
                    weight: answer.weight,
                };
                let promote = self.promotes();
                self.promote(key, form, shared, meta, promote)?
            }
            None => self.shared(key, form, shared)?,
        };
        Ok(Answered {
            value,
            outcome: joined.outcome,
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
