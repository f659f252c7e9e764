//! The future of a `get`, written by hand so that a hit in L1 is inlined into the code that awaits
//! it.
//!
//! An `async fn` is polled through a call that returns its answer by memory, and its caller reads
//! it back in other pieces than it was written in, which the processor cannot forward: that, with
//! the call, the drop of the future and its flags, cost more than the lookup itself. Here the way
//! of a hit has no call but the lookup's, and all else is out of line.

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
        load::{Demand, Share, Start},
        lookup::{Lookup, Refresh},
        node::Engine,
    },
    error::GetError,
    fence::number::Number,
    level1::table::TableLookup,
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// The form of the answer that a caller wants.
pub(crate) trait Telling<W> {
    type Told;

    /// Makes the answer for a hit in L1.
    fn hit(engine: &Engine, key: &CacheKey, value: Option<Arc<W>>) -> Self::Told;

    /// Makes the answer for anything but a hit in L1.
    fn tell(engine: &Engine, answered: Answered<W>) -> Self::Told;
}

/// The value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

/// The value, and how it was obtained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithOutcome;

impl<W> Telling<W> for Plain {
    type Told = Option<Arc<W>>;

    #[inline(always)]
    fn hit(_: &Engine, _: &CacheKey, value: Option<Arc<W>>) -> Self::Told {
        value
    }

    #[inline(always)]
    fn tell(_: &Engine, answered: Answered<W>) -> Self::Told {
        answered.value
    }
}

impl<W> Telling<W> for WithOutcome {
    type Told = Entry<W>;

    fn hit(engine: &Engine, key: &CacheKey, value: Option<Arc<W>>) -> Self::Told {
        Self::tell(engine, engine.of_level1(key, value))
    }

    fn tell(engine: &Engine, answered: Answered<W>) -> Self::Told {
        answered.at(engine.node.now())
    }
}

/// A `get` that was not begun, waits for a load, or has ended. Nothing is looked at before the
/// first poll: a call that was made before an invalidation and is awaited after it sees it.
pub(crate) struct Get<'c, 'k, V, W, M, L, T> {
    engine: &'c Engine,
    key: &'k CacheKey,
    options: GetOptions,
    form: M,
    /// Taken by the load that this call starts.
    load: Option<L>,
    step: Step,
    of: PhantomData<Of<V, W, T>>,
}

/// The types of what L2 holds, of what the caller gets, and of the form of its answer.
type Of<V, W, T> = fn() -> (V, W, T);

enum Step {
    /// Nothing was done.
    Ask,
    /// A load is wanted: both levels were found without the key, or are not asked.
    Load(Box<Wanted>),
    /// It waits for a load that it has a share in, or for the end of one that it could not join.
    Wait(Box<Wanted>, Option<Share>, Wait),
    Done,
}

