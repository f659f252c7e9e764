//! [`DynamicEvent`]: the form in which handlers of any type see an event.

use std::fmt;

use serde_json::Value as Json;
use tidings_core::Operation;

use crate::event::{
    info::ChannelInfo,
    payload::Event,
    posted::{LazyJson, Posted},
};

/// An event without its type, as wildcard handlers see it.
///
/// The JSON form is made at the first call of [`entity`](Self::entity),
/// [`old_entity`](Self::old_entity) or [`payload`](Self::payload), once per event however many
/// handlers ask. An event that no handler reads this way is never serialized.
///
/// # Examples
///
/// ```
/// use tidings_events::{DynamicEvent, WorkerEvents};
///
/// let bus = WorkerEvents::builder().build()?;
/// let jobs = bus.declare::<u64>("jobs", "done")?;
/// let audit = |event: &DynamicEvent<'_>| {
///     assert_eq!((event.source(), event.event()), ("jobs", "done"));
///     assert_eq!(event.payload().ok().and_then(|json| json.as_u64()), Some(7));
/// };
/// bus.register_dynamic(audit, "*", "*")?.keep();
/// jobs.post(7)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct DynamicEvent<'a> {
    pub(crate) info: &'a ChannelInfo,
    pub(crate) operation: Option<Operation>,
    pub(crate) body: &'a dyn Body,
}

/// Makes the JSON form when it is asked for.
pub(crate) trait Body {
    fn json(&self) -> &Result<Json, String>;
}

/// A payload on the poster's stack.
pub(crate) struct Borrowed<'a, T> {
    pub(crate) channel: &'a ChannelInfo,
    pub(crate) json: &'a LazyJson,
    pub(crate) payload: &'a T,
}

impl<T: Event> Body for Borrowed<'_, T> {
    fn json(&self) -> &Result<Json, String> {
        self.json.get_or_init(|| self.channel.form.of(self.payload))
    }
}

/// Takes the place of a payload if all handlers are typed, so that no room is made for a JSON form.
pub(crate) struct NoBody;

impl Body for NoBody {
    fn json(&self) -> &Result<Json, String> {
        unreachable!("a route with a handler that takes the dynamic form says so")
    }
}

/// A payload that workers and queues may receive too.
pub(crate) struct Shared<'a>(pub(crate) &'a dyn Posted);

impl Body for Shared<'_> {
    fn json(&self) -> &Result<Json, String> {
        self.0.json()
    }
}

impl<'a> DynamicEvent<'a> {
    pub(crate) fn with_posted<R>(
        posted: &dyn Posted,
        read: impl FnOnce(&DynamicEvent<'_>) -> R,
    ) -> R {
        read(&DynamicEvent {
            info: posted.info(),
            operation: posted.meta().operation,
            body: &Shared(posted),
        })
    }

    /// Returns the source of the channel, such as `"crud"`.
    #[must_use]
    pub fn source(&self) -> &'a str {
        &self.info.source
    }

    /// Returns the event of the channel, such as `"consumers"`.
    #[must_use]
    pub fn event(&self) -> &'a str {
        &self.info.event
    }

    /// Returns what was done to the row; `None` on channels that carry no changes.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.operation
    }

    /// Returns the row after the change; for a delete, the row as it last was. On channels that
    /// carry no changes this is the whole payload. `null` if the payload has no JSON form.
    #[must_use]
    pub fn entity(&self) -> &Json {
        self.field("entity")
    }

    /// Returns the row before an update; `null` if there was none.
    #[must_use]
    pub fn old_entity(&self) -> &Json {
        if self.operation.is_some() {
            self.field("old_entity")
        } else {
            &Json::Null
        }
    }

    /// Returns the whole payload.
    ///
    /// # Errors
    ///
    /// The reason why it has no JSON form: serde's, or that the channel's type need not serialize.
    pub fn payload(&self) -> Result<&Json, &str> {
        self.body.json().as_ref().map_err(String::as_str)
    }

    fn field(&self, name: &str) -> &Json {
        match self.body.json() {
            Ok(json) if self.operation.is_some() => json.get(name).unwrap_or(&Json::Null),
            Ok(json) => json,
            Err(_) => &Json::Null,
        }
    }
}

impl fmt::Debug for DynamicEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicEvent")
            .field("source", &self.source())
            .field("event", &self.event())
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
