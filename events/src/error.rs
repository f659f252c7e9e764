//! One small error per operation of the bus. A refused post gives its event back.

use std::{error::Error, fmt};

/// The settings of a bus are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of workers is above the bus's limit.
    #[error("{asked} workers were asked for; a bus has at most {limit}")]
    TooManyWorkers {
        /// What was asked for.
        asked: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A setting lies outside its range.
    #[error("{setting} is {value}; it must be from {least} to {most}")]
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What was asked for.
        value: usize,
        /// The least that works.
        least: usize,
        /// The most that works.
        most: usize,
    },
}

/// A channel could not be declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// The channel carries another type.
    #[error(
        "channel ({source_name:?}, {event:?}) carries {declared} and cannot be declared for {asked}"
    )]
    OtherType {
        /// The channel's source.
        source_name: String,
        /// The channel's event.
        event: String,
        /// The type that it was declared with.
        declared: &'static str,
        /// The type asked for now.
        asked: &'static str,
    },
    /// The name is empty, is or holds a `*`, or ends in an operation (`:create`, `:update`,
    /// `:delete`).
    #[error("({source_name:?}, {event:?}) cannot name a channel: {reason}")]
    BadName {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A handler or subscriber could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No such channel was declared.
    #[error(
        "cannot listen to ({source_name:?}, {event:?}): no such channel was declared{}",
        hint(near)
    )]
    UnknownChannel {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// Declared channels with names like it.
        near: Vec<String>,
    },
    /// The channel carries another type.
    #[error(
        "cannot listen to ({source_name:?}, {event:?}) for {asked}: the channel carries {declared}"
    )]
    OtherType {
        /// The channel's source.
        source_name: String,
        /// The channel's event.
        event: String,
        /// The type that it was declared with.
        declared: &'static str,
        /// The type that the handler takes.
        asked: &'static str,
    },
    /// A typed handler asked for a wildcard.
    #[error(
        "cannot listen to ({source_name:?}, {event:?}) for {asked}: wildcards take the dynamic form, see \
         register_dynamic"
    )]
    TypedWildcard {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// The type that the handler takes.
        asked: &'static str,
    },
    /// The names can match no channel, now or later.
    #[error("cannot listen to ({source_name:?}, {event:?}): {reason}")]
    HearsNothing {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// Why.
        reason: &'static str,
    },
    /// An option lies outside its range.
    #[error(
        "cannot listen to ({source_name:?}, {event:?}): {option} must be from {least} to {most}, got {value}"
    )]
    OutOfRange {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// The option.
        option: &'static str,
        /// What was asked for.
        value: usize,
        /// The least that works.
        least: usize,
        /// The most that works.
        most: usize,
    },
    /// An async handler was registered outside a tokio runtime, and the bus was given none.
    #[error(
        "cannot listen to ({source_name:?}, {event:?}): an async handler needs an executor: register it inside a \
         tokio runtime, or name one when the bus is built"
    )]
    NoRuntime {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
    },
    /// The bus was shut down.
    #[error("cannot listen to ({source_name:?}, {event:?}): the bus was shut down")]
    Closed {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
    },
}

/// A worker could not be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The bus was built for fewer workers.
    #[error("cannot attach worker {index}: the bus was built for {workers} workers")]
    NoSuchWorker {
        /// The index asked for.
        index: usize,
        /// How many workers there are.
        workers: usize,
    },
    /// Another thread has this place.
    #[error("cannot attach worker {index}: another thread has its place")]
    Taken {
        /// The index asked for.
        index: usize,
    },
    /// The bus was shut down.
    #[error("cannot attach worker {index}: the bus was shut down")]
    Closed {
        /// The index asked for.
        index: usize,
    },
}

/// Why a post was refused. No listener received the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bus was shut down.
    #[error("the bus was shut down")]
    Closed,
    /// No such channel was declared.
    #[error("no channel ({source_name:?}, {event:?}) was declared{}", hint(near))]
    UnknownChannel {
        /// The source asked for.
        source_name: String,
        /// The event asked for.
        event: String,
        /// Declared channels with names like it.
        near: Vec<String>,
    },
    /// The channel carries another type.
    #[error("channel ({source_name:?}, {event:?}) carries {declared}, not {asked}")]
    OtherType {
        /// The channel's source.
        source_name: String,
        /// The channel's event.
        event: String,
        /// The type that it was declared with.
        declared: &'static str,
        /// The type that was posted.
        asked: &'static str,
    },
    /// Handlers post to each other without end.
    #[error("handlers post in a cycle: {} (limit {limit})", cycle.join(" -> "))]
    TooDeep {
        /// The channels of the cycle, the last being the one refused.
        cycle: Vec<String>,
        /// How deep posts may nest.
        limit: u32,
    },
    /// The payload is larger than the bus allows.
    #[error("the payload is over the limit of {limit} bytes")]
    Oversized {
        /// The limit, in bytes of JSON.
        limit: usize,
    },
    /// The payload's size could not be taken, since it does not serialize.
    #[error("the payload does not serialize, so its size is unknown: {reason}")]
    Unmeasurable {
        /// serde's message.
        reason: String,
    },
    /// A subscriber that drops nothing has no room for it.
    #[error("the queue of subscriber {subscriber:?} is full")]
    Full {
        /// The subscriber's name.
        subscriber: String,
    },
    /// A handler posted more events than the bus keeps until it returns, or more changes wait for a
    /// slow handler than the bus keeps.
    #[error("{limit} posts are pending")]
    TooManyPending {
        /// How many are kept.
        limit: usize,
    },
    /// The bus remembers this many keys of unique posts, and all are within their windows. The next
    /// window that ends frees one.
    #[error("{limit} keys of unique posts are within their windows")]
    TooManyKeys {
        /// How many the bus remembers.
        limit: usize,
    },
    /// A post to the current worker was made on a thread that is not a worker.
    #[error("this thread is not a worker of the bus")]
    NotAWorker,
    /// A post to one worker found no living worker that listens.
    #[error("no worker listens to the channel")]
    NoWorker,
    /// The target suits plain channels only; a change of a row concerns every worker.
    #[error("a CRUD channel can be posted to all workers only")]
    CrudTarget,
}

/// A post was refused; the payload comes back.
///
/// Its text names the channel; the [`Refusal`] is its `source`.
pub struct PostError<T> {
    /// The payload, untouched.
    pub payload: T,
    /// Why.
    pub refusal: Refusal,
    /// The channel, such as `("jobs", "done")`.
    channel: Box<str>,
}

impl<T> PostError<T> {
    #[cold]
    pub(crate) fn new(payload: T, refusal: Refusal, source: &str, event: &str) -> Self {
        Self {
            payload,
            refusal,
            channel: format!("({source:?}, {event:?})").into(),
        }
    }

    /// Returns the same refusal with another payload.
    pub(crate) fn with<U>(self, payload: impl FnOnce(T) -> U) -> PostError<U> {
        PostError {
            payload: payload(self.payload),
            refusal: self.refusal,
            channel: self.channel,
        }
    }
}

impl<T> fmt::Debug for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostError")
            .field("channel", &self.channel)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot post to {}", self.channel)
    }
}

impl<T> Error for PostError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

fn hint(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; near: {}", near.join(", "))
    }
}
