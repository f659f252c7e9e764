//! [`Log`]: one ring of events that all subscribers with the same capacity read, each at its own cursor.
//!
//! An event is written once, however many listen. The log is a row of segments; a reader holds the segment that
//! it is in, so receiving takes no lock but at a segment's end, and shares nothing with other readers but the
//! event's own count. A reader that is behind by more than the capacity finds a gap and goes on at the oldest
//! event that is still in the queue. Segments that all readers have left, or that lie beyond the capacity, are
//! cleared and used again: a log in steady use allocates nothing.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, OnceLock},
    task::{Poll, Waker},
};

use tidings_core::Operation;

use super::{Outlet, SubscriberStats};
use crate::{
    envelope::Envelope,
    event::Event,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};

/// Events per segment, where the capacity is not less.
const SEGMENT: usize = 64;

pub(crate) struct Log<T: Event> {
    serial: u64,
    operation: Option<Operation>,
    pub(crate) capacity: u64,
    /// Events per segment; a power of two.
    width: u64,
    /// The position of the next event. Written under `state`.
    head: AtomicU64,
    state: Mutex<State<T>>,
    /// Whether `settle` has something to do.
    unsettled: AtomicBool,
}

struct Segment<T: Event> {
    base: u64,
    slots: Box<[OnceLock<Arc<Envelope<T>>>]>,
}

struct State<T: Event> {
    segments: VecDeque<Arc<Segment<T>>>,
    /// Left by all, still full: cleared outside the locks, since payloads may have drops of their own.
    retired: Vec<Arc<Segment<T>>>,
    /// Cleared.
    spare: Vec<Arc<Segment<T>>>,
    readers: Vec<Option<ReaderState>>,
    /// The readers that sleep.
    sleeping: Vec<usize>,
    closed: bool,
}

struct ReaderState {
    name: Arc<str>,
    /// The first position that was posted after the reader came.
    start: u64,
    /// Where the reader was when it last changed its segment: it needs nothing older.
    position: u64,
    missed: u64,
    waker: Option<Waker>,
}

/// What a reader found.
pub(crate) enum Next<T: Event> {
    Event(Arc<Envelope<T>>),
    Missed(u64),
    Empty,
    Closed,
}

impl<T: Event> Log<T> {
    pub(crate) fn new(serial: u64, operation: Option<Operation>, capacity: usize) -> Self {
        Self {
            serial,
            operation,
            capacity: capacity as u64,
            width: capacity.next_power_of_two().min(SEGMENT) as u64,
            head: AtomicU64::new(0),
            state: Mutex::new(State {
                segments: VecDeque::new(),
                retired: Vec::new(),
                spare: Vec::new(),
                readers: Vec::new(),
                sleeping: Vec::new(),
                closed: false,
            }),
            unsettled: AtomicBool::new(false),
        }
    }

    /// Starts a reader at the next event.
    pub(crate) fn reader(self: &Arc<Self>, name: Arc<str>) -> Reader<T> {
        let mut state = self.state.lock();
        let start = self.head.load(Ordering::Relaxed);
        let reader = ReaderState {
            name,
            start,
            position: start,
            missed: 0,
            waker: None,
        };
        let free = state.readers.iter().position(Option::is_none);
        let index = match free {
            Some(index) => {
                state.readers[index] = Some(reader);
                index
            }
            None => {
                state.readers.push(Some(reader));
                state.readers.len() - 1
            }
        };
        Reader {
            log: Arc::clone(self),
            index,
            next: start,
            segment: None,
        }
    }

