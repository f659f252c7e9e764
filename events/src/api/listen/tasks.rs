//! Async handlers: each with a queue of its own, and a task that runs a number of calls at a time.

use std::{
    collections::{HashMap, VecDeque, hash_map::DefaultHasher},
    fmt,
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    panic::{self, AssertUnwindSafe, Location},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tidings_core::{
    BoxError, Cause,
    spawn::{Spawn, TokioSpawn},
};
use tokio::task::coop;
use tracing::Instrument;

use crate::{
    api::{
        bus::{Bus, WorkerEvents},
        listen::{Listen, Removal},
        registration::{Registration, Remove},
    },
    delivery::queue::{
        bounded::{Awaited, Awaiting, Bounded, Taken},
        options::{Overflow, SubscribeOptions},
        outlet::{Outlet, OutletOwner},
        received::Received,
    },
    error::RegisterError,
    event::{
        handler::{HandlerInfo, Outcome},
        label,
        payload::Event,
    },
    isolate::{self, quietly},
    route::run::{failed, handler_span, inside, panicked},
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
    /// Starts with one call at a time, in order; 1024 events may wait.
    pub fn new() -> Self {
        Self {
            concurrency: 1,
            capacity: 1024,
            key: None,
        }
    }

    /// Sets how many calls run at a time, per channel listened to; without
    /// [`ordered_by`](Self::ordered_by) in no order.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Sets how many events may wait; beyond that the newest are left out, counted and logged as a
    /// gap.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Makes events of the same key be handled one after the other, in order, however many calls
    /// run.
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

impl WorkerEvents {
    /// Registers an async handler of the channel's type; see [`Listen::register_async`].
    ///
    /// # Errors
    ///
    /// As for [`Listen::register_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::{AsyncOptions, Received, WorkerEvents};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let options = AsyncOptions::new().concurrency(4).ordered_by(|number: &u64| number % 10);
    /// let handler = |number: Received<u64>| async move { assert_eq!(*number, 7) };
    /// bus.register_async(handler, "test", "numbers", options)?.keep();
    ///
    /// let delivery = numbers.post_async(7, Duration::from_secs(1)).await?; // does not wait for it
    /// assert!(delivery.handled(Duration::from_secs(1)).await.is_complete());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn register_async<T, R, F>(
        &self,
        handler: impl Fn(Received<T>) -> F + Send + Sync + 'static,
        source: &str,
        event: &str,
        options: AsyncOptions<T>,
    ) -> Result<Registration, RegisterError>
    where
        T: Event,
        R: Outcome + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        self.on(source, event).register_async(handler, options)
    }
}

impl Listen<'_> {
    /// Registers an async handler. It has a queue of its own and runs as a task of the bus's
    /// executor, so posting does not wait for it; [`Delivery::handled`](crate::Delivery::handled)
    /// does. Awaiting the delivery of an event this same handler must process blocks until the
    /// deadline.
    ///
    /// When the registration is dropped, no new call begins; calls in progress run to completion.
    ///
    /// # Errors
    ///
    /// A channel is unknown, carries another type or is a wildcard; an option is out of range;
    /// there is no executor.
    #[track_caller]
    pub fn register_async<T, R, F>(
        self,
        handler: impl Fn(Received<T>) -> F + Send + Sync + 'static,
        options: AsyncOptions<T>,
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

        let (source, event) = &self.names[0];
        if !(1..=1 << 16).contains(&options.concurrency) {
            return Err(RegisterError::OutOfRange {
                source_name: source.clone(),
                event: event.clone(),
                option: "concurrency",
                value: options.concurrency,
                least: 1,
                most: 1 << 16,
            });
        }

        let label = label::of_handler(&handler, Location::caller());
        let queue_options = SubscribeOptions::new()
            .capacity(options.capacity)
            .overflow(Overflow::DropNewest)
            .named(self.name.as_ref().unwrap_or(&label));
        queue_options.check(source, event)?;

        let executor: Arc<dyn Spawn> = match &self.bus.hub().settings().executor {
            Some(executor) => Arc::clone(executor),
            None => match TokioSpawn::current() {
                Ok(runtime) => Arc::new(runtime),
                Err(_) => {
                    return Err(RegisterError::NoRuntime {
                        source_name: source.clone(),
                        event: event.clone(),
                    });
                }
            },
        };

        let patterns = resolved.iter().map(|(pattern, _)| pattern.clone());
        let info = self.info(label, patterns.collect());
        let registry = self.bus.hub().registry();
        registry.describe(Arc::clone(&info), None);

        let handler: Handler<T> = Arc::new(move |event| {
            let call = handler(event);
            Box::pin(call.map(Outcome::into_result))
        });

        let awaiting = Awaiting::new(self.bus.hub().work());
        let mut queues: Vec<QueueOf> = Vec::new();
        for (pattern, core) in &resolved {
            let spec = core.queue_spec(pattern.operation(), &queue_options);
            let queue = Arc::new(Bounded::new(spec).awaited(&awaiting));
            core.add_outlet(Arc::clone(&queue) as _);
            queues.push((Arc::clone(&queue) as _, core.as_owner()));

            let driver = Driver {
                queue: Queue {
                    queue,
                    owner: core.as_owner(),
                    awaiting: Arc::clone(&awaiting),
                    info: Arc::clone(&info),
                    bus: self.bus.downgrade(),
                    ran: Ran::Underway,
                },
                handler: Arc::clone(&handler),
                info: Arc::clone(&info),
                removal: Removal::new(self.bus, &info, self.owner.clone()),
                concurrency: options.concurrency,
                key: options.key.clone(),
                running: FuturesUnordered::new(),
                behind: HashMap::new(),
                waiting: 0,
            };
            // It ends with its queue; no one else ends it.
            drop(executor.spawn(Box::pin(driver.run())));
        }

        Ok(Registration::new(Ending {
            info,
            awaiting,
            queues,
            bus: self.bus.downgrade(),
        }))
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type Handler<T> = Arc<dyn Fn(Received<T>) -> Call + Send + Sync>;

/// A queue and the channel that feeds it.
type QueueOf = (Arc<dyn Leave>, Weak<dyn OutletOwner>);

/// A queue without its type.
trait Leave: Send + Sync {
    /// Ends the queue and wakes the driver, which ends; returns the queue's serial.
    fn leave(&self) -> u64;
}

impl<T: Event> Leave for Bounded<T> {
    fn leave(&self) -> u64 {
        Self::leave(self);
        self.close();
        self.serial()
    }
}

/// What a registration ends.
struct Ending {
    info: Arc<HandlerInfo>,
    awaiting: Arc<Awaiting>,
    queues: Vec<QueueOf>,
    bus: Weak<Bus>,
}

impl Remove for Ending {
    fn remove(self: Box<Self>) {
        self.awaiting.end();
        for (queue, owner) in &self.queues {
            let serial = queue.leave();
            if let Some(owner) = owner.upgrade() {
                owner.remove_outlet(serial);
            }
        }
        if let Some(bus) = self.bus.upgrade() {
            bus.hub().registry().forget(self.info.serial);
        }
    }

    fn name(&self) -> &str {
        &self.info.name
    }
}

/// Gives the queue up when its driver ends, even if a runtime drops it.
struct Queue<T: Event> {
    queue: Arc<Bounded<T>>,
    owner: Weak<dyn OutletOwner>,
    awaiting: Arc<Awaiting>,
    info: Arc<HandlerInfo>,
    bus: Weak<Bus>,
    ran: Ran,
}

/// How far a driver came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// It is running, or its runtime dropped it.
    Underway,
    /// To the end of its queue.
    Out,
}

