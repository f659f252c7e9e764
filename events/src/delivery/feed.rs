//! The live feed of all events, and the lifecycle events of the bus: one queue for all listeners,
//! one policy.
//!
//! All listeners share one overflow policy here (the oldest is dropped), so an async-broadcast
//! channel is the right tool. The wrapper turns its reports of lost messages into a [`Gap`].

use std::{collections::VecDeque, fmt, mem, sync::Arc};

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender};
use tidings_core::Operation;
use tokio::task::coop;

use crate::{
    event::{dynamic::DynamicEvent, gap::Gap, heard::Heard, info::ChannelInfo, posted::Posted},
    faults::{self, Step},
    isolate::isolated,
    sync::Mutex,
};

/// The posting side of one feed.
pub(crate) struct Broadcast<M: Clone> {
    sender: Sender<M>,
    /// Keeps the channel open while no one listens.
    _open: InactiveReceiver<M>,
}

impl<M: Clone> Broadcast<M> {
    pub(crate) fn new(capacity: usize) -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(capacity);
        sender.set_overflow(true);
        sender.set_await_active(false);
        Self {
            sender,
            _open: receiver.deactivate(),
        }
    }

    pub(crate) fn listen(&self) -> Receiver<M> {
        self.sender.new_receiver()
    }

    /// Sends a message, and drops what it pushes out. Wakers run here: with no lock of ours held.
    pub(crate) fn push(&self, message: M) {
        isolated("a waker", || {
            // What is returned was pushed out, or had no listener; listeners count what they
            // missed.
            drop(self.sender.try_broadcast(message));
        });
    }

    pub(crate) fn close(&self) {
        self.sender.close();
    }
}

/// A slot for the feed of all events; empty until it is asked for, since feeding it costs every
/// post.
#[derive(Default)]
pub(crate) struct FeedSlot(Mutex<Option<Arc<Feed>>>);

/// The feed of all events. Posts leave their events here in their channels' order, under its lock;
/// they are sent on, and listeners woken, once that lock is released.
pub(crate) struct Feed {
    listeners: Broadcast<Message>,
    capacity: usize,
    staged: Mutex<Staged>,
}

#[derive(Default)]
struct Staged {
    messages: VecDeque<Message>,
    /// Events that found no room here, because a listener's waker holds the sending thread up.
    missed: u64,
    /// A thread is sending; it also sends what arrives now.
    sending: bool,
}

#[derive(Clone)]
pub(crate) enum Message {
    Event(FeedEvent),
    /// Events that are lost to all listeners, of one channel or of any.
    Lost(Gap),
}

impl FeedSlot {
    pub(crate) fn current(&self) -> Option<Arc<Feed>> {
        self.0.lock().clone()
    }

    /// Opens the feed; returns whether it is new.
    pub(crate) fn open(&self, capacity: usize) -> (LiveFeed, bool) {
        let mut slot = self.0.lock();
        let new = slot.is_none();
        let feed = slot.get_or_insert_with(|| {
            Arc::new(Feed {
                listeners: Broadcast::new(capacity),
                capacity,
                staged: Mutex::default(),
            })
        });

        let receiver = feed.listeners.listen();
        (LiveFeed { receiver }, new)
    }

    pub(crate) fn close(&self) {
        if let Some(feed) = self.current() {
            feed.send();
            feed.listeners.close();
        }
    }
}

impl Feed {
    /// Notes an event; called in the channel's order, so nothing is dropped and no waker run here.
    pub(crate) fn push(&self, event: &Arc<dyn Posted>) {
        self.stage(|| Message::Event(FeedEvent(Arc::clone(event))));
    }

    /// Notes events of a channel that are lost to all listeners; called like [`push`](Self::push).
    pub(crate) fn miss(&self, channel: &ChannelInfo, missed: u64) {
        self.stage(|| Message::Lost(Gap::on(channel, missed)));
    }

