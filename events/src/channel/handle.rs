//! [`Channel`]: a typed handle for posting.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    channel::{core::ChannelCore, direct::UniquePost, keep_alive::KeepAlive},
    delivery::handled::Delivery,
    error::PostError,
    event::payload::Event,
    thread::{frame::in_handler, park::block_on, places},
};

/// A typed handle of a channel. A post through it needs no lookup by name.
///
/// Clones are handles of one channel. A handle keeps its channel open: the receivers end when the
/// last handle of the channel and the last handle of the bus are dropped. (A handler that holds a
/// handle keeps the channel open as long as the handler is registered.)
pub struct Channel<T: Event> {
    /// Before the core: what it ends when it is dropped must still be there.
    alive: Arc<KeepAlive>,
    pub(crate) core: Arc<ChannelCore<T>>,
}

impl<T: Event> Channel<T> {
    pub(crate) fn new(core: Arc<ChannelCore<T>>, alive: Arc<KeepAlive>) -> Self {
        Self { core, alive }
    }

    /// Posts to all listeners, without waiting. When this returns, inline handlers have run, and
    /// each worker and queue has the event or, if it was full, a gap.
    ///
    /// Inside a handler, the bus sets the event aside and dispatches it after the current one. If
    /// the channel has only inline handlers, this allocates nothing; otherwise it allocates once,
    /// for the event.
    ///
    /// # Errors
    ///
    /// The error returns the event and the [`Refusal`](crate::Refusal). No listener has received
    /// it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{Overflow, Refusal, SubscribeOptions, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let strict = SubscribeOptions::new().capacity(1).overflow(Overflow::Error).named("audit");
    /// let _queue = bus.subscribe::<u64>("test", "numbers", strict)?;
    ///
    /// numbers.post(1)?;
    /// let refused = numbers.post(2).unwrap_err(); // full, and no listener has received it
    /// assert!(matches!(refused.refusal, Refusal::Full { subscriber } if subscriber == "audit"));
    /// assert_eq!(refused.payload, 2);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn post(&self, event: T) -> Result<(), PostError<T>> {
        ChannelCore::post(&self.core, event)
    }

    /// Posts several events in order; workers and queues are woken once for all of them. A handler
    /// registered while a batch is being posted may miss all of it.
    ///
    /// # Errors
    ///
    /// One event was refused. The error returns that event and all later ones; earlier ones have
    /// been posted. A batch with an oversized event is refused as a whole.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{SubscribeOptions, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let mut queue = bus.subscribe::<u64>("test", "numbers", SubscribeOptions::new())?;
    /// numbers.post_batch(vec![1, 2, 3])?;
    /// assert_eq!(*queue.try_recv()?.into_result()?, 1);
    /// # Ok(()) }
    /// ```
    pub fn post_batch(&self, events: Vec<T>) -> Result<(), PostError<Vec<T>>> {
        ChannelCore::post_batch(&self.core, events)
    }

    /// Puts a gap in place of an event that was lost before it could be posted, or that was refused
    /// without a poster to tell. Each worker and queue of the channel finds the gap after all
    /// earlier events and before all later ones. Inline handlers do not run.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{SubscribeOptions, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let mut queue = bus.subscribe::<u64>("test", "numbers", SubscribeOptions::new())?;
    /// numbers.post(1)?;
    /// numbers.miss();
    /// numbers.post(3)?;
    ///
    /// assert_eq!(*queue.try_recv()?.into_result()?, 1);
    /// let gap = queue.try_recv()?.into_result().expect_err("one is missing");
    /// assert_eq!(gap.missed, 1);
    /// assert_eq!(*queue.try_recv()?.into_result()?, 3);
    /// # Ok(()) }
    /// ```
    pub fn miss(&self) {
        self.core.miss();
    }

    /// Posts, and waits up to `deadline` for room in queues with
    /// [`Overflow::Wait`](crate::Overflow). Returns a [`Delivery`], which resolves when all
    /// handlers of the node have run.
    ///
    /// # Errors
    ///
    /// The error returns the event and the [`Refusal`](crate::Refusal). No listener has received
    /// it.
    ///
    /// # Cancel safety
    ///
    /// An event that still waits for room is dropped with the future. No listener has received it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::{Handled, WorkerEvents};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let delivery = numbers.post_async(7, Duration::from_secs(1)).await?;
    /// assert_eq!(delivery.handled(Duration::from_secs(1)).await, Handled::Everywhere);
    /// # Ok(()) }
    /// ```
    pub async fn post_async(&self, event: T, deadline: Duration) -> Result<Delivery, PostError<T>> {
        ChannelCore::post_async(&self.core, event, deadline).await
    }

    /// Posts like [`post_async`](Self::post_async), but blocks a plain thread until there is room,
    /// with or without a runtime.
    ///
    /// On a worker's thread or inside a handler it does not wait, because that would block the
    /// handlers that make room.
    ///
    /// # Errors
    ///
    /// The error returns the event and the [`Refusal`](crate::Refusal). No listener has received
    /// it.
    pub fn post_blocking(&self, event: T, deadline: Duration) -> Result<Delivery, PostError<T>> {
        let may_wait = !in_handler() && places::current(self.core.hub().id()).is_none();
        let deadline = if may_wait { deadline } else { Duration::ZERO };
        block_on(self.post_async(event, deadline))
    }

    /// Posts to the worker of this thread only. The event waits its turn in the worker's loop.
    ///
    /// # Errors
    ///
    /// The thread is not a worker, or its mailbox is full; see also [`post`](Self::post).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{Refusal, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(1).build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let refused = numbers.post_to_current(7).unwrap_err();
    /// assert_eq!(refused.refusal, Refusal::NotAWorker);
    ///
    /// let worker = bus.attach_worker(0)?;
    /// worker.register(|_: &u64| {}, "test", "numbers")?.keep();
    /// numbers.post_to_current(7)?;
    /// assert_eq!(worker.run_pending(), 1);
    /// # Ok(()) }
    /// ```
    pub fn post_to_current(&self, event: T) -> Result<(), PostError<T>> {
        ChannelCore::post_to_current(&self.core, event)
    }

    /// Posts to one listening worker: always the same one for the same key, while that worker
    /// lives. Within `window` of a post, the same key is not posted again. Inline handlers and
    /// queues do not receive the event.
    ///
    /// If the chosen worker dies before its handlers have run, another worker takes over.
    ///
    /// # Errors
    ///
    /// No living worker listens, or all their mailboxes are full. The key is then free again. See
    /// also [`post`](Self::post).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::{UniquePost, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(1).build()?;
    /// let jobs = bus.declare::<u64>("jobs", "rotate")?;
    /// let worker = bus.attach_worker(0)?;
    /// worker.register(|_: &u64| println!("rotating"), "jobs", "rotate")?.keep();
    ///
    /// let window = Duration::from_secs(60);
    /// assert_eq!(jobs.post_unique(1, "logs", window)?, UniquePost::Posted { worker: 0 });
    /// assert_eq!(jobs.post_unique(2, "logs", window)?, UniquePost::Duplicate);
    /// assert_eq!(worker.run_pending(), 1);
    /// # Ok(()) }
    /// ```
    pub fn post_unique(
        &self,
        event: T,
        key: &str,
        window: Duration,
    ) -> Result<UniquePost, PostError<T>> {
        ChannelCore::post_unique(&self.core, event, key, window)
    }

    /// Returns how many listeners a post would reach now: handlers, workers, queues and feeds. Use
    /// it to avoid building a payload that no one would receive. Costs a walk over all of them.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.core.receivers()
    }

    /// Returns the source of the channel, as in `"crud"`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.core.info().source
    }

    /// Returns the event of the channel, as in `"consumers"`.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.core.info().event
    }
}

impl<T: Event> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            alive: Arc::clone(&self.alive),
        }
    }
}

impl<T: Event> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("source", &self.source())
            .field("event", &self.event())
            .field("type", &self.core.info().type_name)
            .finish()
    }
}
