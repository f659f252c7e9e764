//! [`WorkerEvents`]: the bus.

/// From names to channels.
mod resolve;

/// The moment at which a name is bound to a type.
mod declare;

/// The end of the bus.
pub(crate) mod shutdown;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    api::stats::{BusStats, ChannelStats},
    channel::{
        core::{AnyChannel, ChannelCore},
        keep_alive::{BusKeepAlive, KeepAlive},
    },
    delivery::{
        feed::{LifecycleFeed, LiveFeed},
        queue::{blocking::BlockingSubscriber, options::SubscribeOptions, subscriber::Subscriber},
    },
    error::{PostError, RegisterError},
    event::{
        handler::HandlerInfo,
        name::{ANY, Pattern},
        payload::Event,
    },
    hub::Hub,
    route::registry::{Change, Dynamic, Interest},
    sync::Mutex,
};

/// A bus of typed, named channels. Clones are handles of one bus.
///
/// # Examples
///
/// ```
/// use serde::Serialize;
/// use tidings_events::WorkerEvents;
///
/// #[derive(Serialize)]
/// struct Reloaded { revision: u64 }
///
/// let bus = WorkerEvents::builder().build()?;
/// let reloads = bus.declare::<Reloaded>("config", "reloaded")?;
/// bus.register(|event: &Reloaded| println!("now at {}", event.revision), "config", "reloaded")?
///     .keep();
/// reloads.post(Reloaded { revision: 7 })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WorkerEvents {
    inner: Arc<Bus>,
}

pub(crate) struct Bus {
    hub: Arc<Hub>,
    channels: Mutex<Channels>,
    alive: Arc<BusKeepAlive>,
}

#[derive(Default)]
struct Channels {
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    list: Vec<Declared>,
}

/// A channel, and what keeps it open.
#[derive(Clone)]
struct Declared {
    /// Before the channel: what it ends when it is dropped must still be there.
    alive: Arc<KeepAlive>,
    channel: Arc<dyn AnyChannel>,
}

impl WorkerEvents {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            inner: Arc::new(Bus {
                alive: Arc::new(BusKeepAlive(Arc::clone(&hub))),
                hub,
                channels: Mutex::new(Channels::default()),
            }),
        }
    }

    pub(crate) fn downgrade(&self) -> Weak<Bus> {
        Arc::downgrade(&self.inner)
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.inner
    }

    /// Posts to all listeners, by the channel's name. [`Channel::post`](crate::Channel::post) does
    /// the same without a lookup.
    ///
    /// # Errors
    ///
    /// The error returns the event and the [`Refusal`](crate::Refusal). No listener has received
    /// it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{Refusal, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// bus.declare::<u64>("jobs", "done")?;
    /// bus.post("jobs", "done", 7_u64)?;
    ///
    /// // A refused post gives the event back, and says why.
    /// let refused = bus.post("jobs", "don", 8_u64).unwrap_err();
    /// assert_eq!(refused.payload, 8);
    /// assert!(matches!(refused.refusal, Refusal::UnknownChannel { near, .. } if near.len() == 1));
    /// # Ok(()) }
    /// ```
    pub fn post<T: Event>(
        &self,
        source: &str,
        event: &str,
        payload: T,
    ) -> Result<(), PostError<T>> {
        match self.channel_of::<T>(source, event) {
            Ok(channel) => ChannelCore::post(&channel, payload),
            Err(refusal) => {
                self.inner.hub.count_refusal();
                Err(PostError::new(payload, refusal, source, event))
            }
        }
    }

    /// Subscribes a task to a channel, or to one operation of a CRUD channel
    /// (`"consumers:update"`).
    ///
    /// # Errors
    ///
    /// The channel is unknown, carries another type or is a wildcard; the capacity is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{SubscribeOptions, WorkerEvents};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let options = SubscribeOptions::new().capacity(1);
    /// let mut queue = bus.subscribe::<u64>("test", "numbers", options)?;
    ///
    /// numbers.post(1)?;
    /// numbers.post(2)?; // no room for two: the oldest is pushed out
    /// let mut missed = 0;
    /// for _ in 0..2 {
    ///     let heard = queue.recv().await.expect("the bus is open");
    ///     if let Some(number) = heard.or_gap(|gap| missed += gap.missed) {
    ///         assert_eq!(*number, 2);
    ///     }
    /// }
    /// assert_eq!(missed, 1);
    /// # Ok(()) }
    /// ```
    pub fn subscribe<T: Event>(
        &self,
        source: &str,
        event: &str,
        options: SubscribeOptions,
    ) -> Result<Subscriber<T>, RegisterError> {
        options.check(source, event)?;
        let (pattern, channel) = self.resolve_typed::<T>(source, event)?;
        Ok(channel.subscribe(pattern.operation(), &options))
    }

    /// Subscribes a plain thread to a channel.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use tidings_events::{SubscribeOptions, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let options = SubscribeOptions::new();
    /// let mut queue = bus.subscribe_blocking::<u64>("test", "numbers", options)?;
    /// let reader = thread::spawn(move || queue.recv().map(|heard| heard.into_result()));
    /// numbers.post(7)?;
    /// assert!(matches!(reader.join().unwrap(), Some(Ok(event)) if *event == 7));
    /// # Ok(()) }
    /// ```
    pub fn subscribe_blocking<T: Event>(
        &self,
        source: &str,
        event: &str,
        options: SubscribeOptions,
    ) -> Result<BlockingSubscriber<T>, RegisterError> {
        options.check(source, event)?;
        let (pattern, channel) = self.resolve_typed::<T>(source, event)?;
        Ok(channel.subscribe_blocking(pattern.operation(), &options))
    }

    /// Opens the live feed of all events. The first call turns it on, with this capacity, for the
    /// life of the bus. From then on every post costs an allocation and a short lock of the feed.
    ///
    /// # Errors
    ///
    /// The capacity is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::WorkerEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let mut feed = bus.feed(16)?;
    /// numbers.post(7)?;
    /// let event = feed.recv().await.expect("the bus is open").into_result()?;
    /// assert_eq!((event.source(), event.event()), ("test", "numbers"));
    /// # Ok(()) }
    /// ```
    pub fn feed(&self, capacity: usize) -> Result<LiveFeed, RegisterError> {
        SubscribeOptions::new().capacity(capacity).check(ANY, ANY)?;
        let (feed, new) = self.inner.hub.open_feed(capacity);
        if new {
            self.inner.invalidate(&Pattern::Everything);
        }
        Ok(feed)
    }

    /// Listens, from now on, to the events in the life of the bus: workers that come and go, the
    /// shutdown.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::{Lifecycle, WorkerEvents};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let mut turns = bus.lifecycle();
    /// bus.shutdown(Duration::from_secs(5)).await;
    /// let turn = turns.recv().await.expect("one is left").into_result()?;
    /// assert_eq!(turn, Lifecycle::Closing);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lifecycle(&self) -> LifecycleFeed {
        self.inner.hub.listen_to_lifecycle()
    }

    /// Returns how many workers the bus was built for.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.hub.mailboxes().len()
    }

    /// Returns the counts of the bus, its channels, handlers and mailboxes. Costs a walk over all
    /// of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// numbers.post(7)?;
    /// assert_eq!(bus.stats().channels[0].posted, 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let hub = &self.inner.hub;
        let channels = self.inner.all_channels();
        BusStats {
            channels: channels
                .iter()
                .map(|channel| ChannelStats {
                    source: channel.info().source.to_string(),
                    event: channel.info().event.to_string(),
                    type_name: channel.info().type_name,
                    posted: channel.posted(),
                    subscribers: channel.subscribers(),
                })
                .collect(),
            handlers: hub.registry().handler_stats(),
            mailboxes: hub.mailbox_stats(),
            sequencer: hub.sequencer_stats(),
            refused: hub.refused(),
            dropped: hub.undelivered(),
        }
    }
}

