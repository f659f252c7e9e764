//! [`SubscribeOptions`]: the settings of a subscriber's queue, above all what happens when it is
//! full.

use crate::error::RegisterError;

/// What a subscriber's full queue does with an event. The bus counts every event that the
/// subscriber misses, and reports it as a [`Gap`](crate::Gap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Drops the oldest event in the queue. This is the cheapest policy: all such subscribers of a
    /// channel share one log.
    #[default]
    DropOldest,
    /// Drops the new event.
    DropNewest,
    /// Refuses the post with [`Refusal::Full`](crate::Refusal::Full), before any listener receives
    /// the event. A change of a row has already happened and cannot be refused, so on a CRUD
    /// channel this drops the newest event.
    Error,
    /// Makes `post_async` and `post_blocking` wait for room. `post` never waits, so it is refused
    /// as with [`Error`](Self::Error). On a CRUD channel this drops the newest event.
    Wait,
}

/// The event that a full queue drops when it gets one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Oldest,
    Newest,
}

impl Overflow {
    /// Returns whether a full queue refuses the post. A strict queue reserves a slot before any
    /// listener receives the event.
    pub(crate) const fn is_strict(self) -> bool {
        match self {
            Self::Error | Self::Wait => true,
            Self::DropOldest | Self::DropNewest => false,
        }
    }

    /// Returns whether a refused post may wait for room.
    pub(crate) const fn waits(self) -> bool {
        match self {
            Self::Wait => true,
            Self::DropOldest | Self::DropNewest | Self::Error => false,
        }
    }

    /// Returns whether all subscribers of a channel with this policy read one log.
    pub(crate) const fn shares_log(self) -> bool {
        match self {
            Self::DropOldest => true,
            Self::DropNewest | Self::Error | Self::Wait => false,
        }
    }

    /// Returns which event a full queue drops when it gets one without a reserved slot. A strict
    /// queue gets such events on CRUD channels only.
    pub(crate) const fn victim(self) -> Victim {
        match self {
            Self::DropOldest => Victim::Oldest,
            Self::DropNewest | Self::Error | Self::Wait => Victim::Newest,
        }
    }
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
    /// Returns the default options: 1024 events, and the oldest is dropped on overflow.
    pub fn new() -> Self {
        Self {
            capacity: 1024,
            overflow: Overflow::default(),
            name: None,
        }
    }

    /// Sets how many events the queue holds, from 1 to 16,777,216. Subscribing with any other
    /// capacity fails.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Sets what a full queue does.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Names the subscriber in errors and statistics.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    pub(crate) fn check(&self, source: &str, event: &str) -> Result<(), RegisterError> {
        let (least, most) = (1, 1 << 24);
        if (least..=most).contains(&self.capacity) {
            return Ok(());
        }

        Err(RegisterError::OutOfRange {
            source_name: source.to_owned(),
            event: event.to_owned(),
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
