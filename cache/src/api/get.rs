//! The future of a `get`, written by hand so that a hit in L1 is inlined into the code that awaits
//! it.
//!
//! An `async fn` is polled through a call that returns its answer through memory. Its caller reads
//! the answer back in other pieces than it was written in, which the processor cannot forward. With
//! the call, the drop of the future and its flags, that cost more than the lookup itself. Here the
//! path of a hit has no call but the lookup, and everything else is out of line.

use std::{
    any::Any,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Answered, Entry, Outcome},
        form::Form,
        load::Load,
    },
    engine::{
        deadlines::{Deadlines, WaitEvent},
        flight::{Flight, Landed, Wait, Why},
        load::{JoinedFlight, LoadRequest, Start},
        lookup::{Lookup, Refresh},
        node::Engine,
    },
    error::GetError,
    fence::number::Number,
    level1::table::TableLookup,
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// What a call returns: the value alone, or with how it was obtained.
pub(crate) trait Response<W> {
    type Output;

    /// Makes the result of a hit in L1.
    fn of_hit(engine: &Engine, key: &CacheKey, value: Option<Arc<W>>) -> Self::Output;

    /// Makes the result of anything but a hit in L1.
    fn of_answered(engine: &Engine, answered: Answered<W>) -> Self::Output;
}

/// The value alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueOnly;

/// The value, and how it was obtained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithOutcome;

impl<W> Response<W> for ValueOnly {
    type Output = Option<Arc<W>>;

    #[inline(always)]
    fn of_hit(_: &Engine, _: &CacheKey, value: Option<Arc<W>>) -> Self::Output {
        value
    }

    #[inline(always)]
    fn of_answered(_: &Engine, answered: Answered<W>) -> Self::Output {
        answered.value
    }
}

impl<W> Response<W> for WithOutcome {
    type Output = Entry<W>;

    fn of_hit(engine: &Engine, key: &CacheKey, value: Option<Arc<W>>) -> Self::Output {
        Self::of_answered(engine, engine.of_level1(key, value))
    }

    fn of_answered(engine: &Engine, answered: Answered<W>) -> Self::Output {
        answered.at(engine.node.now())
    }
}

/// A `get` that has not begun, waits for a load, or has ended. Nothing is looked up before the
/// first poll: a call that was made before an invalidation, and is awaited after it, sees it.
pub(crate) struct Get<'c, 'k, V, W, M, L, T> {
    engine: &'c Engine,
    key: &'k CacheKey,
    options: GetOptions,
    form: M,
    /// Taken when this call starts its load.
    load: Option<L>,
    state: State,
    of: PhantomData<TypeParameters<V, W, T>>,
}

/// The types of L2's value, of the caller's value, and of the result.
type TypeParameters<V, W, T> = fn() -> (V, W, T);

enum State {
    /// Nothing has been done.
    Ask,
    /// A load is needed: neither level has the key, or the call loads whatever is cached.
    Load(Box<PendingLoad>),
    /// The call waits for a load that it has joined, or for the end of one that it could not join.
    Wait(Box<PendingLoad>, Option<JoinedFlight>, Wait),
    Done,
}

/// A call that needs a load.
struct PendingLoad {
    request: LoadRequest,
    noted: Number,
    deadlines: Deadlines,
}

impl<'c, 'k, V, W, M, L, T> Get<'c, 'k, V, W, M, L, T> {
    #[inline(always)]
    pub(crate) fn new(
        engine: &'c Engine,
        key: &'k CacheKey,
        options: GetOptions,
        form: M,
        load: L,
        _: T,
    ) -> Self {
        Self {
            engine,
            key,
            options,
            form,
            load: Some(load),
            state: State::Ask,
            of: PhantomData,
        }
    }

    /// Makes the call load, whatever is cached.
    pub(crate) fn loading(mut self, why: Why) -> Self {
        let noted = self.engine.node.sequence.current();
        self.state = State::Load(Box::new(self.pending(why, noted)));
        self
    }

