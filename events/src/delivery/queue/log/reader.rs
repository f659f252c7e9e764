//! [`Reader`]: a cursor in a log.

use std::{
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use crate::{
    delivery::queue::{
        log::{
            Log, Progress, ReaderState,
            segment::{Segment, WIDTH},
        },
        received::Received,
    },
    event::payload::Event,
    faults::{self, Step},
    isolate::discard,
    sync::Ordering,
};

/// What a reader found.
pub(crate) enum Next<T: Event> {
    Event(Received<T>),
    Missed(u64),
    Empty,
    Closed,
}

pub(crate) struct Reader<T: Event> {
    log: Arc<Log<T>>,
    index: usize,
    capacity: u64,
    next: u64,
    /// Where statistics find `next`.
    progress: Arc<Progress>,
    segment: Option<Arc<Segment<T>>>,
}

impl<T: Event> Log<T> {
    /// Starts a reader at the next event.
    pub(crate) fn reader(self: &Arc<Self>, name: Arc<str>, capacity: usize) -> Reader<T> {
        let capacity = capacity as u64;
        let mut state = self.state.lock();
        let start = self.head.load(Ordering::Relaxed);
        let progress = Arc::new(Progress::new(start));
        let reader = ReaderState {
            name,
            capacity,
            start,
            position: start,
            next: Arc::clone(&progress),
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

        // A log that was empty of readers has no segment; one begins where the head is.
        if state.segments.is_empty() && !start.is_multiple_of(WIDTH) {
            state.begin_segment(Segment::<T>::base_of(start), &self.info);
        }

        Reader {
            log: Arc::clone(self),
            index,
            capacity,
            next: start,
            progress,
            segment: None,
        }
    }
}

impl<T: Event> Reader<T> {
    /// Returns the next event if it is in the current segment. `None` does not mean that there is
    /// no event.
    ///
    /// Inlined, so that what it returns stays in registers: moved through memory it costs as much
    /// again.
    #[inline]
    pub(crate) fn next_at_hand(&mut self) -> Option<Received<T>> {
        let head = self.log.head.load(Ordering::Acquire);
        let behind = head - self.next;
        if behind == 0 || behind > self.capacity {
            return None;
        }

        let segment = self.segment.as_ref()?;
        if segment.base() != Segment::<T>::base_of(self.next) {
            return None;
        }

        let event = segment.read(self.next)?;
        self.next += 1;
        self.progress
            .store(self.next, std::sync::atomic::Ordering::Relaxed);
        Some(Received::new(Arc::clone(event)))
    }

    /// Returns the next event, if there is one.
    #[inline(never)]
    pub(crate) fn next(&mut self) -> Next<T> {
        loop {
            if let Some(event) = self.next_at_hand() {
                return Next::Event(event);
            }
            let head = self.log.head.load(Ordering::Acquire);
            if self.next == head {
                return self.at_the_end(head);
            }

            let behind = head - self.next;
            if behind > self.capacity {
                let missed = behind - self.capacity;
                self.next += missed;
                self.moved(missed);
                if faults::removed(Step::GapIsReported) {
                    continue;
                }
                return Next::Missed(missed);
            }
            if let Some(segment) = &self.segment
                && segment.base() == Segment::<T>::base_of(self.next)
                && segment.is_lost(self.next)
            {
                self.next += 1;
                self.moved(1);
                return Next::Missed(1);
            }

            // If the posters have wrapped around by now, the next iteration finds the gap.
            self.enter(Segment::<T>::base_of(self.next));
        }
    }

    #[cold]
    fn at_the_end(&mut self, head: u64) -> Next<T> {
        // In this order: nothing is written after the log was closed.
        let closed = self.log.closed.load(Ordering::Acquire);
        if closed && self.log.head.load(Ordering::Acquire) == head {
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
        self.segment = state.segment(base).cloned();
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
            // Under the lock, so that statistics see both or neither.
            self.progress
                .store(self.next, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Wakes `waker` at the next event; ready if there is one already, or if none can come.
    pub(crate) fn sleep(&mut self, waker: &Waker) -> Poll<()> {
        let new = waker.clone(); // with no lock held, as is the drop of the one that it replaces
        let mut old = None;

        let state = self.log.state.lock();
        // Checked under the lock, under which posts raise the head, so that none falls between
        // check and sleep.
        if self.log.head.load(Ordering::Relaxed) != self.next
            || self.log.closed.load(Ordering::Relaxed)
        {
            return Poll::Ready(());
        }

        let mut state = faults::window(Step::SleepHoldsLock, state, &self.log.state);
        if let Some(Some(reader)) = state.readers.get_mut(self.index) {
            reader.position = self.next;
            old = reader.waker.replace(new);
            if old.is_none() {
                state.sleeping.push(self.index);
            }
        }
        drop(state);

        discard("a waker", old);
        Poll::Pending
    }

    /// Leaves the log; returns whether no reader is left in it.
    pub(crate) fn leave(&mut self) -> bool {
        let segment = self.segment.take();
        let mut state = self.log.state.lock();
        let gone = state.readers.get_mut(self.index).and_then(Option::take);
        state.sleeping.retain(|&index| index != self.index);
        let empty = state.readers.iter().all(Option::is_none);

        // Memory goes back with the last reader; the log itself stays, for the next one.
        let rest = empty.then(|| {
            let retired = mem::take(&mut state.retired);
            let spare = mem::take(&mut state.spare);
            (mem::take(&mut state.segments), retired, spare)
        });

        drop(state);
        discard("a waker", gone);
        drop((segment, rest));
        empty
    }

    pub(crate) fn log(&self) -> &Arc<Log<T>> {
        &self.log
    }
}

#[cfg(all(test, not(shuttle)))] // the models have helpers of their own
mod tests {
    use super::*;
    use crate::{
        delivery::{
            offer::Offer,
            queue::outlet::{Outlet as _, Slot},
        },
        tests::Note,
    };

    /// What came between the last check and the sleep is seen by the sleep: it must not wait for
    /// the next wake-up.
    #[test]
    fn no_reader_sleeps_that_has_something_to_take() {
        let bus = crate::tests::bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let log = Arc::new(Log::new(1, Arc::clone(channel.core.info()), None));
        let mut reader = log.reader("reader".into(), 1);
        let sleeps = |reader: &mut Reader<Note>| reader.sleep(Waker::noop()).is_pending();
        assert!(sleeps(&mut reader), "empty");

        let offer = log.push(&channel.core.envelope(Note(1), None), Slot::Free);
        assert_eq!(offer, Offer::Accepted);
        assert!(!sleeps(&mut reader), "an event");
        assert!(matches!(reader.next(), Next::Event(_)));
        assert!(sleeps(&mut reader), "empty again");
        log.close();
        assert!(!sleeps(&mut reader), "the end");
    }
}
