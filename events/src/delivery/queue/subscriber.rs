//! [`Subscriber`]: the receiving end of a queue, for tasks.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{
    Heard, Received, TryRecvError,
    bounded::{Bounded, Taken},
    log::{Next, Reader},
};
use crate::{
    channel::core::ChannelCore,
    event::{dynamic::Event, gap::Gap},
};

/// The counts of one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// Its name: as given, else its type of event.
    pub name: String,
    /// How many events its queue holds.
    pub capacity: usize,
    /// Events posted since it subscribed.
    pub posted: u64,
    /// Events that it did not get, as reported in gaps. In a shared log they are counted when the subscriber
    /// comes to the gap.
    pub missed: u64,
    /// Events in its queue, to within a batch of 32.
    pub depth: u64,
}

/// Receives a channel's events. Unsubscribes when dropped.
///
/// As a [`Stream`] it yields the same [`Heard`] values, gaps included.
pub struct Subscriber<T: Event> {
    queue: Queue<T>,
    channel: Weak<ChannelCore<T>>,
}

pub(crate) enum Queue<T: Event> {
    Log(Reader<T>),
    Bounded(Arc<Bounded<T>>, u64),
}

impl<T: Event> Subscriber<T> {
    pub(crate) fn new(queue: Queue<T>, channel: Weak<ChannelCore<T>>) -> Self {
        Self { queue, channel }
    }

    /// The next event, or the gap in its place; none once the bus was shut down and the queue is empty.
    ///
    /// Cancel safe: nothing is lost.
    pub async fn recv(&mut self) -> Option<Heard<T>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next event or gap, if there is one.
    ///
    /// # Errors
    ///
    /// There is none, now or for ever.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Heard<T>, TryRecvError> {
        if let Queue::Log(reader) = &mut self.queue
            && let Some(event) = reader.next_at_hand()
        {
            return Ok(Heard::Event(event));
        }
        self.try_recv_slow()
    }

    #[inline(never)]
    fn try_recv_slow(&mut self) -> Result<Heard<T>, TryRecvError> {
        let missed = match &mut self.queue {
            Queue::Log(reader) => match reader.next() {
                Next::Event(event) => return Ok(Heard::Event(event)),
                Next::Missed(missed) => missed,
                Next::Empty => return Err(TryRecvError::Empty),
                Next::Closed => return Err(TryRecvError::Closed),
            },
            Queue::Bounded(queue, _) => match queue.next() {
                Taken::Event(event) => return Ok(Heard::Event(Received::new(event))),
                Taken::Missed(missed) => missed,
                Taken::Empty => return Err(TryRecvError::Empty),
                Taken::Closed => return Err(TryRecvError::Closed),
            },
        };
        Ok(Heard::Gap(gap_of(&self.channel, missed)))
    }

    /// [`recv`](Self::recv) for hand-written futures.
    #[inline]
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard<T>>> {
        loop {
            match self.try_recv() {
                Ok(heard) => return Poll::Ready(Some(heard)),
                Err(TryRecvError::Closed) => return Poll::Ready(None),
                Err(TryRecvError::Empty) => ready!(self.sleep(context)),
            }
        }
    }

    fn sleep(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.queue {
            Queue::Log(reader) => reader.sleep(context.waker()),
            Queue::Bounded(queue, _) => queue.sleep(context.waker()),
        }
    }
}

/// A gap on this channel; without names where the channel is gone with its bus.
pub(crate) fn gap_of<T: Event>(channel: &Weak<ChannelCore<T>>, missed: u64) -> Gap {
    let (source, event) = channel.upgrade().map_or_else(
        || ("".into(), "".into()),
        |core| (Arc::clone(&core.info.source), Arc::clone(&core.info.event)),
    );
    Gap {
        source,
        event,
        missed,
    }
}

impl<T: Event> Stream for Subscriber<T> {
    type Item = Heard<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Heard<T>>> {
        self.get_mut().poll_recv(context)
    }
}

impl<T: Event> Unpin for Subscriber<T> {}

impl<T: Event> Drop for Subscriber<T> {
    fn drop(&mut self) {
        match &mut self.queue {
            Queue::Log(reader) => {
                if reader.leave()
                    && let Some(core) = self.channel.upgrade()
                {
                    core.remove_log(reader.log());
                }
            }
            Queue::Bounded(queue, serial) => {
                queue.leave();
                if let Some(core) = self.channel.upgrade() {
                    core.remove_outlet(*serial);
                }
            }
        }
    }
}

impl<T: Event> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}