/// What a call wants of a load.
struct Wanted {
    demand: Demand,
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
            step: Step::Ask,
            of: PhantomData,
        }
    }

    /// Loads whatever is cached.
    pub(crate) fn loading(mut self, why: Why) -> Self {
        let noted = self.engine.node.sequence.current();
        self.step = Step::Load(Box::new(self.wanted(why, noted)));
        self
    }

    fn wanted(&self, why: Why, noted: Number) -> Wanted {
        self.engine.count_miss();
        let demand = self.engine.demand(why, &self.options);
        Wanted {
            noted,
            deadlines: Deadlines::new(&self.engine.node.clock, &demand.terms),
            demand,
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
    T: Telling<W>,
{
    type Output = Result<T::Told, GetError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Ask = &this.step
            && !this.options.bounds_staleness()
        {
            if let Err(error) = this.options.check(&this.engine.named.settings.terms) {
                return Poll::Ready(Err(GetError::options(this.key, error)));
            }

            match this.engine.level1(this.key) {
                TableLookup::Hit(value) => {
                    return Poll::Ready(Ok(T::hit(this.engine, this.key, value)));
                }
                TableLookup::Touch(value) => {
                    this.engine.touch(this.key);
                    return Poll::Ready(Ok(T::hit(this.engine, this.key, value)));
                }
                TableLookup::Miss => {}
            }
        }

        let engine = this.engine;
        this.poll_below(context)
            .map_ok(|answered| T::tell(engine, answered))
    }
}

impl<V, W, M, L, T> Get<'_, '_, V, W, M, L, T>
where
    V: Cacheable,
    W: Any + Send + Sync,
    M: Form<V, W>,
    L: Load<V>,
{
    /// Answers without asking L1: the caller has a table of its own there, and has asked that.
    pub(crate) async fn below(mut self) -> Result<Option<Arc<W>>, GetError> {
        let answered = poll_fn(|context| self.poll_below(context)).await;
        answered.map(|answered| answered.value)
    }

    /// Looks into L2, and waits for a load where that has nothing.
    #[inline(never)]
    fn poll_below(&mut self, context: &mut Context<'_>) -> Poll<Result<Answered<W>, GetError>> {
        loop {
            self.step = match std::mem::replace(&mut self.step, Step::Done) {
                Step::Ask => {
                    // Checked already, unless the call bounds staleness and so did not ask L1.
                    if let Err(error) = self.options.check(&self.engine.named.settings.terms) {
                        return Poll::Ready(Err(GetError::options(self.key, error)));
                    }

                    let engine = self.engine;
                    let lookup =
                        engine.lookup_level2::<V, W, M>(self.key, &self.form, &self.options)?;
                    match self.found(lookup) {
                        Ok(answered) => return Poll::Ready(Ok(answered)),
                        Err(noted) => Step::Load(Box::new(self.wanted(Why::Miss, noted))),
                    }
                }
                Step::Load(mut wanted) => match self.start(&mut wanted)? {
                    Some((share, wait)) => Step::Wait(wanted, share, wait),
                    // Filled by now; unless it was evicted or invalidated since.
                    None => {
                        let engine = self.engine;
                        let lookup =
                            engine.lookup::<V, W, M>(self.key, &self.form, &self.options)?;
                        match self.found(lookup) {
                            Ok(answered) => return Poll::Ready(Ok(answered)),
                            Err(noted) => {
                                wanted.noted = noted;
                                Step::Load(wanted)
                            }
                        }
                    }
                },
                Step::Wait(mut wanted, share, mut wait) => {
                    let Poll::Ready(event) = wanted.deadlines.poll(&mut wait, context) else {
                        self.step = Step::Wait(wanted, share, wait);
                        return Poll::Pending;
                    };

                    match self.after_wait(event, &wanted, share.as_ref())? {
                        Next::Answer(answered) => return Poll::Ready(Ok(answered)),
                        Next::Wait => Step::Wait(wanted, share, wait),
                        Next::Again => {
                            wanted.noted = self.engine.node.sequence.current();
                            Step::Load(wanted)
                        }
                    }
                }
                Step::Done => panic!("a get was polled after it had answered"),
            };
        }
    }

    /// Decides what a caller that has waited does next.
    fn after_wait(
        &self,
        event: WaitEvent,
        wanted: &Wanted,
        share: Option<&Share>,
    ) -> Result<Next<W>, GetError> {
        let terms = &wanted.demand.terms;
        let stale = || {
            self.engine
                .serve_stale::<V, W, M>(self.key, &self.form, terms)
        };
        match event {
            WaitEvent::Landed(landed) => {
                let engine = self.engine;
                if let Some(share) = share
                    && let Some(answered) =
                        engine.arrived::<V, W, M>(&self.form, share, landed, terms)?
                {
                    return Ok(Next::Answer(answered));
                }

                // Asked again, if this call has a load left to start.
                if self.load.is_some() {
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
        Err(GetError::late(self.key, now.since(wanted.deadlines.began)))
    }

    /// Returns what a lookup found, and has it loaded again if it asks for that; else the number
    /// that was noted.
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

    /// Joins the key's flight, starts it, or waits for the end of one; `None` if L2 was filled by
    /// another.
    fn start(&mut self, wanted: &mut Wanted) -> Result<Option<(Option<Share>, Wait)>, GetError> {
        let noted = wanted.noted;
        let share = |flight: Arc<Flight>, outcome| {
            let wait = Arc::clone(&flight).wait();
            let share = Share {
                flight,
                outcome,
                noted,
            };
            (Some(share), wait)
        };

        match self.engine.start::<V>(self.key, &wanted.demand)? {
            Start::Filled => Ok(None),
            Start::Queued(flight, turn) => {
                wanted.demand.queued = Some(turn);
                wanted.deadlines.end_wait_at(flight.due());
                Ok(Some((None, flight.wait())))
            }
            Start::Joined(flight) => {
                self.engine.named.counters.joined.add(1);
                Ok(Some(share(flight, Outcome::Joined)))
            }
            Start::Own(flight) => {
                let demand = &wanted.demand;
                // A caller comes round again only with its load in hand, or after a load of its
                // own; that one's number no tag's invalidation can exceed before it began.
                let Some(load) = self.load.take() else {
                    let error = GetError::stopped(self.key);
                    let landed = Landed::Failed(error.clone());
                    self.engine.fail(&flight, &demand.terms, landed);
                    return Err(error);
                };

                self.engine
                    .run(&flight, demand, self.options.tag_list(), load);
                Ok(Some(share(flight, Outcome::Loaded)))
            }
        }
    }
}

/// What a caller does next.
enum Next<W> {
    Answer(Answered<W>),
    /// It goes on waiting.
    Wait,
    /// It joins or starts another load.
    Again,
}
