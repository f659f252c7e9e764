//! [`Log`]: one ring of events that all subscribers that drop the oldest read, each at its own
//! cursor.
//!
//! An event is written once, however many listen. The log is a row of segments; a reader holds the
//! segment that it is in, so receiving takes no lock but at a segment's end, and shares nothing
//! with other readers but the event's count of references. A reader that is behind by more than its
//! capacity finds a gap and goes on at the oldest event that is still in its queue. Segments that
//! all readers have left, or that lie beyond their capacities, are cleared and used again: a log in
//! steady use allocates nothing.
//!
//! If the log is the only listener of a channel, posts write the event right into it
//! ([`Log::write`]), without an allocation. Otherwise the slot holds a reference to the event that
//! the other listeners received too.

mod segment; // layers: none of these; a log, its segments and its readers are one thing

mod reader;

use std::{collections::VecDeque, sync::Arc, task::Waker};

use crossbeam_utils::CachePadded;
use tidings_core::Operation;

use self::segment::WIDTH;
pub(crate) use self::{
    reader::{Next, Reader},
    segment::Segment,
};
use crate::{
    delivery::{
        envelope::Envelope,
        offer::Offer,
        queue::{
            options::Overflow,
            outlet::{Outlet, Slot},
            stats::SubscriberStats,
        },
    },
    event::{info::ChannelInfo, payload::Event, posted::Extra},
    isolate,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};

pub(crate) struct Log<T: Event> {
    serial: u64,
    info: Arc<ChannelInfo>,
    operation: Option<Operation>,
    /// The position of the next event. Written under `state`; readers read it all the time.
    head: CachePadded<AtomicU64>,
    state: Mutex<State<T>>,
    /// Whether no one else listens to the channel. Written under `state`, read by every post
    /// without it: a post that begins after another listener came finds it cleared.
    alone: AtomicBool,
    /// Whether `wake` has something to do.
    wake_pending: AtomicBool,
    /// No more events come. Written under `state`, so that the head that is read after it is the
    /// last.
    closed: AtomicBool,
}

struct State<T: Event> {
    segments: VecDeque<Arc<Segment<T>>>,
    /// Left by all, still full: cleared outside the locks, since payloads may have a `Drop` of
    /// their own.
    retired: Vec<Arc<Segment<T>>>,
    /// Cleared.
    spare: Vec<Arc<Segment<T>>>,
    readers: Vec<Option<ReaderState>>,
    /// The readers that sleep.
    sleeping: Vec<usize>,
    /// How many events came by [`Log::write`].
    posted_alone: u64,
}

struct ReaderState {
    name: Arc<str>,
    capacity: u64,
    /// The first position that was posted after the reader came.
    start: u64,
    /// Where the reader was when it last changed its segment: it needs nothing older.
    position: u64,
    /// Where it is now; for statistics, which must not wait for it to move on.
    next: Arc<Progress>,
    missed: u64,
    waker: Option<Waker>,
}

/// A reader's position as the reader itself publishes it. Not the model checker's: only statistics
/// read it.
pub(crate) type Progress = std::sync::atomic::AtomicU64;

impl ReaderState {
    fn stats(&self, head: u64) -> SubscriberStats {
        let behind = head
            - self
                .next
                .load(std::sync::atomic::Ordering::Relaxed)
                .min(head);
        SubscriberStats {
            name: self.name.to_string(),
            capacity: self.capacity as usize,
            posted: head - self.start,
            // With the gap that it will find when it reads again.
            missed: self.missed + behind.saturating_sub(self.capacity),
            depth: behind.min(self.capacity),
        }
    }
}

