//! [`WorkerEvents`]: the bus.

mod declare;
mod resolve;
mod shutdown;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    api::{
        builder::WorkerEventsBuilder,
        listen::Listen,
        registration::Registration,
        stats::{BusStats, ChannelStats},
        worker::LocalWorkerEvents,
    },
    channel::core::{AnyChannel, ChannelCore},
    delivery::{
        feed::{LifecycleFeed, LiveFeed},
        queue::{BlockingSubscriber, SubscribeOptions, Subscriber},
    },
    error::{AttachError, PostError, RegisterError},
    event::{
        dynamic::{DynamicEvent, Event},
        handler::{HandlerInfo, Outcome},
        name::Pattern,
    },
    hub::{Dynamic, Hub},
    sync::Mutex,
};

pub use self::shutdown::ShutdownReport;

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
/// bus.register(|event: &Reloaded| println!("now at {}", event.revision), "config", "reloaded")?.keep();
/// reloads.post(Reloaded { revision: 7 })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WorkerEvents {
    pub(crate) inner: Arc<Bus>,
}

pub(crate) struct Bus {
    pub(crate) hub: Arc<Hub>,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    list: Vec<Arc<dyn AnyChannel>>,
}

impl WorkerEvents {
    /// Starts the settings of a bus.
    pub fn builder() -> WorkerEventsBuilder {
        WorkerEventsBuilder::new()
    }

    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            inner: Arc::new(Bus {
                hub,
                channels: Mutex::new(Channels::default()),
            }),
        }
    }

    pub(crate) fn downgrade(&self) -> Weak<Bus> {
        Arc::downgrade(&self.inner)
    }

    /// Starts a registration that has a name, an owner or several channels.
    pub fn on(&self, source: &str, event: &str) -> Listen<'_> {
        Listen::new(self, source, event)
    }

    /// Registers an inline handler of the channel's type: it runs on the poster's thread, before `post` returns.
    ///
    /// `event` is the name of a channel, or for changes also `"consumers:update"`. Handlers run level by level:
    /// those of everything, of the source, of the channel, of one operation; within a level in the order in
    /// which they were registered. The handler hears every event whose post begins after this returned.
    ///
    /// # Errors
    ///
    /// The channel is unknown (declare it first), or carries another type, or is a wildcard.
    pub fn register<T: Event, R: Outcome>(
        &self,
        handler: impl Fn(&T) -> R + Send + Sync + 'static,
        source: &str,
        event: &str,
    ) -> Result<Registration, RegisterError> {
        self.on(source, event).register(handler)
    }

    /// Registers an inline handler that takes events of any type, for one channel, `(source, "*")` or
    /// `("*", "*")`. Wildcards cover channels that are declared later too.
    ///
    /// # Errors
    ///
    /// The channel is unknown and no wildcard.
    pub fn register_dynamic<R: Outcome>(
        &self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + Send + Sync + 'static,
        source: &str,
        event: &str,
    ) -> Result<Registration, RegisterError> {
        self.on(source, event).register_dynamic(handler)
    }

    /// Posts by name to everybody who listens. See [`Channel::post`](crate::Channel::post), which spares the
    /// look-up.
    ///
    /// # Errors
    ///
    /// The event comes back with the [`Refusal`](crate::Refusal); nobody heard of it.
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
                Err(PostError::new(payload, refusal))
            }
        }
    }

    /// Subscribes a task to a channel, or to one operation of a CRUD channel (`"consumers:update"`).
    ///
    /// # Errors
    ///
    /// The channel is unknown, carries another type or is a wildcard; the capacity is out of range.
    pub fn subscribe<T: Event>(
        &self,
        source: &str,
        event: &str,
        options: SubscribeOptions,
    ) -> Result<Subscriber<T>, RegisterError> {
        options.check()?;
        let (pattern, channel) = self.resolve_typed::<T>(source, event)?;
        Ok(channel.subscribe(pattern.operation(), options))
    }

    /// Subscribes a plain thread to a channel.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn subscribe_blocking<T: Event>(
        &self,
        source: &str,
        event: &str,
        options: SubscribeOptions,
    ) -> Result<BlockingSubscriber<T>, RegisterError> {
        options.check()?;
        let (pattern, channel) = self.resolve_typed::<T>(source, event)?;
        Ok(channel.subscribe_blocking(pattern.operation(), options))
    }

    /// The live feed of all events. The first call turns it on, with this capacity, for the life of the bus:
    /// from then on every post is an allocation and a short lock of the feed.
    ///
    /// # Errors
    ///
    /// The capacity is out of range.
    pub fn feed(&self, capacity: usize) -> Result<LiveFeed, RegisterError> {
        SubscribeOptions::new().capacity(capacity).check()?;
        let (feed, new) = self.inner.hub.feed.open(capacity);
        if new {
            self.inner.invalidate(&Pattern::Everything);
        }
        Ok(feed)
    }

    /// The turns in the life of the bus from now on: workers coming and going, the shutdown.
    #[must_use]
    pub fn lifecycle(&self) -> LifecycleFeed {
        LifecycleFeed::new(self.inner.hub.lifecycle.listen())
    }

    /// Takes the place of worker `index` for the calling thread, once per index.
    ///
    /// # Errors
    ///
    /// There is no such worker, the place was taken before, or the bus was shut down.
    pub fn attach_worker(&self, index: usize) -> Result<LocalWorkerEvents, AttachError> {
        LocalWorkerEvents::attach(self, index)
    }

    /// How many workers the bus was built for.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.hub.mailboxes.len()
    }

    /// The counts of the bus, its channels, handlers and mailboxes. Costs a walk over all of them.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let hub = &self.inner.hub;
        let channels = self.inner.channels.lock().list.clone();
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
            handlers: hub
                .handlers
                .lock()
                .values()
                .map(|handler| handler.info.stats(handler.worker))
                .collect(),
            mailboxes: hub
                .mailboxes
                .iter()
                .map(|mailbox| mailbox.stats())
                .collect(),
            sequencer: hub.sequencer.stats(),
            refused: hub.counts.refused.load(crate::sync::Ordering::Relaxed),
            dropped: hub.counts.dropped.load(crate::sync::Ordering::Relaxed),
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
    pub(crate) fn add_dynamic(&self, pattern: &Pattern, entry: Arc<Dynamic>) {
        let mut patterns = self.hub.patterns.lock();
        patterns
            .dynamic
            .entry(pattern.clone())
            .or_default()
            .push(entry);
        drop(patterns);
        self.invalidate(pattern);
    }

    /// A worker listens to a pattern once more, or once less.
    pub(crate) fn change_interest(&self, pattern: &Pattern, worker: usize, listens: bool) {
        let mut patterns = self.hub.patterns.lock();
        let workers = patterns.interest.entry(pattern.clone()).or_default();
        let count = workers.entry(worker).or_default();
        let changed = if listens {
            *count += 1;
            *count == 1
        } else {
            *count = count.saturating_sub(1);
            *count == 0
        };
        if *count == 0 {
            workers.remove(&worker);
            if workers.is_empty() {
                patterns.interest.remove(pattern);
            }
        }
        drop(patterns);
        if changed {
            self.invalidate(pattern);
        }
    }

    /// Ends a handler that left: `dynamic` ones stand in the patterns.
    pub(crate) fn forget(&self, info: &HandlerInfo, dynamic: bool) {
        self.hub.forget(info.serial);
        if !dynamic {
            return;
        }
        for pattern in &info.patterns {
            let removed: Vec<_> = {
                let mut patterns = self.hub.patterns.lock();
                let Some(entries) = patterns.dynamic.get_mut(pattern) else {
                    continue;
                };
                let removed = entries
                    .extract_if(.., |entry| entry.info.serial == info.serial)
                    .collect();
                if entries.is_empty() {
                    patterns.dynamic.remove(pattern);
                }
                removed
            };
            self.invalidate(pattern);
            drop(removed); // outside the locks: captures may have drops that use the bus
        }
    }

    /// Ends a handler of either kind whose owner is gone.
    pub(crate) fn remove_everywhere(&self, info: &HandlerInfo) {
        for pattern in &info.patterns {
            for channel in self.covered(pattern) {
                channel.remove(info.serial);
            }
        }
        self.forget(info, true);
    }

    fn invalidate(&self, pattern: &Pattern) {
        for channel in self.covered(pattern) {
            channel.invalidate();
        }
    }

    /// The channels that a pattern covers now.
    fn covered(&self, pattern: &Pattern) -> Vec<Arc<dyn AnyChannel>> {
        let channels = self.channels.lock();
        match pattern {
            Pattern::Event(source, event) | Pattern::Operation(source, event, _) => {
                channels.find(source, event).into_iter().cloned().collect()
            }
            Pattern::Everything | Pattern::Source(_) => channels
                .list
                .iter()
                .filter(|channel| pattern.covers(&channel.info().source, &channel.info().event))
                .cloned()
                .collect(),
        }
    }
}

impl Channels {
    fn find(&self, source: &str, event: &str) -> Option<&Arc<dyn AnyChannel>> {
        let index = *self.by_name.get(source)?.get(event)?;
        self.list.get(index)
    }
}
