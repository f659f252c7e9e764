//! The future of a `get`, written by hand so that a hit in L1 is inlined into whoever awaits it.
//!
//! An `async fn` is polled through a call that returns its answer by memory, and its caller reads it back in other
//! pieces than it was written in, which the processor cannot forward: that, with the call, the drop of the future and
//! its flags, cost more than the look-up itself. Here the way of a hit has no call but the look-up's, and all else is
//! out of line.

use std::{
    any::Any,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tidings_core::CacheKey;

use crate::{
    answer::form::Form,
    answer::loaded::Loaded,
    api::cache::{Cache, Entry, Look, Outcome},
    error::{BoxError, GetError},
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

/// The value, and how it was come by.
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
///
/// `S` starts to wait for a load, and `P` waits. They are parameters because that future borrows the cache and the key,
/// whose lifetimes a boxed `dyn Future` would have to make one: then a caller could not return ours as `impl Future`.
pub(crate) struct Get<'c, 'k, V, W, M, F, T, S, P> {
    cache: &'c Cache,
    key: &'k CacheKey,
    step: Step<M, F, S, P>,
    of: PhantomData<Of<V, W, T>>,
}

/// What L2 holds, what the caller gets, and what he is told besides.
type Of<V, W, T> = fn() -> (V, W, T);

enum Step<M, F, S, P> {
    Ask(Ask<M, F, S>),
    Wait(Pin<Box<P>>),
    Done,
}

struct Ask<M, F, S> {
    options: GetOptions,
    form: M,
    load: F,
    start: S,
}

impl<'c, 'k, V, W, M, F, T, S, P> Get<'c, 'k, V, W, M, F, T, S, P>
where
    S: FnOnce(&'c Cache, &'k CacheKey, GetOptions, M, F, u64) -> P,
{
    #[inline(always)]
    pub(crate) fn new(
        cache: &'c Cache,
        key: &'k CacheKey,
        options: GetOptions,
        form: M,
        load: F,
        _: T,
        start: S,
    ) -> Self {
        let ask = Ask {
            options,
            form,
            load,
            start,
        };
        Self {
            cache,
            key,
            step: Step::Ask(ask),
            of: PhantomData,
        }
    }
}

/// Nothing in it is pinned: what waits for the load is in a box of its own.
impl<V, W, M, F, T, S, P> Unpin for Get<'_, '_, V, W, M, F, T, S, P> {}

impl<'c, 'k, V, W, M, F, Fut, L, E, T, S, P> Future for Get<'c, 'k, V, W, M, F, T, S, P>
where
    V: Cacheable,
    W: Any + Send + Sync,
    M: Form<V, W>,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<L, E>> + Send + 'static,
    L: Into<Loaded<V>>,
    E: Into<BoxError>,
    T: Telling<W>,
    S: FnOnce(&'c Cache, &'k CacheKey, GetOptions, M, F, u64) -> P,
    P: Future<Output = Result<Entry<W>, GetError>>,
{
    type Output = Result<T::Told, GetError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Ask(ask) = &this.step {
            if let Err(error) = ask.options.check(&this.cache.named.settings.terms) {
                return Poll::Ready(Err(error.into()));
            }
            let outcome = Outcome::L1;
            match this.cache.level1(this.key) {
                Found::Hit(value) => return Poll::Ready(Ok(T::tell(Entry { value, outcome }))),
                Found::Touch(value) => {
                    this.cache.touch(this.key);
                    return Poll::Ready(Ok(T::tell(Entry { value, outcome })));
                }
                Found::Miss => {}
            }
        }
        this.poll_below(context).map_ok(T::tell)
    }
}

impl<'c, 'k, V, W, M, F, T, S, P> Get<'c, 'k, V, W, M, F, T, S, P>
where
    V: Cacheable,
    W: Any + Send + Sync,
    S: FnOnce(&'c Cache, &'k CacheKey, GetOptions, M, F, u64) -> P,
    P: Future<Output = Result<Entry<W>, GetError>>,
{
    /// Looks into L2, and waits for a load where that has nothing.
    #[inline(never)]
    fn poll_below<Fut, L, E>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Entry<W>, GetError>>
    where
        M: Form<V, W>,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let (cache, key) = (self.cache, self.key);
        if let Step::Ask(_) = &self.step
            && let Step::Ask(ask) = std::mem::replace(&mut self.step, Step::Done)
        {
            let Ask {
                options,
                form,
                load,
                start,
            } = ask;
            match cache.look_level2(key, &form)? {
                Look::Found { entry, refresh } => {
                    if refresh {
                        cache.refresh(key, &options, load);
                    }
                    return Poll::Ready(Ok(entry));
                }
                Look::Missing { noted } => {
                    let load = start(cache, key, options, form, load, noted);
                    self.step = Step::Wait(Box::pin(load));
                }
            }
        }
        match &mut self.step {
            Step::Wait(load) => {
                let polled = load.as_mut().poll(context);
                if polled.is_ready() {
                    self.step = Step::Done;
                }
                polled
            }
            Step::Ask(_) | Step::Done => panic!("a get was polled after it had answered"),
        }
    }
}