    fn stage(&self, message: impl FnOnce() -> Message) {
        let mut staged = self.staged.lock();
        if staged.messages.len() >= self.capacity {
            staged.missed += 1;
            return;
        }

        if staged.missed > 0 {
            let missed = mem::take(&mut staged.missed);
            staged
                .messages
                .push_back(Message::Lost(Gap::anywhere(missed)));
        }
        staged.messages.push_back(message());
    }

    pub(crate) fn receivers(&self) -> usize {
        self.listeners.sender.receiver_count()
    }

    /// Sends what was noted; called with no lock held. One thread sends at a time, so that the
    /// order is kept: another that comes leaves its events to it.
    pub(crate) fn send(&self) {
        if mem::replace(&mut self.staged.lock().sending, true) {
            return;
        }
        while let Some(message) = self.next() {
            self.listeners.push(message);
        }
    }

    fn next(&self) -> Option<Message> {
        let mut staged = self.staged.lock();
        let next = staged.messages.pop_front().or_else(|| {
            let missed = mem::take(&mut staged.missed);
            (missed > 0).then(|| Message::Lost(Gap::anywhere(missed)))
        });

        // Cleared in the critical section that found nothing, so the next event is sent by the
        // thread that brings it.
        let mut staged = faults::window(Step::FeedEndsUnderLock, staged, &self.staged);
        staged.sending = next.is_some();
        next
    }
}

/// Receives every event of the bus, in each channel's order; see
/// [`WorkerEvents::feed`](crate::WorkerEvents::feed).
pub struct LiveFeed {
    receiver: Receiver<Message>,
}

/// An event of any channel.
#[derive(Clone)]
pub struct FeedEvent(Arc<dyn Posted>);

impl LiveFeed {
    /// Returns the next event or gap; none once the bus was shut down and the feed is empty.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Heard<FeedEvent>> {
        coop::consume_budget().await;
        match self.receiver.recv_direct().await {
            Ok(Message::Event(event)) => Some(Heard::event(event)),
            Ok(Message::Lost(gap)) => Some(Heard::gap(gap)),
            Err(RecvError::Overflowed(missed)) => Some(Heard::gap(Gap::anywhere(missed))),
            Err(RecvError::Closed) => None,
        }
    }
}

impl FeedEvent {
    /// Returns the source of the channel.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.info().source
    }

    /// Returns the event of the channel.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.0.info().event
    }

    /// Returns what was done to the row; none on channels that carry no changes.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.meta().operation
    }

    /// Reads the event in its dynamic form.
    pub fn read<R>(&self, read: impl FnOnce(&DynamicEvent<'_>) -> R) -> R {
        DynamicEvent::with_posted(&*self.0, read)
    }
}

impl fmt::Debug for LiveFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveFeed").finish_non_exhaustive()
    }
}

impl fmt::Debug for FeedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedEvent")
            .field("source", &self.source())
            .field("event", &self.event())
            .finish_non_exhaustive()
    }
}

/// An event in the life of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// A thread took this worker's place.
    WorkerAttached(usize),
    /// The worker's thread ended, or gave its place up.
    WorkerLeft(usize),
    /// A shutdown began: nothing is accepted any more.
    Closing,
    /// What was accepted was handled or counted.
    Closed,
}

/// Receives the events in the life of the bus; see
/// [`WorkerEvents::lifecycle`](crate::WorkerEvents::lifecycle).
pub struct LifecycleFeed {
    receiver: Receiver<Lifecycle>,
}

impl LifecycleFeed {
    pub(crate) fn new(receiver: Receiver<Lifecycle>) -> Self {
        Self { receiver }
    }

    /// Returns the next event; none after [`Lifecycle::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Heard<Lifecycle>> {
        coop::consume_budget().await;
        match self.receiver.recv_direct().await {
            Ok(signal) => Some(Heard::event(signal)),
            Err(RecvError::Overflowed(missed)) => Some(Heard::gap(Gap::anywhere(missed))),
            Err(RecvError::Closed) => None,
        }
    }
}

impl fmt::Debug for LifecycleFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifecycleFeed").finish_non_exhaustive()
    }
}
