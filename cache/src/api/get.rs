//! The future of a `get`, written by hand so that a hit in L1 is inlined into the code that awaits it.
//!
//! An `async fn` is polled through a call that returns its answer by memory, and its caller reads it back in other
//! pieces than it was written in, which the processor cannot forward: that, with the call, the drop of the future and
//! its flags, cost more than the lookup itself. Here the way of a hit has no call but the lookup's, and all else is
//! out of line.

use std::{
    any::Any,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Entry, Outcome},
        form::Form,
        load::Load,
    },
    engine::{
        flight::{Wait, Why},
        load::{Share, Start},
        lookup::{Look, Refresh},
        node::Engine,
    },
    error::GetError,
    fence::number::Number,
    level1::table::Found,
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// What a caller wants to be told.
pub(crate) trait Telling<W> {
    type Told;

    fn tell(entry: Entry<W>) -> Self::Told;
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
    fn tell(entry: Entry<W>) -> Self::Told {
        entry.value
    }
}

impl<W> Telling<W> for WithOutcome {
    type Told = Entry<W>;

    #[inline(always)]
    fn tell(entry: Entry<W>) -> Self::Told {
        entry
    }
}

/// A `get` that was not begun, waits for a load, or has ended. Nothing is looked at before the first poll: a call that
/// was made before an invalidation and is awaited after it sees it.
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

/// What L2 holds, what the caller gets, and what it is told besides.
type Of<V, W, T> = fn() -> (V, W, T);

enum Step {
    /// Nothing was done.
    Ask,
    /// Both levels were found without the key, or are not asked.
    Load(Why, Number),
    Wait(Why, Share, Wait),
    Done,
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
    pub(crate) fn renewing(mut self) -> Self {
        self.step = Step::Load(Why::Renew, self.engine.node.sequence.current());
        self
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
        if let Step::Ask = &this.step {
            if let Err(error) = this.options.check(&this.engine.named.settings.terms) {
                return Poll::Ready(Err(error.into()));
            }
            let outcome = Outcome::L1;
            match this.engine.level1(this.key) {
                Found::Hit(value) => return Poll::Ready(Ok(T::tell(Entry { value, outcome }))),
                Found::Touch(value) => {
                    this.engine.touch(this.key);
                    return Poll::Ready(Ok(T::tell(Entry { value, outcome })));
                }
                Found::Miss => {}
            }
        }
        this.poll_below(context).map_ok(T::tell)
    }
}

impl<V, W, M, L, T> Get<'_, '_, V, W, M, L, T>
where
    V: Cacheable,
    W: Any + Send + Sync,
    M: Form<V, W>,
    L: Load<V>,
{
    /// Looks into L2, and waits for a load where that has nothing.
    #[inline(never)]
    fn poll_below(&mut self, context: &mut Context<'_>) -> Poll<Result<Entry<W>, GetError>> {
        loop {
            self.step = match &mut self.step {
                Step::Ask => {
                    let look = self.engine.look_level2::<V, W, M>(self.key, &self.form)?;
                    match self.found(look) {
                        Ok(entry) => return Poll::Ready(Ok(entry)),
                        Err(noted) => {
                            self.engine.count_miss();
                            Step::Load(Why::Miss, noted)
                        }
                    }
                }
                Step::Load(why, noted) => {
                    let (why, noted) = (*why, *noted);
                    match self.start(why, noted)? {
                        Some(share) => {
                            let wait = Arc::clone(&share.flight).wait();
                            Step::Wait(why, share, wait)
                        }
                        // Filled by now; unless it was evicted or invalidated since.
                        None => {
                            let look = self.engine.look::<V, W, M>(self.key, &self.form)?;
                            match self.found(look) {
                                Ok(entry) => return Poll::Ready(Ok(entry)),
                                Err(noted) => Step::Load(why, noted),
                            }
                        }
                    }
                }
                Step::Wait(why, share, wait) => {
                    let landed = ready!(Pin::new(wait).poll(context));
                    let arrived = self.engine.arrived::<V, W, M>(&self.form, share, landed);
                    let why = *why;
                    self.step = Step::Done;
                    match arrived? {
                        Some(entry) => return Poll::Ready(Ok(entry)),
                        None => Step::Load(why, self.engine.node.sequence.current()),
                    }
                }
                Step::Done => panic!("a get was polled after it had answered"),
            };
        }
    }

    /// Returns what a lookup found, and has it loaded again if it asks for that; else the number that was noted.
    fn found(&mut self, look: Look<W>) -> Result<Entry<W>, Number> {
        match look {
            Look::Found { entry, refresh } => {
                if refresh == Refresh::Due
                    && let Some(load) = self.load.take()
                {
                    self.engine.refresh(self.key, &self.options, load);
                }
                Ok(entry)
            }
            Look::Missing { noted } => Err(noted),
        }
    }

    /// Joins the key's flight or starts it; `None` if L2 was filled by another.
    fn start(&mut self, why: Why, noted: Number) -> Result<Option<Share>, GetError> {
        let (flight, outcome) = match self.engine.start::<V>(self.key, why)? {
            Start::Filled => return Ok(None),
            Start::Joined(flight) => {
                self.engine.named.counters.joined.add(1);
                (flight, Outcome::Joined)
            }
            Start::Own(flight) => {
                // A caller that starts a load has a number that no tag's invalidation can exceed before the load began, so
                // it never comes round again, and the loader is there.
                let Some(load) = self.load.take() else {
                    let terms = self.engine.terms(&self.options);
                    self.engine.fail(&flight, &terms, GetError::Stopped);
                    return Err(GetError::Stopped);
                };
                self.engine.run(&flight, &self.options, why, load);
                (flight, Outcome::Loaded)
            }
        };
        Ok(Some(Share {
            flight,
            outcome,
            noted,
        }))
    }
}
