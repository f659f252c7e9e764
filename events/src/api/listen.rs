//! [`Listen`]: builds a registration with a name, an owner or several channels.

/// Async handlers.
pub(crate) mod tasks; // layers: the last way to end a `Listen`

use std::{
    any::Any,
    fmt,
    panic::Location,
    sync::{Arc, Weak},
};

use tidings_core::BoxError;

use crate::{
    api::{
        bus::{Bus, WorkerEvents},
        registration::{Registration, Remove},
    },
    channel::core::{AnyChannel, ChannelCore},
    error::RegisterError,
    event::{
        dynamic::DynamicEvent,
        handler::{AnyHandler, Entry, HandlerInfo, Outcome, OwnerGone},
        label,
        name::Pattern,
        payload::Event,
    },
    hub::Hub,
    route::{
        registry::DynamicFn,
        run::{HandlerContext, InlineFn},
    },
};

/// Builds a registration; see [`WorkerEvents::on`].
#[must_use = "nothing is registered until one of its register methods is called"]
pub struct Listen<'a> {
    bus: &'a WorkerEvents,
    names: Vec<(String, String)>,
    name: Option<String>,
    owner: Option<Weak<dyn Any + Send + Sync>>,
}

impl WorkerEvents {
    /// Starts a registration that has a name, an owner or several channels.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let letters = bus.declare::<u64>("test", "letters")?;
    ///
    /// // One handler for two channels, for as long as its owner lives.
    /// let owner = Arc::new("a session");
    /// let count = |_: &u64| println!("one more");
    /// bus.on("test", "numbers").also("test", "letters").owned_by(&owner).register(count)?.keep();
    /// drop(owner);
    /// numbers.post(1)?; // not called
    /// # letters.post(1)?;
    /// # Ok(()) }
    /// ```
    pub fn on(&self, source: &str, event: &str) -> Listen<'_> {
        Listen::new(self, source, event)
    }

    /// Registers an inline handler of the channel's type. It runs on the poster's thread, before
    /// `post` returns.
    ///
    /// `event` is the name of a channel, or for changes also `"consumers:update"`. Handlers run
    /// level by level: those of everything, of the source, of the channel, of one operation. Within
    /// a level they run in the order in which they were registered. The handler receives every
    /// event whose post begins after this call has returned.
    ///
    /// # Errors
    ///
    /// The channel is unknown (declare it first), or carries another type, or is a wildcard.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let sum = Arc::new(AtomicU64::new(0));
    /// let total = Arc::clone(&sum);
    /// let add = move |number: &u64| { total.fetch_add(*number, Ordering::Relaxed); };
    /// let guard = bus.register(add, "test", "numbers")?;
    ///
    /// numbers.post(7)?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 7); // it has run
    /// drop(guard); // unregisters; `guard.keep()` would leave it registered
    /// numbers.post(7)?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 7);
    ///
    /// // A misspelt name is refused, and the error lists names like it.
    /// let refused = bus.register(|_: &u64| {}, "test", "number").unwrap_err();
    /// assert!(refused.to_string().contains("numbers"));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn register<T: Event, R: Outcome>(
        &self,
        handler: impl Fn(&T) -> R + Send + Sync + 'static,
        source: &str,
        event: &str,
    ) -> Result<Registration, RegisterError> {
        self.on(source, event).register(handler)
    }

    /// Registers an inline handler that takes events of any type, for one channel, `(source, "*")`
    /// or `("*", "*")`. Wildcards also cover channels that are declared later.
    ///
    /// # Errors
    ///
    /// The channel is unknown, and is not a wildcard.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::{DynamicEvent, WorkerEvents};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let print = |event: &DynamicEvent| println!("{event:?}");
    /// bus.register_dynamic(print, "*", "*")?.keep(); // channels that are declared later, too
    /// bus.declare::<u64>("test", "numbers")?.post(7)?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn register_dynamic<R: Outcome>(
        &self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + Send + Sync + 'static,
        source: &str,
        event: &str,
    ) -> Result<Registration, RegisterError> {
        self.on(source, event).register_dynamic(handler)
    }
}

impl<'a> Listen<'a> {
    fn new(bus: &'a WorkerEvents, source: &str, event: &str) -> Self {
        Self {
            bus,
            names: vec![(source.to_owned(), event.to_owned())],
            name: None,
            owner: None,
        }
    }

    /// Listens to one more channel with the same handler; one guard removes it from all. A handler
    /// that listens to a channel twice (`"consumers"` and `"consumers:update"`) is called twice.
    pub fn also(mut self, source: &str, event: &str) -> Self {
        self.names.push((source.to_owned(), event.to_owned()));
        self
    }

