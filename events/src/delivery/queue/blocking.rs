//! [`BlockingSubscriber`]: the receiving end of a queue, for plain threads, over a crossbeam
//! channel.
//!
//! Each event carries its number in the channel's order as this subscriber counts it, so the
//! receiver sees by the numbers alone what is missing, wherever it was dropped.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use tidings_core::Operation;
use tokio::sync::Notify;

use crate::{
    delivery::{
        envelope::Envelope,
        offer::Offer,
        queue::{
            bounded::QueueSpec,
            options::{Overflow, Victim},
            outlet::{Full, Outlet, OutletOwner, Slot},
            received::{Received, TryRecvError},
            stats::SubscriberStats,
        },
    },
    event::{gap::Gap, heard::Heard, info::ChannelInfo, payload::Event},
    isolate,
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering},
};

type Numbered<T> = (u64, Arc<Envelope<T>>);

/// The posting end.
pub(crate) struct Blocking<T: Event> {
    spec: QueueSpec,
    /// None once closed; what is in the channel can still be received.
    sender: Mutex<Option<Sender<Numbered<T>>>>,
    /// Takes the oldest event out, to make room for the newest.
    oldest: Receiver<Numbered<T>>,
    /// Events offered; written in the channel's order, after the event was put in or dropped.
    posted: AtomicU64,
    missed: AtomicU64,
    reserved: AtomicUsize,
    /// Replaced events, dropped outside the locks.
    replaced: Mutex<Vec<Numbered<T>>>,
    room: Arc<Notify>,
}

impl<T: Event> Blocking<T> {
    pub(crate) fn new(spec: QueueSpec) -> (Self, Receiver<Numbered<T>>) {
        let (sender, receiver) = crossbeam_channel::bounded(spec.capacity);
        let queue = Self {
            spec,
            sender: Mutex::new(Some(sender)),
            oldest: receiver.clone(),
            posted: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            reserved: AtomicUsize::new(0),
            replaced: Mutex::new(Vec::new()),
            room: Arc::new(Notify::new()),
        };
        (queue, receiver)
    }

    fn send(&self, sender: &Sender<Numbered<T>>, mut item: Numbered<T>) -> Offer {
        loop {
            item = match sender.try_send(item) {
                Ok(()) => return Offer::Accepted,
                Err(TrySendError::Disconnected(_)) => return Offer::Closed,
                Err(TrySendError::Full(item)) => item,
            };

            match self.spec.overflow.victim() {
                Victim::Newest => {
                    self.missed.fetch_add(1, Ordering::Relaxed);
                    self.replaced.lock().push(item);
                    return Offer::Missed;
                }
                // The receiver may have made room by now; then nothing is lost.
                Victim::Oldest => {
                    if let Ok(oldest) = self.oldest.try_recv() {
                        self.missed.fetch_add(1, Ordering::Relaxed);
                        self.replaced.lock().push(oldest);
                    }
                }
            }
        }
    }
}

impl<T: Event> Outlet<T> for Blocking<T> {
    fn serial(&self) -> u64 {
        self.spec.serial
    }

    fn operation(&self) -> Option<Operation> {
        self.spec.operation
    }

    fn overflow(&self) -> Overflow {
        self.spec.overflow
    }

    fn push(&self, event: &Arc<Envelope<T>>, slot: Slot) -> Offer {
        let sender = self.sender.lock();
        if slot == Slot::Reserved {
            self.reserved.fetch_sub(1, Ordering::AcqRel);
        }
        let Some(sender) = &*sender else {
            return Offer::Closed;
        };

        let number = self.posted.load(Ordering::Relaxed);
        let taken = self.oldest.len() + self.reserved.load(Ordering::Acquire);
        let strict = self.spec.overflow.is_strict();
        let offer = if slot == Slot::Free && strict && taken >= self.spec.capacity {
            self.missed.fetch_add(1, Ordering::Relaxed);
            Offer::Missed
        } else {
            self.send(sender, (number, Arc::clone(event)))
        };

        self.posted.store(number + 1, Ordering::Release);
        offer
    }

    fn miss(&self, missed: u64) {
        let sender = self.sender.lock();
        if sender.is_some() {
            self.missed.fetch_add(missed, Ordering::Relaxed);
            self.posted.fetch_add(missed, Ordering::Release);
        }
    }

    fn wake(&self) {
        let replaced = std::mem::take(&mut *self.replaced.lock());
        drop(replaced);
    }

