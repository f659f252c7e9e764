//! [`Listen`]: a registration being put together: names, owner, more than one channel.

mod tasks;

use std::{
    any::{Any, type_name},
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    api::{bus::WorkerEvents, registration::Registration},
    channel::core::ChannelCore,
    error::{BoxError, RegisterError},
    event::{
        dynamic::{DynamicEvent, Event},
        handler::{Entry, HandlerInfo, Mortal, Outcome, OwnerGone},
        name::Pattern,
    },
    hub::{DynamicFn, Hub},
    route::run::{InlineFn, Scene},
};

pub use self::tasks::AsyncOptions;

/// A registration in the making; see [`WorkerEvents::on`].
#[must_use = "nothing is registered until one of its register methods is called"]
pub struct Listen<'a> {
    pub(crate) bus: &'a WorkerEvents,
    pub(crate) names: Vec<(String, String)>,
    pub(crate) name: Option<String>,
    pub(crate) owner: Option<Weak<dyn Any + Send + Sync>>,
}

impl<'a> Listen<'a> {
    pub(crate) fn new(bus: &'a WorkerEvents, source: &str, event: &str) -> Self {
        Self {
            bus,
            names: vec![(source.to_owned(), event.to_owned())],
            name: None,
            owner: None,
        }
    }

    /// Listens to one more channel with the same handler; one guard removes it from all. A handler that listens
    /// to a channel twice (`"consumers"` and `"consumers:update"`) is called twice.
    pub fn also(mut self, source: &str, event: &str) -> Self {
        self.names.push((source.to_owned(), event.to_owned()));
        self
    }

    /// The handler's name in logs, spans and statistics; by default the type name of its closure.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Ties the handler to an owner, weakly: once the last `Arc` is gone the handler is not called any more and
    /// is removed at the next event. The owner is kept alive during a call.
    pub fn owned_by<O: Send + Sync + 'static>(mut self, owner: &Arc<O>) -> Self {
        let owner: Weak<O> = Arc::downgrade(owner);
        self.owner = Some(owner);
        self
    }

    /// Registers an inline handler: it runs on the poster's thread before `post` returns.
    ///
    /// # Errors
    ///
    /// A channel is unknown, carries another type, or is a wildcard.
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
            type_name_of(&handler),
            resolved
                .iter()
                .map(|(pattern, _)| pattern.clone())
                .collect(),
        );
        if self.owner.is_none() {
            // Most handlers have no owner to look for: their call is the closure's, and nothing else.
            let call = move |payload: &T, _: &Scene<'_>| handler(payload).into_result();
            return Ok(self.add(resolved, info, call));
        }
        let removal = Removal::new(self.bus, &info, self.owner.clone());
        let call = move |payload: &T, _: &Scene<'_>| {
            let _owner = removal.owner()?;
            handler(payload).into_result()
        };
        Ok(self.add(resolved, info, call))
    }

    fn add<T: Event>(
        &self,
        resolved: Vec<(Pattern, Arc<ChannelCore<T>>)>,
        info: Arc<HandlerInfo>,
        call: impl Fn(&T, &Scene<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Registration {
        let entry = Arc::new(Entry::new(Arc::clone(&info), Box::new(call) as InlineFn<T>));
        self.bus.inner.hub.describe(info, None);
        let mut channels = Vec::new();
        for (pattern, channel) in resolved {
            channel.add(pattern, Arc::clone(&entry));
            channels.push(channel as _);
        }
        let handler: Arc<dyn Mortal + Send + Sync> = entry;
        Registration::new(handler, channels, self.bus.downgrade())
    }

    /// Registers an inline handler of any type of event, wildcards included.
    ///
    /// # Errors
    ///
    /// A channel that is no wildcard is unknown.
    pub fn register_dynamic<R: Outcome>(
        self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + Send + Sync + 'static,
    ) -> Result<Registration, RegisterError> {
        let patterns = self
            .names
            .iter()
            .map(|(source, event)| self.bus.resolve_dynamic(source, event))
            .collect::<Result<Vec<_>, _>>()?;
        let info = self.info(type_name_of(&handler), patterns.clone().into());
        let removal = Removal::new(self.bus, &info, self.owner.clone());
        let call = move |event: &DynamicEvent<'_>| {
            let _owner = removal.owner()?;
            handler(event).into_result()
        };
        let entry = Arc::new(Entry::new(Arc::clone(&info), Box::new(call) as DynamicFn));
        self.bus.inner.hub.describe(info, None);
        for pattern in &patterns {
            self.bus.inner.add_dynamic(pattern, Arc::clone(&entry));
        }
        let handler: Arc<dyn Mortal + Send + Sync> = entry;
        Ok(Registration::new(handler, Vec::new(), self.bus.downgrade()))
    }

    pub(super) fn info(&self, type_name: &str, patterns: Box<[Pattern]>) -> Arc<HandlerInfo> {
        let name = self.name.as_deref().unwrap_or(type_name).into();
        Arc::new(HandlerInfo::new(name, patterns, Hub::next_serial()))
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
    bus: Weak<crate::api::bus::Bus>,
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

    /// The owner, to hold during the call; removes the handler if it is gone.
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

pub(crate) fn type_name_of<F>(_: &F) -> &'static str {
    type_name::<F>()
}