    /// One at a time, so that no list has to be made, and with no lock held while one is woken.
    fn wake_sleepers(&self) {
        let asleep = self.state.lock().sleeping.len();
        for _ in 0..asleep {
            let mut state = self.state.lock();
            let waker = state
                .sleeping
                .pop()
                .and_then(|index| state.readers.get_mut(index)?.as_mut()?.waker.take());
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Drops the events of retired segments, with no lock held, and keeps two segments for later.
    fn clear_retired(&self) {
        loop {
            let Some(mut segment) = self.state.lock().retired.pop() else {
                return;
            };
            // A reader may still be in it; then it is the last to let it go.
            let Some(inside) = Arc::get_mut(&mut segment) else {
                continue;
            };
            for slot in &mut inside.slots {
                slot.take();
            }
            let mut state = self.state.lock();
            if state.spare.len() < 2 {
                state.spare.push(segment);
            }
        }
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.state.lock().readers.iter().any(Option::is_some)
    }
}

impl<T: Event> State<T> {
    /// Takes away the segments that nobody needs, before `head` begins a new one.
    fn retire(&mut self, head: u64, capacity: u64, width: u64) {
        let slowest = self
            .readers
            .iter()
            .flatten()
            .map(|reader| reader.position)
            .min()
            .unwrap_or(head);
        let needed = slowest.max(head.saturating_sub(capacity));
        while let Some(first) = self.segments.front()
            && first.base + width <= needed
        {
            self.retired.extend(self.segments.pop_front());
        }
    }

    fn begin_segment(&mut self, base: u64, width: u64) {
        let reused = self.spare.pop().and_then(|mut spare| {
            // A reader that is just leaving may still hold it; then it is let go.
            let segment = Arc::get_mut(&mut spare)?;
            segment.base = base;
            Some(spare)
        });
        let segment = reused.unwrap_or_else(|| {
            Arc::new(Segment {
                base,
                slots: (0..width).map(|_| OnceLock::new()).collect(),
            })
        });
        self.segments.push_back(segment);
    }
}

impl<T: Event> Outlet<T> for Log<T> {
    fn serial(&self) -> u64 {
        self.serial
    }

    fn operation(&self) -> Option<Operation> {
        self.operation
    }

    fn push(&self, event: &Arc<Envelope<T>>, _reserved: bool) {
        let mut state = self.state.lock();
        if state.closed {
            event.core.hub.count_if_closing();
            return;
        }
        let head = self.head.load(Ordering::Relaxed);
        if head.is_multiple_of(self.width) {
            state.retire(head, self.capacity, self.width);
            state.begin_segment(head, self.width);
        }
        let slot = (head & (self.width - 1)) as usize;
        if let Some(segment) = state.segments.back() {
            // Each position is written once, by whoever holds the lock.
            let _: Result<(), _> = segment.slots[slot].set(Arc::clone(event));
        }
        self.head.store(head + 1, Ordering::Release);
        if !state.sleeping.is_empty() || !state.retired.is_empty() {
            self.unsettled.store(true, Ordering::Release);
        }
    }

    fn settle(&self) {
        if !self.unsettled.load(Ordering::Acquire) {
            return;
        }
        self.unsettled.store(false, Ordering::Release);
        self.wake_sleepers();
        self.clear_retired();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        // Sleepers have to see it.
        self.unsettled.store(true, Ordering::Release);
        self.settle();
    }

    fn stats(&self) -> Vec<SubscriberStats> {
        let state = self.state.lock();
        let head = self.head.load(Ordering::Acquire);
        state
            .readers
            .iter()
            .flatten()
            .map(|reader| SubscriberStats {
                name: reader.name.to_string(),
                capacity: self.capacity as usize,
                posted: head - reader.start,
                missed: reader.missed,
                depth: (head - reader.position).min(self.capacity),
            })
            .collect()
    }
}

/// A cursor in a [`Log`].
pub(crate) struct Reader<T: Event> {
    log: Arc<Log<T>>,
    index: usize,
    next: u64,
    segment: Option<Arc<Segment<T>>>,
}

impl<T: Event> Reader<T> {
    /// The next event, if there is one.
    pub(crate) fn next(&mut self) -> Next<T> {
        loop {
            let head = self.log.head.load(Ordering::Acquire);
            if self.next == head {
                return self.at_the_end(head);
            }
            let behind = head - self.next;
            #[cfg(shuttle)]
            if crate::faults::is(crate::faults::Fault::GapForgotten) && behind > self.log.capacity {
                self.next = head - self.log.capacity;
                continue;
            }
            if behind > self.log.capacity {
                let missed = behind - self.log.capacity;
                self.next += missed;
                self.moved(missed);
                return Next::Missed(missed);
            }
            let base = self.next & !(self.log.width - 1);
            if let Some(segment) = &self.segment
                && segment.base == base
            {
                let slot = (self.next - base) as usize;
                // Written before `head` was raised past it.
                if let Some(event) = segment.slots[slot].get() {
                    self.next += 1;
                    return Next::Event(Arc::clone(event));
                }
            }
            // Where the posters have meanwhile gone round, the next look finds the gap.
            self.enter(base);
        }
    }

    #[cold]
    fn at_the_end(&mut self, head: u64) -> Next<T> {
        let state = self.log.state.lock();
        if self.log.head.load(Ordering::Relaxed) == head && state.closed {
            Next::Closed
        } else {
            Next::Empty
        }
    }

    /// Takes hold of the segment at `base`.
    #[cold]
    fn enter(&mut self, base: u64) {
        let old = self.segment.take();
        let mut state = self.log.state.lock();
        self.segment = state
            .segments
            .iter()
            .rev()
            .find(|segment| segment.base == base)
            .cloned();
        if let Some(Some(reader)) = state.readers.get_mut(self.index) {
            reader.position = self.next;
        }
        drop(state);
        drop(old); // perhaps the last reference to its events
    }

    #[cold]
    fn moved(&mut self, missed: u64) {
        let mut state = self.log.state.lock();
        if let Some(Some(reader)) = state.readers.get_mut(self.index) {
            reader.position = self.next;
            reader.missed += missed;
        }
    }

    /// Wakes `waker` at the next event; ready if there is one already, or none to come.
    pub(crate) fn sleep(&mut self, waker: &Waker) -> Poll<()> {
        let mut state = self.log.state.lock();
        // Under the lock: posts raise the head under it, so none falls between this look and the sleep.
        if self.log.head.load(Ordering::Relaxed) != self.next || state.closed {
            return Poll::Ready(());
        }
        #[cfg(shuttle)]
        let mut state = crate::faults::relock(&self.log.state, state);
        if let Some(Some(reader)) = state.readers.get_mut(self.index) {
            reader.position = self.next;
            let slept = reader.waker.replace(waker.clone()).is_some();
            if !slept {
                state.sleeping.push(self.index);
            }
        }
        Poll::Pending
    }
}

impl<T: Event> Reader<T> {
    /// Leaves the log; whether nobody is left in it.
    pub(crate) fn leave(&mut self) -> bool {
        let segment = self.segment.take();
        let mut state = self.log.state.lock();
        let gone = state.readers.get_mut(self.index).and_then(Option::take);
        state.sleeping.retain(|&index| index != self.index);
        let empty = state.readers.iter().all(Option::is_none);
        let rest = if empty {
            mem::take(&mut state.segments)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop((gone, segment, rest));
        empty
    }

    pub(crate) fn log(&self) -> &Arc<Log<T>> {
        &self.log
    }
}