impl<T: Event> Log<T> {
    pub(crate) fn new(serial: u64, info: Arc<ChannelInfo>, operation: Option<Operation>) -> Self {
        Self {
            serial,
            info,
            operation,
            head: CachePadded::new(AtomicU64::new(0)),
            state: Mutex::new(State {
                segments: VecDeque::new(),
                retired: Vec::new(),
                spare: Vec::new(),
                readers: Vec::new(),
                sleeping: Vec::new(),
                posted_alone: 0,
            }),
            alone: AtomicBool::new(false),
            wake_pending: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Returns whether posts may go by [`write`](Self::write).
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Lets posts write right into the log from now on, if `still` holds: it is asked under the
    /// lock that [`not_alone`](Self::not_alone) takes.
    pub(crate) fn set_alone(&self, still: impl FnOnce() -> bool) {
        let _state = self.state.lock();
        if still() {
            self.alone.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that others listen to the channel, or may: a post that begins after this returned does
    /// not write right into the log.
    pub(crate) fn not_alone(&self) {
        let _state = self.state.lock();
        self.alone.store(false, Ordering::Relaxed);
    }

    /// Returns how many events came by [`write`](Self::write).
    pub(crate) fn posted_alone(&self) -> u64 {
        self.state.lock().posted_alone
    }

    /// Writes an event into the log, unless that is closed or has no reader: then returns it. Call
    /// [`wake`](Outlet::wake) afterwards.
    #[inline]
    pub(crate) fn write(&self, extra: Option<Box<Extra>>, event: T) -> Result<(), T> {
        let mut state = self.state.lock();
        // Without a segment there is no reader: the last one left after the post found the log
        // alone.
        if self.closed.load(Ordering::Relaxed) || !state.has_room(self.head.load(Ordering::Relaxed))
        {
            return Err(event);
        }

        state.posted_alone += 1;
        self.append(&mut state, |segment, head| {
            segment.write(head, extra, event)
        });
        Ok(())
    }

    #[inline]
    fn append(&self, state: &mut State<T>, write: impl FnOnce(&Segment<T>, u64)) {
        let head = self.head.load(Ordering::Relaxed);
        if head.is_multiple_of(WIDTH) {
            state.retire(head);
            state.begin_segment(head, &self.info);
        }

        if let Some(segment) = state.segments.back() {
            write(segment, head);
        }

        self.head.store(head + 1, Ordering::Release);
        if !state.sleeping.is_empty() || !state.retired.is_empty() {
            self.wake_pending.store(true, Ordering::Release);
        }
    }

    /// Wakes one reader at a time, so that no list has to be made, and with no lock held while a
    /// waker runs.
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
                isolate::wake(waker);
            }
        }
    }

    /// Drops the events of retired segments, with no lock held, and keeps the segments for later.
    fn clear_retired(&self) {
        loop {
            let Some(mut segment) = self.state.lock().retired.pop() else {
                return;
            };

            // A reader may still be in it; then the last to let it go frees it.
            let Some(inside) = Arc::get_mut(&mut segment) else {
                continue;
            };

            inside.clear();
            let mut state = self.state.lock();
            if state.spare.len() < state.spares_kept() {
                state.spare.push(segment);
            }
        }
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.state.lock().readers.iter().any(Option::is_some)
    }
}

impl<T: Event> State<T> {
    /// Returns whether the event at `head` has a segment, or begins one.
    #[inline]
    fn has_room(&self, head: u64) -> bool {
        head.is_multiple_of(WIDTH) || !self.segments.is_empty()
    }

    /// Returns the segment that begins at `base`. They follow each other without a gap.
    fn segment(&self, base: u64) -> Option<&Arc<Segment<T>>> {
        let first = self.segments.front()?.base();
        let index = base.checked_sub(first)? / WIDTH;
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// Returns how many cleared segments the largest queue may fill again: room that was needed
    /// once is kept until the last reader leaves.
    fn spares_kept(&self) -> usize {
        let capacities = self.readers.iter().flatten().map(|reader| reader.capacity);
        let largest = capacities.max().unwrap_or(0);
        usize::try_from(largest.div_ceil(WIDTH)).map_or(usize::MAX, |spares| spares.max(2))
    }

    /// Takes away the segments that no reader needs, before `head` begins a new one.
    #[cold]
    fn retire(&mut self, head: u64) {
        let needed = (self.readers.iter().flatten())
            .map(|reader| reader.position.max(head.saturating_sub(reader.capacity)))
            .min()
            .unwrap_or(head);
        while let Some(first) = self.segments.front()
            && first.end() <= needed
        {
            self.retired.extend(self.segments.pop_front());
        }
    }

    #[cold]
    fn begin_segment(&mut self, base: u64, info: &Arc<ChannelInfo>) {
        let reused = self.spare.pop().and_then(|mut spare| {
            // A reader that is just leaving may still hold it; then it is let go.
            Arc::get_mut(&mut spare)?.begin(base);
            Some(spare)
        });
        let segment = reused.unwrap_or_else(|| Arc::new(Segment::new(base, info)));
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

    fn overflow(&self) -> Overflow {
        Overflow::DropOldest
    }

    fn push(&self, event: &Arc<Envelope<T>>, _: Slot) -> Offer {
        let mut state = self.state.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Offer::Closed;
        }

        let event = Arc::clone(event);
        self.append(&mut state, |segment, head| segment.share(head, Some(event)));
        Offer::Accepted
    }

    fn miss(&self, missed: u64) {
        let mut state = self.state.lock();
        if !self.closed.load(Ordering::Relaxed) {
            for _ in 0..missed {
                self.append(&mut state, |segment, head| segment.share(head, None));
            }
        }
    }

    #[inline]
    fn wake(&self) {
        if self.wake_pending.load(Ordering::Acquire) {
            self.wake_pending.store(false, Ordering::Release);
            self.wake_sleepers();
            self.clear_retired();
        }
    }

    fn close(&self) {
        {
            let _state = self.state.lock();
            self.closed.store(true, Ordering::Release);
        }
        // Sleepers have to see it.
        self.wake_pending.store(true, Ordering::Release);
        self.wake();
    }

    fn receivers(&self) -> usize {
        self.state.lock().readers.iter().flatten().count()
    }

    fn stats(&self) -> Vec<SubscriberStats> {
        let state = self.state.lock();
        let head = self.head.load(Ordering::Acquire);
        state
            .readers
            .iter()
            .flatten()
            .map(|reader| reader.stats(head))
            .collect()
    }
}
