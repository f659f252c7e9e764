//! Async handlers: each has a queue of its own, and a task with a limit on concurrent calls.

// The task of one handler. Must not know how it was registered.
mod driver;

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt,
    future::Future,
    hash::{Hash, Hasher},
    panic::Location,
    sync::{Arc, Weak},
};

use futures_util::{FutureExt, stream::FuturesUnordered};
use tidings_core::spawn::{Spawn, TokioSpawn};

use self::driver::{Driver, DriverState, Handler, Key, Queue};
use crate::{
    api::{
        bus::{Bus, WorkerEvents},
        listen::{Listen, Removal},
        registration::{Registration, Remove},
    },
    delivery::queue::{
        bounded::{Awaiting, Bounded},
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
};

/// The options of an async handler.
#[must_use]
pub struct AsyncOptions<T> {
    concurrency: usize,
    capacity: usize,
    key: Option<Key<T>>,
}

impl<T: Event> AsyncOptions<T> {
    /// Returns the default options: one call at a time, in order; 1024 events may wait.
    pub fn new() -> Self {
        Self {
            concurrency: 1,
            capacity: 1024,
            key: None,
        }
    }

    /// Sets how many calls run at a time, for each channel of the handler. Without
    /// [`ordered_by`](Self::ordered_by) they run in no order.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Sets how many events may wait. Beyond that the newest events are dropped, counted and logged
    /// as a gap.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Handles events with the same key one after the other, in order, however many calls run.
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
    /// executor. So a post does not wait for it, but
    /// [`Delivery::handled`](crate::Delivery::handled) does. If the handler awaits the delivery of
    /// an event that it has to handle itself, it blocks until the deadline.
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
                    state: DriverState::Running,
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

        Ok(Registration::new(TaskRegistration {
            info,
            awaiting,
            queues,
            bus: self.bus.downgrade(),
        }))
    }
}

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

/// What the registration of an async handler ends.
struct TaskRegistration {
    info: Arc<HandlerInfo>,
    awaiting: Arc<Awaiting>,
    queues: Vec<QueueOf>,
    bus: Weak<Bus>,
}

impl Remove for TaskRegistration {
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
