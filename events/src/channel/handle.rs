//! [`Channel`]: a typed handle to post through.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    channel::{alive::Alive, core::ChannelCore, direct::UniquePost},
    delivery::handled::Delivery,
    error::PostError,
    event::payload::Event,
    thread::{frame::in_handler, park::block_on, places},
};

/// A channel by its type: posting through it costs no lookup by name.
///
/// Clones are handles of one channel. A handle keeps the channel open: its receivers end when the
/// last one, and the last handle of the bus, are dropped. (A handler that holds a handle keeps its
/// channel open as long as it is registered.)
pub struct Channel<T: Event> {
    /// Before the core: what it ends when it is dropped must still be there.
    alive: Arc<Alive>,
    pub(crate) core: Arc<ChannelCore<T>>,
}

impl<T: Event> Channel<T> {
    pub(crate) fn new(core: Arc<ChannelCore<T>>, alive: Arc<Alive>) -> Self {
        Self { core, alive }
    }

    /// Posts to all listeners, without waiting: inline handlers have run when this returns, workers
    /// and queues have the event or, where they are full, a gap.
    ///
    /// Inside a handler the event is put aside and dispatched after the current one. With inline
    /// handlers alone this allocates nothing, else once, for the event.
    ///
    /// # Errors
    ///
    /// The event comes back with the [`Refusal`](crate::Refusal); no one heard of it.
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
    /// let refused = numbers.post(2).unwrap_err(); // full, and no listener heard of it
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
    /// One was refused: that event and all later ones are returned; earlier ones have been posted.
    /// A batch with an oversized event is refused as a whole.
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

    /// Puts a gap in the place of an event that was lost before it could be posted, or that was
    /// refused where no poster hears of it: each worker and queue of the channel finds it after
    /// what came before, and before any later event. Inline handlers hear of nothing.
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

    /// Posts, waiting up to `deadline` for room in queues that want it
    /// ([`Overflow::Wait`](crate::Overflow)), and returns a [`Delivery`] that tells when all
    /// handlers of the node have run.
    ///
    /// # Errors
    ///
    /// The event comes back with the [`Refusal`](crate::Refusal); no one heard of it.
    ///
    /// # Cancel safety
    ///
    /// An event that still waits for room is dropped with the future, and no one has
    /// heard of it.
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

    /// Does the same on plain threads, with or without a runtime: blocks until there is room.
    ///
    /// On a worker's thread or inside a handler it does not wait: that would block the handlers
    /// that make room.
    ///
    /// # Errors
    ///
    /// The event comes back with the [`Refusal`](crate::Refusal); no one heard of it.
    pub fn post_blocking(&self, event: T, deadline: Duration) -> Result<Delivery, PostError<T>> {
        let may_wait = !in_handler() && places::current(self.core.hub().id()).is_none();
        let deadline = if may_wait { deadline } else { Duration::ZERO };
        block_on(self.post_async(event, deadline))
    }

    /// Posts to the worker whose thread this is, and to no one else: it runs in the worker's loop,
    /// in turn.
    ///
    /// # Errors
    ///
    /// The thread is no worker, or its mailbox is full; see also [`post`](Self::post).
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

    /// Posts to one worker that listens, the same for the same key while it lives; within `window`
    /// of a post the same key is not posted again. Inline handlers and queues do not hear of it.
    ///
    /// If the chosen worker dies before its handlers have run, another takes over.
    ///
    /// # Errors
    ///
    /// No living worker listens, or all their mailboxes are full: the key is free again. See also
    /// [`post`](Self::post).
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

    /// Returns how many listeners a post made now would reach: handlers, workers, queues and feeds.
    /// For payloads that are not worth making for no one; costs a walk over all of them.
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