    fn pending(&self, why: Why, noted: Number) -> PendingLoad {
        self.engine.count_miss();
        let request = self.engine.load_request(why, &self.options);
        PendingLoad {
            noted,
            deadlines: Deadlines::new(&self.engine.node.clock, &request.terms),
            request,
        }
    }
}

/// Nothing in it is pinned.
impl<V, W, M, L, T> Unpin for Get<'_, '_, V, W, M, L, T> {}

impl<V, W, M, L, T> Future for Get<'_, '_, V, W, M, L, T>
where
    V: Cacheable,
    W: Any + Send + Sync,
    M: Form<V, W>,
    L: Load<V>,
    T: Response<W>,
{
    type Output = Result<T::Output, GetError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Ask = &this.state
            && !this.options.bounds_staleness()
        {
            if let Err(error) = this.options.check(&this.engine.named.settings.terms) {
                return Poll::Ready(Err(GetError::options(this.key, error)));
            }

            match this.engine.level1(this.key) {
                TableLookup::Hit(value) => {
                    return Poll::Ready(Ok(T::of_hit(this.engine, this.key, value)));
                }
                TableLookup::Touch(value) => {
                    this.engine.touch(this.key);
                    return Poll::Ready(Ok(T::of_hit(this.engine, this.key, value)));
                }
                TableLookup::Miss => {}
            }
        }

        let engine = this.engine;
        this.poll_below(context)
            .map_ok(|answered| T::of_answered(engine, answered))
    }
}