impl fmt::Debug for WorkerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerEvents")
            .field("workers", &self.workers())
            .field("closed", &self.inner.hub.is_closed())
            .finish_non_exhaustive()
    }
}

impl Bus {
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns what ends with the last handle.
    pub(crate) fn alive(&self) -> Weak<BusKeepAlive> {
        Arc::downgrade(&self.alive)
    }

    pub(crate) fn add_dynamic(&self, pattern: &Pattern, entry: Arc<Dynamic>) {
        self.hub.registry().add_dynamic(pattern, entry);
        self.invalidate(pattern);
    }

    /// Counts one handler more or less that a worker has for a pattern.
    pub(crate) fn change_interest(&self, pattern: &Pattern, worker: usize, change: Change) {
        match self.hub.registry().change_interest(pattern, worker, change) {
            Interest::Changed => self.invalidate(pattern),
            Interest::Same => {}
        }
    }

    /// Ends a dynamic handler.
    pub(crate) fn forget_dynamic(&self, info: &HandlerInfo) {
        self.hub.registry().forget(info.serial);
        for pattern in &info.patterns {
            let removed = self.hub.registry().remove_dynamic(pattern, info.serial);
            if !removed.is_empty() {
                self.invalidate(pattern);
            }
            drop(removed); // outside the locks: captures may have a `Drop` that uses the bus
        }
    }

    /// Ends a handler of either kind whose owner is gone.
    pub(crate) fn remove_everywhere(&self, info: &HandlerInfo) {
        for pattern in &info.patterns {
            for channel in self.covered(pattern) {
                channel.remove(info.serial);
            }
        }
        self.forget_dynamic(info);
    }

    fn all_channels(&self) -> Vec<Arc<dyn AnyChannel>> {
        let channels = self.channels.lock();
        let all = channels.list.iter();
        all.map(|declared| Arc::clone(&declared.channel)).collect()
    }

    fn invalidate(&self, pattern: &Pattern) {
        for channel in self.covered(pattern) {
            channel.invalidate();
        }
    }

    /// Returns the channels that a pattern covers now.
    fn covered(&self, pattern: &Pattern) -> Vec<Arc<dyn AnyChannel>> {
        let channels = self.channels.lock();
        match pattern {
            Pattern::Event(source, event) | Pattern::Operation(source, event, _) => {
                let found = channels.find(source, event).into_iter();
                found
                    .map(|declared| Arc::clone(&declared.channel))
                    .collect()
            }
            Pattern::Everything | Pattern::Source(_) => channels
                .list
                .iter()
                .map(|declared| &declared.channel)
                .filter(|channel| pattern.covers(&channel.info().source, &channel.info().event))
                .cloned()
                .collect(),
        }
    }
}

impl Channels {
    fn add(&mut self, declared: Declared) {
        let info = declared.channel.info();
        let by_event = self.by_name.entry(Arc::clone(&info.source)).or_default();
        by_event.insert(Arc::clone(&info.event), self.list.len());
        self.list.push(declared);
    }

    fn find(&self, source: &str, event: &str) -> Option<&Declared> {
        let index = *self.by_name.get(source)?.get(event)?;
        self.list.get(index)
    }
}
