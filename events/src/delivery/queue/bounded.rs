//! [`Bounded`]: a queue of one subscriber's own, for policies that are decided when an event is
//! posted.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use tidings_core::Operation;
use tokio::sync::Notify;

use crate::{
    delivery::{
        envelope::Envelope,
        offer::Offer,
        queue::{
            options::Overflow,
            outlet::{Full, Outlet, Slot},
            stats::SubscriberStats,
        },
        work::Work,
    },
    event::payload::Event,
    faults::{self, Step},
    isolate::{self, discard},
    sync::{AtomicBool, Mutex, Ordering},
};

/// The parameters of a new queue.
#[derive(Clone)]
pub(crate) struct QueueSpec {
    pub(crate) serial: u64,
    pub(crate) name: Arc<str>,
    pub(crate) operation: Option<Operation>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
}

pub(crate) struct Bounded<T: Event> {
    spec: QueueSpec,
    /// Set for an async handler's queue: each event counts as work under way, and its handler as
    /// one to wait for.
    awaited: Option<Arc<Awaiting>>,
    state: Mutex<State<T>>,
    asleep: AtomicBool,
    room: Arc<Notify>,
}

struct State<T: Event> {
    queue: VecDeque<Item<T>>,
    /// Slots kept for posts on their way.
    reserved: usize,
    events: usize,
    /// Turned away since the last accepted event.
    missing: u64,
    posted: u64,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

/// What the events of an async handler have in common.
pub(crate) struct Awaiting {
    work: Arc<Work>,
    /// The registration has ended: no call begins any more, and an event without one is no loss.
    ended: AtomicBool,
}

impl Awaiting {
    pub(crate) fn new(work: &Arc<Work>) -> Arc<Self> {
        Arc::new(Self {
            work: Arc::clone(work),
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// An event that a caller may wait for. It is done when this is dropped, however the handling
/// ended.
pub(crate) struct Awaited<T: Event> {
    pub(crate) event: Arc<Envelope<T>>,
    awaiting: Arc<Awaiting>,
    call: Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Not begun, or cut off by the end of its runtime.
    Open,
    Over,
}

impl<T: Event> Awaited<T> {
    /// Notes that its call is over, well or not.
    pub(crate) fn finished(mut self) {
        self.call = Call::Over;
    }
}

impl<T: Event> Drop for Awaited<T> {
    fn drop(&mut self) {
        let lost = self.call == Call::Open && !self.awaiting.is_ended();
        if lost {
            self.awaiting.work.count_lost();
        }

        if let Some(completion) = self.event.meta().completion() {
            if lost {
                completion.missed_by_one();
            }
            completion.task_done();
        }
        self.awaiting.work.end_task();
    }
}

enum Item<T: Event> {
    Event(Arc<Envelope<T>>),
    Missed(u64),
}

/// The result of taking an event out.
pub(crate) enum Taken<T: Event> {
    Event(Arc<Envelope<T>>),
    Missed(u64),
    Empty,
    Closed,
}

impl<T: Event> Bounded<T> {
    pub(crate) fn new(spec: QueueSpec) -> Self {
        Self {
            spec,
            awaited: None,
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

    /// Counts each event as work under way until its [`Awaited`] is dropped.
    pub(crate) fn awaited(mut self, awaiting: &Arc<Awaiting>) -> Self {
        self.awaited = Some(Arc::clone(awaiting));
        self
    }

    pub(crate) fn next(&self) -> Taken<T> {
        let mut state = self.state.lock();
        match state.queue.pop_front() {
            Some(Item::Event(event)) => {
                state.events -= 1;
                drop(state);

                if self.spec.overflow.waits() {
                    isolate::notify(&self.room);
                }
                Taken::Event(event)
            }
            Some(Item::Missed(missed)) => Taken::Missed(missed),
            None if state.missing > 0 => Taken::Missed(mem::take(&mut state.missing)),
            None if state.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }

    /// Returns the guard of an event that was taken out of an awaited queue.
    pub(crate) fn guard(&self, event: Arc<Envelope<T>>) -> Option<Awaited<T>> {
        let awaiting = Arc::clone(self.awaited.as_ref()?);
        Some(Awaited {
            event,
            awaiting,
            call: Call::Open,
        })
    }

    pub(crate) fn sleep(&self, waker: &Waker) -> Poll<()> {
        let new = waker.clone(); // with no lock held, as is the drop of the one that it replaces

        // Checked and noted under one lock: a post comes before, and is seen, or after, and finds
        // the waker.
        let state = self.state.lock();
        if !state.queue.is_empty() || state.missing > 0 || state.closed {
            return Poll::Ready(());
        }

        let mut state = faults::window(Step::SleepHoldsLock, state, &self.state);
        let old = state.waker.replace(new);
        self.asleep.store(true, Ordering::Release);
        drop(state);

        discard("a waker", old);
        Poll::Pending
    }

    /// Ends the queue for a subscriber that is gone: nothing is taken any more, and posts do not
    /// wait for it.
    pub(crate) fn leave(&self) {
        let rest = {
            let mut state = self.state.lock();
            state.closed = true;
            state.events = 0;
            mem::take(&mut state.queue)
        };

        isolate::notify(&self.room);
        for item in rest {
            if let Item::Event(event) = item {
                drop(self.guard(event));
            }
        }
    }
}

impl<T: Event> Outlet<T> for Bounded<T> {
    fn serial(&self) -> u64 {
        self.spec.serial
    }

    fn operation(&self) -> Option<Operation> {
        self.spec.operation
    }

    fn overflow(&self) -> Overflow {
        self.spec.overflow
    }

    fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    fn push(&self, event: &Arc<Envelope<T>>, slot: Slot) -> Offer {
        let mut state = self.state.lock();
        if slot == Slot::Reserved {
            state.reserved -= 1;
        }
        if state.closed {
            return Offer::Closed;
        }

        state.posted += 1;
        if slot == Slot::Free && state.events + state.reserved >= self.spec.capacity {
            state.missed += 1;
            state.missing += 1;
            return Offer::Missed;
        }

        if state.missing > 0 {
            let missed = mem::take(&mut state.missing);
            state.queue.push_back(Item::Missed(missed));
        }

        if let Some(awaiting) = &self.awaited {
            if let Some(completion) = event.meta().completion() {
                completion.expect_task();
            }
            awaiting.work.begin_task();
        }

        state.events += 1;
        state.queue.push_back(Item::Event(Arc::clone(event)));
        Offer::Accepted
    }

    fn miss(&self, missed: u64) {
        let mut state = self.state.lock();
        if !state.closed {
            state.posted += missed;
            state.missed += missed;
            state.missing += missed;
        }
    }

    fn wake(&self) {
        if self.asleep.load(Ordering::Acquire) {
            let waker = {
                let mut state = self.state.lock();
                self.asleep.store(false, Ordering::Release);
                state.waker.take()
            };
            if let Some(waker) = waker {
                isolate::wake(waker);
            }
        }
    }

    fn reserve(&self) -> Result<(), Full> {
        let mut state = self.state.lock();
        if !state.closed && state.events + state.reserved >= self.spec.capacity {
            let waits = self.spec.overflow.waits();
            return Err(Full {
                subscriber: self.spec.name.to_string(),
                room: waits.then(|| Arc::clone(&self.room)),
            });
        }

        state.reserved += 1;
        Ok(())
    }

    fn release(&self) {
        self.state.lock().reserved -= 1;
        isolate::notify(&self.room);
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.asleep.store(true, Ordering::Release);
        self.wake();
        isolate::notify(&self.room);
    }

    fn stats(&self) -> Vec<SubscriberStats> {
        let state = self.state.lock();
        vec![SubscriberStats {
            name: self.spec.name.to_string(),
            capacity: self.spec.capacity,
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

    /// What came between the last check and the sleep is seen by the sleep: it must not wait for
    /// the next wake-up.
    #[test]
    fn no_queue_sleeps_that_has_something_to_take() {
        let bus = crate::tests::bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let options = SubscribeOptions::new()
            .capacity(1)
            .overflow(Overflow::DropNewest);
        let queue = Bounded::new(channel.core.queue_spec(None, &options));
        let push = |number| queue.push(&channel.core.envelope(Note(number), None), Slot::Free);
        let sleeps = || queue.sleep(Waker::noop()).is_pending();

        assert!(sleeps(), "empty");
        assert_eq!(push(1), Offer::Accepted);
        assert!(!sleeps(), "an event");

        assert_eq!(push(2), Offer::Missed);
        assert!(matches!(queue.next(), Taken::Event(_)));
        assert!(!sleeps(), "a gap");
        assert!(matches!(queue.next(), Taken::Missed(1)));
        assert!(sleeps(), "empty again");

        queue.close();
        assert!(!sleeps(), "the end");
    }
}
