//! How a subscriber wants its queue.

use crate::error::RegisterError;

/// What happens to an event when a subscriber's queue is full. Every event that is not received is counted and
/// reported as a [`Gap`](crate::Gap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest event in the queue makes room. The cheapest: all such subscribers of a channel with the same
    /// capacity share one log.
    #[default]
    DropOldest,
    /// The new event is left out.
    DropNewest,
    /// The post is refused with [`Refusal::Full`](crate::Refusal::Full), before anybody has heard of it. A
    /// change of a row cannot be refused any more: on a CRUD channel this drops the newest.
    Error,
    /// `post_async` and `post_blocking` wait for room; `post`, which never waits, is refused as with
    /// [`Error`](Self::Error). On a CRUD channel this drops the newest.
    Wait,
}

/// Options of a subscription.
#[derive(Clone, Debug)]
#[must_use]
pub struct SubscribeOptions {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) name: Option<String>,
}

impl SubscribeOptions {
    /// 1024 events, the oldest dropped on overflow.
    pub fn new() -> Self {
        Self {
            capacity: 1024,
            overflow: Overflow::default(),
            name: None,
        }
    }

    /// How many events the queue holds.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// What happens when it is full.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// The subscriber's name in errors and statistics.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), RegisterError> {
        let (least, most) = (1, 1 << 24);
        if (least..=most).contains(&self.capacity) {
            return Ok(());
        }
        Err(RegisterError::OutOfRange {
            option: "capacity",
            value: self.capacity,
            least,
            most,
        })
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::new()
    }
}
