//! [`Bounded`]: a queue of one subscriber's own, for policies that are decided when an event is posted.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use tidings_core::Operation;
use tokio::sync::Notify;

use super::{Full, Outlet, Overflow, SubscriberStats};
use crate::{
    delivery::envelope::Envelope,
    event::dynamic::Event,
    sync::{AtomicBool, Mutex, Ordering},
};

pub(crate) struct Bounded<T: Event> {
    serial: u64,
    name: Arc<str>,
    operation: Option<Operation>,
    capacity: usize,
    overflow: Overflow,
    /// Whether each event counts its handler as one to wait for (an async handler's queue).
    awaited: bool,
    state: Mutex<State<T>>,
    asleep: AtomicBool,
    room: Arc<Notify>,
}

struct State<T: Event> {
    queue: VecDeque<Item<T>>,
    /// Places kept for posts on their way.
    reserved: usize,
    events: usize,
    /// Turned away since the last accepted event.
    missing: u64,
    posted: u64,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

/// An event that somebody may wait for; done with when this is dropped, however the handling ended.
pub(crate) struct Awaited<T: Event>(pub(crate) Arc<Envelope<T>>);

impl<T: Event> Drop for Awaited<T> {
    fn drop(&mut self) {
        let hub = &self.0.core().hub;
        hub.tasks.fetch_sub(1, Ordering::AcqRel);
        if let Some(completion) = self.0.meta().completion() {
            completion.task_done();
        }
        hub.maybe_quiet();
    }
}

enum Item<T: Event> {
    Event(Arc<Envelope<T>>),
    Missed(u64),
}

/// What was taken out.
pub(crate) enum Taken<T: Event> {
    Event(Arc<Envelope<T>>),
    Missed(u64),
    Empty,
    Closed,
}

impl<T: Event> Bounded<T> {
    pub(crate) fn new(
        serial: u64,
        name: Arc<str>,
        operation: Option<Operation>,
        capacity: usize,
        overflow: Overflow,
    ) -> Self {
        Self {
            serial,
            name,
            operation,
            capacity,
            overflow,
            awaited: false,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                reserved: 0,
                events: 0,
                missing: 0,
                posted: 0,
                missed: 0,
                waker: None,
                closed: false,
            }),
            asleep: AtomicBool::new(false),
            room: Arc::new(Notify::new()),
        }
    }

    /// The events of this queue are waited for until `Completion::task_done`.
    pub(crate) fn awaited(mut self) -> Self {
        self.awaited = true;
        self
    }

    pub(crate) fn next(&self) -> Taken<T> {
        let mut state = self.state.lock();
        match state.queue.pop_front() {
            Some(Item::Event(event)) => {
                state.events -= 1;
                drop(state);
                if self.overflow == Overflow::Wait {
                    self.room.notify_waiters();
                }
                Taken::Event(event)
            }
            Some(Item::Missed(missed)) => Taken::Missed(missed),
            None if state.missing > 0 => Taken::Missed(mem::take(&mut state.missing)),
            None if state.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }

    pub(crate) fn sleep(&self, waker: &Waker) -> Poll<()> {
        let state = self.state.lock();
        if !state.queue.is_empty() || state.missing > 0 || state.closed {
            return Poll::Ready(());
        }
        #[cfg(shuttle)]
        let state = crate::faults::relock(&self.state, state);
        let mut state = state;
        state.waker = Some(waker.clone());
        self.asleep.store(true, Ordering::Release);
        Poll::Pending
    }

    /// The subscriber is gone: nothing is taken any more, and posts do not wait for it.
    pub(crate) fn leave(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.closed = true;
            state.events = 0;
            mem::take(&mut state.queue)
        };
        self.room.notify_waiters();
        for item in rest {
            if let Item::Event(event) = item
                && self.awaited
            {
                drop(Awaited(event));
            }
        }
    }
}

impl<T: Event> Outlet<T> for Bounded<T> {
    fn serial(&self) -> u64 {
        self.serial
    }

    fn operation(&self) -> Option<Operation> {
        self.operation
    }

    fn push(&self, event: &Arc<Envelope<T>>, reserved: bool) {
        let mut state = self.state.lock();
        if reserved {
            state.reserved -= 1;
        }
        if state.closed {
            event.core().hub.count_if_closing();
            return;
        }
        state.posted += 1;
        if !reserved && state.events + state.reserved >= self.capacity {
            state.missed += 1;
            state.missing += 1;
            return;
        }
        if state.missing > 0 {
            let missed = mem::take(&mut state.missing);
            state.queue.push_back(Item::Missed(missed));
        }
        if self.awaited {
            if let Some(completion) = event.meta().completion() {
                completion.expect_task();
            }
            event.core().hub.tasks.fetch_add(1, Ordering::AcqRel);
        }
        state.events += 1;
        state.queue.push_back(Item::Event(Arc::clone(event)));
    }

    fn miss(&self) {
        let mut state = self.state.lock();
        if !state.closed {
            state.posted += 1;
            state.missed += 1;
            state.missing += 1;
        }
    }

    fn settle(&self) {
        if self.asleep.load(Ordering::Acquire) {
            let waker = {
                let mut state = self.state.lock();
                self.asleep.store(false, Ordering::Release);
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn is_strict(&self) -> bool {
        matches!(self.overflow, Overflow::Error | Overflow::Wait)
    }

    fn reserve(&self) -> Result<(), Full> {
        let mut state = self.state.lock();
        if !state.closed && state.events + state.reserved >= self.capacity {
            let waits = self.overflow == Overflow::Wait;
            return Err(Full {
                subscriber: self.name.to_string(),
                room: waits.then(|| Arc::clone(&self.room)),
            });
        }
        state.reserved += 1;
        Ok(())
    }

    fn release(&self) {
        self.state.lock().reserved -= 1;
        self.room.notify_waiters();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.asleep.store(true, Ordering::Release);
        self.settle();
        self.room.notify_waiters();
    }

    fn stats(&self) -> Vec<SubscriberStats> {
        let state = self.state.lock();
        vec![SubscriberStats {
            name: self.name.to_string(),
            capacity: self.capacity,
            posted: state.posted,
            missed: state.missed,
            depth: state.events as u64,
        }]
    }
}

#[cfg(all(test, not(shuttle)))] // the models have helpers of their own
mod tests {
    use super::*;
    use crate::{SubscribeOptions, tests::Note};

    /// What came between the look and the sleep is seen by the sleep: it must not wait for the next wake-up.
    #[test]
    fn nobody_sleeps_who_has_something_to_take() {
        let bus = crate::tests::bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let options = SubscribeOptions::new()
            .capacity(1)
            .overflow(Overflow::DropNewest);
        let queue = channel.core.make_bounded(None, options);
        let push = |number| queue.push(&channel.core.envelope(Note(number), None), false);
        let sleeps = || queue.sleep(Waker::noop()).is_pending();
        assert!(sleeps(), "empty");
        push(1);
        assert!(!sleeps(), "an event");
        push(2);
        assert!(matches!(queue.next(), Taken::Event(_)));
        assert!(!sleeps(), "a gap");
        assert!(matches!(queue.next(), Taken::Missed(1)));
        assert!(sleeps(), "empty again");
        queue.close();
        assert!(!sleeps(), "the end");
    }
}
