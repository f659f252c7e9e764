//! Async handlers: a queue of their own, and a task that runs so many at a time.

use std::{
    collections::{HashMap, VecDeque, hash_map::DefaultHasher},
    fmt,
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tidings_core::Cause;
use tokio::runtime::Handle;
use tracing::Instrument;

use super::{Listen, Removal, type_name_of};
use crate::{
    api::registration::Registration,
    channel::core::ChannelCore,
    delivery::queue::{
        Outlet, Overflow, Received, SubscribeOptions,
        bounded::{Awaited, Bounded, Taken},
    },
    error::RegisterError,
    event::{
        dynamic::Event,
        handler::{HandlerInfo, Mortal, Outcome},
    },
    route::run::{failed, handler_span, panicked},
};

/// How an async handler runs.
#[must_use]
pub struct AsyncOptions<T> {
    concurrency: usize,
    capacity: usize,
    key: Option<Key<T>>,
}

type Key<T> = Arc<dyn Fn(&T) -> u64 + Send + Sync>;

impl<T: Event> AsyncOptions<T> {
    /// One call at a time, in order; 1024 events may wait.
    pub fn new() -> Self {
        Self {
            concurrency: 1,
            capacity: 1024,
            key: None,
        }
    }

    /// So many calls at a time, per channel listened to; without [`ordered_by`](Self::ordered_by) in no order.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// How many events may wait; beyond that the newest are left out, counted and logged as a gap.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Events of the same key are handled one after the other, in order, however many calls run.
    pub fn ordered_by<K: Hash>(mut self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(move |event| {
            let mut hasher = DefaultHasher::new();
            key(event).hash(&mut hasher);
            hasher.finish()
        }));
        self
    }
}

impl<T: Event> Default for AsyncOptions<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for AsyncOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncOptions")
            .field("concurrency", &self.concurrency)
            .field("capacity", &self.capacity)
            .field("ordered", &self.key.is_some())
            .finish()
    }
}

impl Listen<'_> {
    /// Registers an async handler. It has a queue of its own and runs as a task of a tokio runtime, so posting
    /// does not wait for it; [`Delivery::handled`](crate::Delivery::handled) does. A handler that waits for the
    /// delivery of an event that it has to handle itself waits until the deadline.
    ///
    /// When the registration is dropped no call begins any more; calls under way go on to their end.
    ///
    /// # Errors
    ///
    /// A channel is unknown, carries another type or is a wildcard; an option is out of range; there is no
    /// runtime.
    pub fn register_async<T, R, F>(
        self,
        options: AsyncOptions<T>,
        handler: impl Fn(Received<T>) -> F + Send + Sync + 'static,
    ) -> Result<Registration, RegisterError>
    where
        T: Event,
        R: Outcome + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let resolved = self
            .names
            .iter()
            .map(|(source, event)| self.bus.resolve_typed::<T>(source, event))
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=1 << 16).contains(&options.concurrency) {
            return Err(RegisterError::OutOfRange {
                option: "concurrency",
                value: options.concurrency,
                least: 1,
                most: 1 << 16,
            });
        }
        let name = self.name.as_deref().unwrap_or(type_name_of(&handler));
        let queue_options = SubscribeOptions::new()
            .capacity(options.capacity)
            .overflow(Overflow::DropNewest)
            .named(name);
        queue_options.check()?;
        let runtime = match &self.bus.inner.hub.settings.runtime {
            Some(runtime) => runtime.clone(),
            None => Handle::try_current().map_err(|_| RegisterError::NoRuntime)?,
        };
        let info = self.info(
            type_name_of(&handler),
            resolved
                .iter()
                .map(|(pattern, _)| pattern.clone())
                .collect(),
        );
        self.bus.inner.hub.describe(Arc::clone(&info), None);
        let handler: Handler<T> = Arc::new(move |event| {
            let call = handler(event);
            Box::pin(call.map(Outcome::into_result))
        });
        let mut queues = Vec::new();
        for (pattern, core) in &resolved {
            let queue = core.make_bounded(pattern.operation(), queue_options.clone());
            let queue = Arc::new(queue.awaited());
            core.add_outlet(Arc::clone(&queue) as _);
            queues.push((Arc::clone(&queue), Arc::downgrade(core)));
            let driver = Driver {
                queue: Queue(queue),
                handler: Arc::clone(&handler),
                info: Arc::clone(&info),
                removal: Removal::new(self.bus, &info, self.owner.clone()),
                concurrency: options.concurrency,
                key: options.key.clone(),
                running: FuturesUnordered::new(),
                behind: HashMap::new(),
                waiting: 0,
            };
            runtime.spawn(driver.run());
        }
        let ending: Arc<dyn Mortal + Send + Sync> = Arc::new(Ending { info, queues });
        Ok(Registration::new(ending, Vec::new(), self.bus.downgrade()))
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), crate::BoxError>> + Send>>;
type Handler<T> = Arc<dyn Fn(Received<T>) -> Call + Send + Sync>;