impl<V, W, M, L, T> Get<'_, '_, V, W, M, L, T>
where
    V: Cacheable,
    W: Any + Send + Sync,
    M: Form<V, W>,
    L: Load<V>,
{
    /// Answers without a lookup in L1: the caller has looked in a table of its own there.
    pub(crate) async fn below(mut self) -> Result<Option<Arc<W>>, GetError> {
        let answered = poll_fn(|context| self.poll_below(context)).await;
        answered.map(|answered| answered.value)
    }

    /// Looks the key up in L2, and waits for a load if L2 does not have it.
    #[inline(never)]
    fn poll_below(&mut self, context: &mut Context<'_>) -> Poll<Result<Answered<W>, GetError>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Ask => {
                    // Checked already, unless the call bounds staleness and so skipped L1.
                    if let Err(error) = self.options.check(&self.engine.named.settings.terms) {
                        return Poll::Ready(Err(GetError::options(self.key, error)));
                    }

                    let engine = self.engine;
                    let lookup =
                        engine.lookup_level2::<V, W, M>(self.key, &self.form, &self.options)?;
                    match self.found(lookup) {
                        Ok(answered) => return Poll::Ready(Ok(answered)),
                        Err(noted) => State::Load(Box::new(self.pending(Why::Miss, noted))),
                    }
                }
                State::Load(mut pending) => match self.start(&mut pending)? {
                    Some((joined, wait)) => State::Wait(pending, joined, wait),
                    // Filled in the meantime, unless it was evicted or invalidated since.
                    None => {
                        let engine = self.engine;
                        let lookup =
                            engine.lookup::<V, W, M>(self.key, &self.form, &self.options)?;
                        match self.found(lookup) {
                            Ok(answered) => return Poll::Ready(Ok(answered)),
                            Err(noted) => {
                                pending.noted = noted;
                                State::Load(pending)
                            }
                        }
                    }
                },
                State::Wait(mut pending, joined, mut wait) => {
                    let Poll::Ready(event) = pending.deadlines.poll(&mut wait, context) else {
                        self.state = State::Wait(pending, joined, wait);
                        return Poll::Pending;
                    };

                    match self.after_wait(event, &pending, joined.as_ref())? {
                        Next::Answer(answered) => return Poll::Ready(Ok(answered)),
                        Next::Wait => State::Wait(pending, joined, wait),
                        Next::Again => {
                            pending.noted = self.engine.node.sequence.current();
                            State::Load(pending)
                        }
                    }
                }
                State::Done => panic!("a get was polled after it had answered"),
            };
        }
    }

    /// Decides what a caller that has waited does next.
    fn after_wait(
        &self,
        event: WaitEvent,
        pending: &PendingLoad,
        joined: Option<&JoinedFlight>,
    ) -> Result<Next<W>, GetError> {
        let terms = &pending.request.terms;
        let stale = || {
            self.engine
                .serve_stale::<V, W, M>(self.key, &self.form, terms)
        };
        match event {
            WaitEvent::Landed(landed) => {
                let engine = self.engine;
                if let Some(joined) = joined
                    && let Some(answered) =
                        engine.arrived::<V, W, M>(&self.form, joined, landed, terms)?
                {
                    return Ok(Next::Answer(answered));
                }

                // The call asks again, if it has a load left to start, and time for it.
                if self.load.is_some() && !pending.deadlines.is_over() {
                    return Ok(Next::Again);
                }
            }
            WaitEvent::LoadOverdue => return Ok(Next::Again),
            WaitEvent::SoftDeadline => return Ok(stale()?.map_or(Next::Wait, Next::Answer)),
            WaitEvent::Deadline => {}
        }

        if let Some(answered) = stale()? {
            return Ok(Next::Answer(answered));
        }
        self.engine.named.counters.late_calls.add(1);
        let now = self.engine.node.now();
        Err(GetError::late(self.key, now.since(pending.deadlines.began)))
    }

    /// Returns the entry of a hit, and starts a refresh if one is due; or else the number that was
    /// noted.
    fn found(&mut self, lookup: Lookup<W>) -> Result<Answered<W>, Number> {
        match lookup {
            Lookup::Hit { entry, refresh } => {
                if refresh == Refresh::Due
                    && let Some(load) = self.load.take()
                {
                    let terms = self.engine.terms(&self.options);
                    let tags = self.options.tag_list();
                    self.engine.refresh(self.key, terms, tags, load);
                }
                Ok(entry)
            }
            Lookup::Miss { noted } => Err(noted),
        }
    }

    /// Joins the key's flight, starts one, or waits for the end of one that it cannot join; `None`
    /// if another load has filled L2.
    fn start(
        &mut self,
        pending: &mut PendingLoad,
    ) -> Result<Option<(Option<JoinedFlight>, Wait)>, GetError> {
        let noted = pending.noted;
        let joined = |flight: Arc<Flight>, outcome| {
            let wait = Arc::clone(&flight).wait();
            let joined = JoinedFlight {
                flight,
                outcome,
                noted,
            };
            (Some(joined), wait)
        };

        match self.engine.start::<V>(self.key, &pending.request)? {
            Start::Filled => Ok(None),
            Start::Queued(flight, turn) => {
                pending.request.queued = Some(turn);
                pending.deadlines.end_wait_at(flight.due());
                Ok(Some((None, flight.wait())))
            }
            Start::Joined(flight) => {
                self.engine.named.counters.joined.add(1);
                Ok(Some(joined(flight, Outcome::Joined)))
            }
            Start::Own(flight) => {
                let request = &pending.request;
                // A caller comes here again only with its load in hand, or after a load of its own.
                // That load noted its number after the caller did, so no tag sends the caller back.
                let Some(load) = self.load.take() else {
                    let error = GetError::stopped(self.key);
                    let landed = Landed::Failed(error.clone());
                    self.engine.fail(&flight, &request.terms, landed);
                    return Err(error);
                };

                self.engine
                    .run(&flight, request, self.options.tag_list(), load);
                Ok(Some(joined(flight, Outcome::Loaded)))
            }
        }
    }
}

/// What a caller does next.
enum Next<W> {
    Answer(Answered<W>),
    /// Goes on waiting.
    Wait,
    /// Joins or starts another load.
    Again,
}
