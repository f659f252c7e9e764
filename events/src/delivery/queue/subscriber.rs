//! [`Subscriber`]: the receiving end of a queue, for tasks.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use tokio::task::coop;

use crate::{
    delivery::queue::{
        bounded::{Bounded, Taken},
        log::{Next, Reader},
        outlet::{Outlet, OutletOwner},
        received::{Received, TryRecvError},
    },
    event::{gap::Gap, heard::Heard, info::ChannelInfo, payload::Event},
};

/// Receives a channel's events. Unsubscribes when dropped.
///
/// As a [`Stream`] it yields the same [`Heard`] values, gaps included.
pub struct Subscriber<T: Event> {
    queue: Queue<T>,
    channel: Arc<ChannelInfo>,
    owner: Weak<dyn OutletOwner>,
}

pub(crate) enum Queue<T: Event> {
    Log(Reader<T>),
    Bounded(Arc<Bounded<T>>),
}

impl<T: Event> Subscriber<T> {
    pub(crate) fn new(
        queue: Queue<T>,
        channel: Arc<ChannelInfo>,
        owner: Weak<dyn OutletOwner>,
    ) -> Self {
        Self {
            queue,
            channel,
            owner,
        }
    }

    /// Returns the next event, or the gap in its place; none once the bus was shut down and the
    /// queue is empty.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn recv(&mut self) -> Option<Heard<Received<T>>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Returns the next event or gap, if there is one.
    ///
    /// # Errors
    ///
    /// There is none now, or none can come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Heard<Received<T>>, TryRecvError> {
        if let Queue::Log(reader) = &mut self.queue
            && let Some(event) = reader.next_at_hand()
        {
            return Ok(Heard::event(event));
        }
        self.try_recv_slow()
    }

    #[inline(never)]
    fn try_recv_slow(&mut self) -> Result<Heard<Received<T>>, TryRecvError> {
        let missed = match &mut self.queue {
            Queue::Log(reader) => match reader.next() {
                Next::Event(event) => return Ok(Heard::event(event)),
                Next::Missed(missed) => missed,
                Next::Empty => return Err(TryRecvError::Empty),
                Next::Closed => return Err(TryRecvError::Closed),
            },
            Queue::Bounded(queue) => match queue.next() {
                Taken::Event(event) => return Ok(Heard::event(Received::new(event))),
                Taken::Missed(missed) => missed,
                Taken::Empty => return Err(TryRecvError::Empty),
                Taken::Closed => return Err(TryRecvError::Closed),
            },
        };
        Ok(Heard::gap(Gap::on(&self.channel, missed)))
    }

    /// Polls for the next event: [`recv`](Self::recv) for hand-written futures.
    #[inline]
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard<Received<T>>>> {
        // A share of tokio's budget for each event, so that a queue that is never empty lets other
        // tasks run.
        let budget = ready!(coop::poll_proceed(context));

        loop {
            let heard = match self.try_recv() {
                Ok(heard) => Some(heard),
                Err(TryRecvError::Closed) => None,
                Err(TryRecvError::Empty) => {
                    ready!(self.sleep(context));
                    continue;
                }
            };

            budget.made_progress();
            return Poll::Ready(heard);
        }
    }

    fn sleep(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.queue {
            Queue::Log(reader) => reader.sleep(context.waker()),
            Queue::Bounded(queue) => queue.sleep(context.waker()),
        }
    }
}

impl<T: Event> Stream for Subscriber<T> {
    type Item = Heard<Received<T>>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Heard<Received<T>>>> {
        self.get_mut().poll_recv(context)
    }
}

impl<T: Event> Unpin for Subscriber<T> {}

impl<T: Event> Drop for Subscriber<T> {
    fn drop(&mut self) {
        match &mut self.queue {
            Queue::Log(reader) => {
                if reader.leave()
                    && let Some(owner) = self.owner.upgrade()
                {
                    owner.remove_idle_log(reader.log().serial());
                }
            }
            Queue::Bounded(queue) => {
                queue.leave();
                if let Some(owner) = self.owner.upgrade() {
                    owner.remove_outlet(queue.serial());
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