impl<T: Event> Drop for Queue<T> {
    fn drop(&mut self) {
        self.queue.leave();
        if self.awaiting.is_ended() || self.ran == Ran::Out {
            return;
        }

        // No one unregistered the handler: its runtime has ended under it. It hears nothing more,
        // and is listed no more.
        if let Some(owner) = self.owner.upgrade() {
            owner.remove_outlet(self.queue.serial());
        }
        if let Some(bus) = self.bus.upgrade() {
            bus.hub().registry().forget(self.info.serial);
            quietly(|| {
                tracing::error!(
                    handler = &*self.info.name,
                    "the runtime of an async handler has ended; the handler is unregistered"
                );
            });
        }
    }
}

/// Takes events out of the queue and runs a number of calls at a time.
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
    /// How many events `behind` holds: at most three times the concurrency, so that one busy key
    /// does not pull the whole queue in here.
    waiting: usize,
}

impl<T: Event> Driver<T> {
    async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // A share of tokio's budget for each call that ends, so that a busy handler lets other
            // tasks run.
            ready!(coop::poll_proceed(context)).made_progress();
            let closed = self.take_events(context);
            match self.running.poll_next_unpin(context) {
                Poll::Ready(Some(key)) => self.next_of(key),
                Poll::Ready(None) if closed => {
                    self.queue.ran = Ran::Out;
                    return Poll::Ready(());
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Starts what may be started; returns whether no more can come.
    fn take_events(&mut self, context: &mut Context<'_>) -> bool {
        while self.running.len() < self.concurrency && self.waiting < 3 * self.concurrency {
            match self.queue.queue.next() {
                Taken::Event(event) => {
                    if let Some(event) = self.queue.queue.guard(event) {
                        self.start_or_wait(event);
                    }
                }
                Taken::Missed(missed) => {
                    quietly(|| {
                        tracing::warn!(
                            handler = &*self.info.name,
                            missed,
                            "an async handler's queue was full"
                        );
                    });
                }
                Taken::Closed => return true,
                Taken::Empty => {
                    if self.queue.queue.sleep(context.waker()).is_pending() {
                        return false;
                    }
                }
            }
        }
        false
    }

    fn start_or_wait(&mut self, event: Awaited<T>) {
        let key = match &self.key {
            None => None,
            Some(key) => {
                let payload = &event.event.stored().payload;
                match panic::catch_unwind(AssertUnwindSafe(|| key(payload))) {
                    Ok(key) => Some(key),
                    // Without its key it has no place among the others: it counts as a call that
                    // panicked.
                    Err(panic) => {
                        panicked(&self.info, event.event.info(), panic);
                        return event.finished();
                    }
                }
            }
        };

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

    /// Starts the next call of a key whose call has ended.
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
                self.queue.awaiting.end();
                self.queue.queue.leave();
                return;
            }
        };

        let handler = Arc::clone(&self.handler);
        let info = Arc::clone(&self.info);
        let received = Received::new(Arc::clone(&event.event));
        let meta = event.event.meta();
        let cause = meta.cause();
        let span = inside(meta.span(), || handler_span(&info, event.event.info()));
        let awaiting = Arc::clone(&self.queue.awaiting);
        let call = async move {
            // Asked right before the call: a registration that was dropped lets none begin.
            if !awaiting.is_ended() {
                // Made inside, so that a panic before the first await is caught too.
                let call = AssertUnwindSafe(async move { handler(received).await }).catch_unwind();
                match call.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => failed(&info, event.event.info(), error),
                    Err(panic) => panicked(&info, event.event.info(), panic),
                }
            }
            event.finished();
            isolate::discard("a handler's owner", owner);
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