/// A queue and the channel that feeds it.
type QueueOf<T> = (Arc<Bounded<T>>, Weak<ChannelCore<T>>);

/// What a registration ends.
struct Ending<T: Event> {
    info: Arc<HandlerInfo>,
    queues: Vec<QueueOf<T>>,
}

impl<T: Event> Mortal for Ending<T> {
    fn kill(&self) -> bool {
        for (queue, core) in &self.queues {
            queue.leave();
            queue.close(); // wakes the driver, which ends
            if let Some(core) = core.upgrade() {
                core.remove_outlet(queue.serial());
            }
        }
        true
    }

    fn info(&self) -> &Arc<HandlerInfo> {
        &self.info
    }
}

/// Gives the queue up when its driver ends, also when a runtime drops it.
struct Queue<T: Event>(Arc<Bounded<T>>);

impl<T: Event> Drop for Queue<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Takes events out of the queue and runs so many calls at a time.
struct Driver<T: Event> {
    queue: Queue<T>,
    handler: Handler<T>,
    info: Arc<HandlerInfo>,
    removal: Removal,
    concurrency: usize,
    key: Option<Key<T>>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Option<u64>> + Send>>>,
    /// Events whose key is being handled; an entry, perhaps empty, for each such key.
    behind: HashMap<u64, VecDeque<Awaited<T>>>,
    /// How many events `behind` holds: at most three times the concurrency, so that one busy key does not pull
    /// the whole queue in here.
    waiting: usize,
}

impl<T: Event> Driver<T> {
    async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let closed = self.take_events(context);
            match self.running.poll_next_unpin(context) {
                Poll::Ready(Some(key)) => self.next_of(key),
                Poll::Ready(None) if closed => return Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Starts what may be started; whether no more can come.
    fn take_events(&mut self, context: &mut Context<'_>) -> bool {
        while self.running.len() < self.concurrency && self.waiting < 3 * self.concurrency {
            match self.queue.0.next() {
                Taken::Event(event) => self.start_or_wait(Awaited(event)),
                Taken::Missed(missed) => {
                    tracing::warn!(
                        handler = &*self.info.name,
                        missed,
                        "an async handler's queue was full"
                    );
                }
                Taken::Closed => return true,
                Taken::Empty => {
                    if self.queue.0.sleep(context.waker()).is_pending() {
                        return false;
                    }
                }
            }
        }
        false
    }

    fn start_or_wait(&mut self, event: Awaited<T>) {
        let key = self.key.as_ref().map(|key| key(&event.0.stored().payload));
        match key.map(|key| self.behind.entry(key)) {
            Some(std::collections::hash_map::Entry::Occupied(mut behind)) => {
                self.waiting += 1;
                behind.get_mut().push_back(event);
            }
            Some(std::collections::hash_map::Entry::Vacant(free)) => {
                free.insert(VecDeque::new());
                self.start(event, key);
            }
            None => self.start(event, None),
        }
    }

    /// A call of this key has ended: the next one begins.
    fn next_of(&mut self, key: Option<u64>) {
        let Some(key) = key else { return };
        match self.behind.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(event) => {
                self.waiting -= 1;
                self.start(event, Some(key));
            }
            None => {
                self.behind.remove(&key);
            }
        }
    }

    fn start(&mut self, event: Awaited<T>, key: Option<u64>) {
        let owner = match self.removal.owner() {
            Ok(owner) => owner,
            Err(_) => {
                self.queue.0.leave();
                return;
            }
        };
        let handler = Arc::clone(&self.handler);
        let info = Arc::clone(&self.info);
        let received = Received::new(Arc::clone(&event.0));
        let meta = event.0.meta();
        let cause = meta.cause();
        let span = meta
            .span()
            .in_scope(|| handler_span(&info, &event.0.core().info));
        let call = async move {
            // Made inside, so that a panic before the first await is caught too.
            let call = AssertUnwindSafe(async move { handler(received).await }).catch_unwind();
            match call.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed(&info, &event.0.core().info, &*error),
                Err(panic) => panicked(&info, &event.0.core().info, panic),
            }
            drop((owner, event));
            key
        };
        self.running
            .push(Box::pin(under(cause, call.instrument(span))));
    }
}

/// Enters the cause at each poll.
async fn under<F: Future>(cause: Option<Cause>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _cause = cause.map(Cause::enter);
        future.as_mut().poll(context)
    })
    .await
}
