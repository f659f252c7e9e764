//! [`LocalListen`]: builds a registration on a worker.

use std::{
    any::Any,
    fmt,
    panic::Location,
    rc::{Rc, Weak},
    sync::Arc,
};

use tidings_core::BoxError;

use crate::{
    api::worker::{
        registration::LocalRegistration,
        state::{LocalFn, LocalState},
    },
    error::RegisterError,
    event::{
        dynamic::DynamicEvent,
        handler::{Entry, HandlerInfo, Outcome, OwnerGone},
        label,
        name::Pattern,
        payload::Event,
        posted::Posted,
    },
    hub::Hub,
};

/// Builds a registration on a worker; see
/// [`LocalWorkerEvents::on`](crate::LocalWorkerEvents::on).
#[must_use = "nothing is registered until one of its register methods is called"]
pub struct LocalListen<'a> {
    worker: &'a Rc<LocalState>,
    names: Vec<(String, String)>,
    name: Option<String>,
    owner: Option<Weak<dyn Any>>,
}

impl<'a> LocalListen<'a> {
    pub(crate) fn new(worker: &'a Rc<LocalState>, source: &str, event: &str) -> Self {
        Self {
            worker,
            names: vec![(source.to_owned(), event.to_owned())],
            name: None,
            owner: None,
        }
    }

    /// Listens to one more channel with the same handler; one guard removes it from all.
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

    /// Ties the handler weakly to an owner on this thread. Once the last `Rc` is dropped, the
    /// handler is not called any more, and the next event removes it.
    pub fn owned_by<O: 'static>(mut self, owner: &Rc<O>) -> Self {
        let owner: Weak<O> = Rc::downgrade(owner);
        self.owner = Some(owner);
        self
    }

    /// Registers a handler of the channel's type on this worker.
    ///
    /// # Errors
    ///
    /// A channel is unknown, carries another type, or is a wildcard.
    #[track_caller]
    pub fn register<T: Event, R: Outcome>(
        self,
        handler: impl Fn(&T) -> R + 'static,
    ) -> Result<LocalRegistration, RegisterError> {
        let patterns = self
            .names
            .iter()
            .map(|(source, event)| {
                let (pattern, _) = self.worker.bus().resolve_typed::<T>(source, event)?;
                Ok(pattern)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let label = label::of_handler(&handler, Location::caller());
        Ok(self.add(patterns, label, move |event| {
            // The channel was bound to `T` when the name was resolved, so this is always `Some`.
            match event.payload().downcast_ref::<T>() {
                Some(payload) => handler(payload).into_result(),
                None => Ok(()),
            }
        }))
    }

    /// Registers a handler of any type of event on this worker, wildcards included.
    ///
    /// # Errors
    ///
    /// A channel is unknown, and is not a wildcard.
    #[track_caller]
    pub fn register_dynamic<R: Outcome>(
        self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + 'static,
    ) -> Result<LocalRegistration, RegisterError> {
        let patterns = self
            .names
            .iter()
            .map(|(source, event)| self.worker.bus().resolve_dynamic(source, event))
            .collect::<Result<Vec<_>, _>>()?;
        let label = label::of_handler(&handler, Location::caller());
        Ok(self.add(patterns, label, move |posted| {
            DynamicEvent::with_posted(posted, |event| handler(event).into_result())
        }))
    }

    fn add(
        self,
        patterns: Vec<Pattern>,
        label: String,
        call: impl Fn(&dyn Posted) -> Result<(), BoxError> + 'static,
    ) -> LocalRegistration {
        let name = self.name.unwrap_or(label).into();
        let serial = Hub::next_serial();
        let info = Arc::new(HandlerInfo::new(name, patterns.clone().into(), serial));
        let owner = self.owner;
        let worker = Rc::downgrade(self.worker);

        let call = move |event: &dyn Posted| {
            let _owner = match &owner {
                None => None,
                Some(owner) => match owner.upgrade() {
                    Some(owner) => Some(owner),
                    None => {
                        remove(&worker, serial);
                        return Err(OwnerGone.into());
                    }
                },
            };

            call(event)
        };

        self.worker.add(
            &patterns,
            &Rc::new(Entry::new(info, Box::new(call) as LocalFn)),
        );
        LocalRegistration::new(serial, self.worker)
    }
}

impl fmt::Debug for LocalListen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListen")
            .field("names", &self.names)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn remove(worker: &Weak<LocalState>, serial: u64) {
    if let Some(worker) = worker.upgrade() {
        worker.remove(serial);
    }
}