    fn reserve(&self) -> Result<(), Full> {
        let sender = self.sender.lock();
        let taken = self.oldest.len() + self.reserved.load(Ordering::Acquire);
        if sender.is_some() && taken >= self.spec.capacity {
            let waits = self.spec.overflow.waits();
            return Err(Full {
                subscriber: self.spec.name.to_string(),
                room: waits.then(|| Arc::clone(&self.room)),
            });
        }

        self.reserved.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn release(&self) {
        self.reserved.fetch_sub(1, Ordering::AcqRel);
        isolate::notify(&self.room);
    }

    fn close(&self) {
        drop(self.sender.lock().take());
        isolate::notify(&self.room);
    }

    fn stats(&self) -> Vec<SubscriberStats> {
        vec![SubscriberStats {
            name: self.spec.name.to_string(),
            capacity: self.spec.capacity,
            posted: self.posted.load(Ordering::Acquire),
            missed: self.missed.load(Ordering::Relaxed),
            depth: self.oldest.len() as u64,
        }]
    }
}

/// Receives a channel's events on a plain thread. Unsubscribes when dropped.
///
/// Not for workers or tasks: it blocks the thread.
pub struct BlockingSubscriber<T: Event> {
    receiver: Receiver<Numbered<T>>,
    queue: Arc<Blocking<T>>,
    channel: Arc<ChannelInfo>,
    owner: Weak<dyn OutletOwner>,
    /// The number of the event that comes next if none is missing.
    expected: u64,
    /// An event whose gap was reported first.
    held: Option<Numbered<T>>,
}

impl<T: Event> BlockingSubscriber<T> {
    pub(crate) fn new(
        receiver: Receiver<Numbered<T>>,
        queue: Arc<Blocking<T>>,
        channel: Arc<ChannelInfo>,
        owner: Weak<dyn OutletOwner>,
    ) -> Self {
        Self {
            receiver,
            queue,
            channel,
            owner,
            expected: 0,
            held: None,
        }
    }

    /// Returns the next event, or the gap in its place; blocks until there is one. None once the
    /// bus was shut down and the queue is empty.
    pub fn recv(&mut self) -> Option<Heard<Received<T>>> {
        match self.try_recv() {
            Ok(heard) => return Some(heard),
            Err(TryRecvError::Closed) => return None,
            Err(TryRecvError::Empty) => {}
        }

        match self.receiver.recv() {
            Ok(item) => Some(self.take(item)),
            // What was missed at the very end.
            Err(_) => self.try_recv().ok(),
        }
    }

    /// Returns the next event or gap like [`recv`](Self::recv), with a limit on the wait.
    ///
    /// # Errors
    ///
    /// Nothing came in time, or nothing can come.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Heard<Received<T>>, TryRecvError> {
        match self.try_recv() {
            Err(TryRecvError::Empty) => {}
            found => return found,
        }
        match self.receiver.recv_timeout(timeout) {
            Ok(item) => Ok(self.take(item)),
            Err(RecvTimeoutError::Timeout) => Err(TryRecvError::Empty),
            Err(RecvTimeoutError::Disconnected) => self.try_recv(),
        }
    }

    /// Returns the next event or gap, if there is one.
    ///
    /// # Errors
    ///
    /// There is none now, or none can come.
    pub fn try_recv(&mut self) -> Result<Heard<Received<T>>, TryRecvError> {
        if let Some(item) = self.held.take() {
            return Ok(self.take(item));
        }

        // Read before the channel is: what was posted up to here is in it, or missing.
        let posted = self.queue.posted.load(Ordering::Acquire);
        match self.receiver.try_recv() {
            Ok(item) => Ok(self.take(item)),
            Err(_) if posted > self.expected => {
                let missed = posted - self.expected;
                self.expected = posted;
                Ok(Heard::gap(Gap::on(&self.channel, missed)))
            }
            Err(crossbeam_channel::TryRecvError::Empty) => Err(TryRecvError::Empty),
            Err(crossbeam_channel::TryRecvError::Disconnected) => Err(TryRecvError::Closed),
        }
    }

    /// Reports what is missing before the event, then the event.
    fn take(&mut self, (number, event): Numbered<T>) -> Heard<Received<T>> {
        if self.queue.spec.overflow.waits() {
            isolate::notify(&self.queue.room);
        }

        if number > self.expected {
            let missed = number - self.expected;
            self.expected = number;
            self.held = Some((number, event));
            return Heard::gap(Gap::on(&self.channel, missed));
        }
        self.expected = number + 1;
        Heard::event(Received::new(event))
    }
}

impl<T: Event> Iterator for BlockingSubscriber<T> {
    type Item = Heard<Received<T>>;

    fn next(&mut self) -> Option<Heard<Received<T>>> {
        self.recv()
    }
}

impl<T: Event> Drop for BlockingSubscriber<T> {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(owner) = self.owner.upgrade() {
            owner.remove_outlet(self.queue.serial());
        }
    }
}

impl<T: Event> fmt::Debug for BlockingSubscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingSubscriber")
            .field("name", &self.queue.spec.name)
            .finish_non_exhaustive()
    }
}
