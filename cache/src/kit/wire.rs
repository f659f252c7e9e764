//! [`Wire`]: carries messages from one node to another, each only when a test delivers it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{CacheKey, Cause, Origin};
use tokio::sync::watch;

use crate::{
    answer::{receipt::Invalidation, tag::Tag},
    api::cache::Cache,
};

/// A message from one node to another.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// Something was invalidated by hand.
    Invalidation(Invalidation),
    /// A committed change, which every node handles itself.
    Change { keys: Vec<CacheKey>, tags: Vec<Tag> },
}

/// The sender's end of a wire.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The receiver's name.
    pub(super) to: String,
    queue: Mutex<Queue>,
    /// The position up to which the receiver has applied, or purged for, everything.
    received: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The position of the last message.
    sent: u64,
    waiting: VecDeque<(u64, Message)>,
}

impl Outbox {
    pub(super) fn new(to: &str) -> Arc<Self> {
        Arc::new(Self {
            to: to.into(),
            queue: Mutex::default(),
            received: watch::Sender::new(0),
        })
    }

    /// Queues a message, and returns its position.
    pub(super) fn send(&self, message: Message) -> u64 {
        let mut queue = self.queue.lock();
        queue.sent += 1;
        let position = queue.sent;
        queue.waiting.push_back((position, message));
        position
    }

    pub(super) fn has_received(&self, position: u64) -> bool {
        *self.received.borrow() >= position
    }

    /// Waits until the receiver has applied everything up to a position.
    pub(super) async fn received(self: Arc<Self>, position: u64) {
        let mut received = self.received.subscribe();
        // Fails only if the sender was dropped, and `self` owns it.
        drop(received.wait_for(|received| *received >= position).await);
    }
}

/// The messages from one node to another. A message moves only when a test delivers it.
pub struct Wire {
    outbox: Arc<Outbox>,
    receiver: Cache,
    /// Locked while a message is applied: one at a time.
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// By position, the number on the receiving node of the message, or of the purge for it.
    numbers: BTreeMap<u64, u64>,
    /// The last delivered message.
    last: Option<(u64, Message)>,
}

/// The result of a delivered message. Its handlers run under its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// It was applied.
    Applied {
        /// The cause under which handlers of it run.
        cause: Cause,
    },
    /// It had come before, or had been purged for. It was applied again, under the number that it
    /// had then.
    Again {
        /// The cause under which handlers of it run.
        cause: Cause,
    },
    /// It proved that messages before it were lost. The node was purged, then it was applied.
    Gap {
        /// How many were lost.
        lost: u64,
        /// The cause under which handlers of it run.
        cause: Cause,
    },
}

impl Delivery {
    /// Returns the cause under which handlers of the message run.
    #[must_use]
    pub fn cause(&self) -> Cause {
        let (Self::Applied { cause } | Self::Again { cause } | Self::Gap { cause, .. }) = *self;
        cause
    }
}

impl Wire {
    pub(super) fn new(outbox: Arc<Outbox>, receiver: Cache) -> Self {
        Self {
            outbox,
            receiver,
            inbox: Mutex::default(),
        }
    }

    /// Returns how many messages were sent, but neither delivered nor lost.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.queue.lock().waiting.len()
    }

    /// Returns how many messages were ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.outbox.queue.lock().sent
    }

    /// Delivers the oldest message that waits; `None` if there is none.
    pub fn deliver(&self) -> Option<Delivery> {
        self.deliver_nth(0)
    }

    /// Delivers the message at this place among those that wait, counted from zero: it overtakes
    /// the ones before it. `None` if there is none.
    pub fn deliver_nth(&self, place: usize) -> Option<Delivery> {
        let mut inbox = self.inbox.lock();
        let (position, message) = self.outbox.queue.lock().waiting.remove(place)?;
        Some(self.receive(&mut inbox, position, message))
    }

    /// Delivers all messages that wait, the oldest first.
    pub fn deliver_all(&self) -> Vec<Delivery> {
        std::iter::from_fn(|| self.deliver()).collect()
    }

    /// Delivers the last delivered message again; `None` if there was none.
    pub fn repeat(&self) -> Option<Delivery> {
        let mut inbox = self.inbox.lock();
        let (position, message) = inbox.last.clone()?;
        Some(self.receive(&mut inbox, position, message))
    }

    /// Loses the oldest message that waits. Returns whether there was one.
    pub fn lose(&self) -> bool {
        self.outbox.queue.lock().waiting.pop_front().is_some()
    }

    /// Delivers all messages that wait, then tells the receiver how many were sent, so that it
    /// notices even the loss of the last one. Returns whether it had to purge for that.
    pub fn catch_up(&self) -> bool {
        self.deliver_all();
        let mut inbox = self.inbox.lock();
        let sent = self.sent();
        self.purge_for(&mut inbox, sent) > 0
    }

    fn receive(&self, inbox: &mut Inbox, position: u64, message: Message) -> Delivery {
        inbox.last = Some((position, message.clone()));
        let before = inbox.numbers.get(&position).copied();
        let lost = match before {
            None => self.purge_for(inbox, position - 1),
            Some(_) => 0,
        };

        let number = self.apply(&message, before);
        let cause = Cause {
            number,
            origin: Origin::Remote,
        };

        if before.is_some() {
            return Delivery::Again { cause };
        }
        inbox.numbers.insert(position, number);
        self.outbox.received.send_replace(position);

        match lost {
            0 => Delivery::Applied { cause },
            lost => Delivery::Gap { lost, cause },
        }
    }

    /// Purges if any message up to a position was lost. Returns how many were.
    fn purge_for(&self, inbox: &mut Inbox, position: u64) -> u64 {
        let received = *self.outbox.received.borrow();
        let lost = position.saturating_sub(received);
        if lost > 0 {
            let number = self.receiver.purge_node();
            inbox
                .numbers
                .extend((received + 1..=position).map(|lost| (lost, number)));
            self.outbox.received.send_replace(position);
        }

        lost
    }

    fn apply(&self, message: &Message, before: Option<u64>) -> u64 {
        match (message, before) {
            (Message::Invalidation(invalidation), before) => {
                let number = self.receiver.apply_invalidation(invalidation, before);
                before.unwrap_or(number)
            }
            (Message::Change { keys, tags }, None) => self.receiver.apply_change(keys, tags),
            (Message::Change { keys, tags }, Some(number)) => {
                let origin = Origin::Remote;
                let _cause = Cause { number, origin }.enter();
                self.receiver.invalidate_local(keys);
                for tag in tags {
                    self.receiver.invalidate_tag_local(Tag::clone(tag));
                }
                number
            }
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("to", &self.outbox.to)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