    /// Names the handler in logs, spans and statistics. By default its name is the function and the
    /// line that register it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Ties the handler weakly to an owner. Once the last `Arc` is dropped, the handler is not
    /// called any more, and the next event removes it. A call keeps the owner alive.
    pub fn owned_by<O: Send + Sync + 'static>(mut self, owner: &Arc<O>) -> Self {
        let owner: Weak<O> = Arc::downgrade(owner);
        self.owner = Some(owner);
        self
    }

    /// Registers an inline handler. It runs on the poster's thread before `post` returns.
    ///
    /// # Errors
    ///
    /// A channel is unknown, carries another type, or is a wildcard.
    #[track_caller]
    pub fn register<T: Event, R: Outcome>(
        self,
        handler: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Registration, RegisterError> {
        let resolved = self
            .names
            .iter()
            .map(|(source, event)| self.bus.resolve_typed::<T>(source, event))
            .collect::<Result<Vec<_>, _>>()?;
        let info = self.info(
            label::of_handler(&handler, Location::caller()),
            resolved
                .iter()
                .map(|(pattern, _)| pattern.clone())
                .collect(),
        );

        if self.owner.is_none() {
            // Most handlers have no owner to check: their call is the closure's and nothing else.
            let call = move |payload: &T, _: &HandlerContext<'_>| handler(payload).into_result();
            return Ok(self.add(resolved, info, call));
        }

        let removal = Removal::new(self.bus, &info, self.owner.clone());
        let call = move |payload: &T, _: &HandlerContext<'_>| {
            let _owner = removal.owner()?;
            handler(payload).into_result()
        };
        Ok(self.add(resolved, info, call))
    }

    fn add<T: Event>(
        &self,
        resolved: Vec<(Pattern, Arc<ChannelCore<T>>)>,
        info: Arc<HandlerInfo>,
        call: impl Fn(&T, &HandlerContext<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Registration {
        let entry = Arc::new(Entry::new(Arc::clone(&info), Box::new(call) as InlineFn<T>));
        self.bus.hub().registry().describe(info, None);

        let mut channels: Vec<Arc<dyn AnyChannel>> = Vec::new();
        for (pattern, channel) in resolved {
            channel.add(pattern, Arc::clone(&entry));
            channels.push(channel);
        }

        Registration::new(Typed {
            handler: entry,
            channels,
            bus: self.bus.downgrade(),
        })
    }

    /// Registers an inline handler of any type of event, wildcards included.
    ///
    /// # Errors
    ///
    /// A channel is unknown, and is not a wildcard.
    #[track_caller]
    pub fn register_dynamic<R: Outcome>(
        self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + Send + Sync + 'static,
    ) -> Result<Registration, RegisterError> {
        let patterns = self
            .names
            .iter()
            .map(|(source, event)| self.bus.resolve_dynamic(source, event))
            .collect::<Result<Vec<_>, _>>()?;
        let info = self.info(
            label::of_handler(&handler, Location::caller()),
            patterns.clone().into(),
        );
        let removal = Removal::new(self.bus, &info, self.owner.clone());
        let call = move |event: &DynamicEvent<'_>| {
            let _owner = removal.owner()?;
            handler(event).into_result()
        };
        let entry = Arc::new(Entry::new(Arc::clone(&info), Box::new(call) as DynamicFn));
        self.bus.hub().registry().describe(info, None);

        for pattern in &patterns {
            self.bus.bus().add_dynamic(pattern, Arc::clone(&entry));
        }
        Ok(Registration::new(Untyped {
            handler: entry,
            bus: self.bus.downgrade(),
        }))
    }

    fn info(&self, label: String, patterns: Box<[Pattern]>) -> Arc<HandlerInfo> {
        let name = self.name.clone().unwrap_or(label).into();
        Arc::new(HandlerInfo::new(name, patterns, Hub::next_serial()))
    }
}

/// A typed inline handler and the channels that have it.
struct Typed {
    handler: Arc<dyn AnyHandler + Send + Sync>,
    channels: Vec<Arc<dyn AnyChannel>>,
    bus: Weak<Bus>,
}

impl Remove for Typed {
    fn remove(self: Box<Self>) {
        self.handler.end();

        let serial = self.handler.info().serial;
        for channel in &self.channels {
            channel.remove(serial);
        }
        if let Some(bus) = self.bus.upgrade() {
            bus.hub().registry().forget(serial);
        }
    }

    fn name(&self) -> &str {
        &self.handler.info().name
    }
}

/// A handler of any type of event, which is in the registry's patterns.
struct Untyped {
    handler: Arc<dyn AnyHandler + Send + Sync>,
    bus: Weak<Bus>,
}

impl Remove for Untyped {
    fn remove(self: Box<Self>) {
        self.handler.end();
        if let Some(bus) = self.bus.upgrade() {
            bus.forget_dynamic(self.handler.info());
        }
    }

    fn name(&self) -> &str {
        &self.handler.info().name
    }
}

impl fmt::Debug for Listen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("names", &self.names)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The owner of a handler, and what to do once it is gone.
pub(crate) struct Removal {
    owner: Option<Weak<dyn Any + Send + Sync>>,
    bus: Weak<Bus>,
    info: Arc<HandlerInfo>,
}

impl Removal {
    pub(crate) fn new(
        bus: &WorkerEvents,
        info: &Arc<HandlerInfo>,
        owner: Option<Weak<dyn Any + Send + Sync>>,
    ) -> Self {
        Self {
            owner,
            bus: bus.downgrade(),
            info: Arc::clone(info),
        }
    }

    /// Returns the owner, to be held during the call; removes the handler if it is gone.
    #[inline]
    pub(crate) fn owner(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, OwnerGone> {
        match &self.owner {
            None => Ok(None),
            Some(owner) => match owner.upgrade() {
                Some(owner) => Ok(Some(owner)),
                None => {
                    if let Some(bus) = self.bus.upgrade() {
                        bus.remove_everywhere(&self.info);
                    }
                    Err(OwnerGone)
                }
            },
        }
    }
}
