//! [`Mailbox`]: the bounded queue in front of a worker.
//!
//! Posters push under a short lock and never wait; the worker takes all that is there in one go. A
//! full mailbox turns the newest event away and notes a gap, which the worker finds in the place of
//! what it missed, before any later event.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crossbeam_utils::CachePadded;

use crate::{
    delivery::offer::Offer,
    event::posted::Posted,
    faults::{self, Step},
    isolate,
    room::shrink,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};

/// What a worker finds in its mailbox.
pub(crate) enum Mail {
    Event(Arc<dyn Posted>),
    /// This many events of this channel were turned away here.
    Gap {
        channel: u32,
        missed: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing is accepted any more; what is there is handled.
    Closing,
    /// The worker is gone; another thread may take its place.
    Vacant,
    /// The bus was shut down.
    Closed,
}

pub(crate) struct Mailbox {
    index: usize,
    capacity: u64,
    state: Mutex<State>,
    /// Whether the worker sleeps. Set under the lock: the worker has seen every post before that,
    /// and every later post sees the flag.
    parked: AtomicBool,
    /// Whether the mailbox may hold something. Written under the lock; read without it, it is a
    /// hint.
    mail: AtomicBool,
    /// Events that left the queue for good. Only the worker writes it while it lives.
    handled: CachePadded<AtomicU64>,
}

struct State {
    queue: VecDeque<Mail>,
    phase: Phase,
    attached: bool,
    /// Events that were accepted, ever.
    accepted: u64,
    /// How many of them were handled when a poster last checked.
    known_handled: u64,
    /// What was turned away since the last accepted event, by channel.
    gaps: Vec<(u32, u64)>,
    missed: u64,
    dropped: u64,
    waker: Option<Waker>,
}

/// The counts of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxStats {
    /// The worker.
    pub worker: usize,
    /// Events waiting, those in the worker's hands included.
    pub depth: u64,
    /// Events accepted so far.
    pub accepted: u64,
    /// Events whose handlers have run.
    pub handled: u64,
    /// Events turned away because the mailbox was full; each was reported as part of a gap.
    pub missed: u64,
    /// Events accepted but never handled, because the worker died or the bus was shut down.
    pub dropped: u64,
    /// Whether a thread has taken the worker's place.
    pub attached: bool,
    /// Whether nothing is accepted: the worker is gone, or the bus was shut down.
    pub closed: bool,
}

impl Mailbox {
    pub(crate) fn new(index: usize, capacity: usize) -> Self {
        Self {
            index,
            capacity: capacity as u64,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                phase: Phase::Open,
                attached: false,
                accepted: 0,
                known_handled: 0,
                gaps: Vec::new(),
                missed: 0,
                dropped: 0,
                waker: None,
            }),
            parked: AtomicBool::new(false),
            mail: AtomicBool::new(false),
            handled: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Returns the worker's index.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Offers an event; never waits. Call [`notify`](Self::notify) once no lock is held.
    pub(crate) fn offer(&self, event: &Arc<dyn Posted>) -> Offer {
        let mut state = self.state.lock();
        if state.phase != Phase::Open && !faults::removed(Step::ClosedRefuses) {
            return Offer::Closed;
        }

        if self.is_full(&mut state) {
            state.missed += 1;
            if !faults::removed(Step::GapIsReported) {
                state.add_gap(event.info().id, 1);
            }
            return Offer::Missed;
        }

        self.accept(&mut state, event);
        Offer::Accepted
    }

    /// Notes that events of this channel are lost to all listeners: the worker finds a gap in their
    /// place.
    pub(crate) fn miss(&self, channel: u32, missed: u64) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.missed += missed;
            state.add_gap(channel, missed);
            self.mail.store(true, Ordering::Release);
        }
    }

    /// Offers an event that is meant for this worker alone: a full mailbox refuses it without a
    /// gap.
    pub(crate) fn offer_directly(&self, event: &Arc<dyn Posted>) -> Offer {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Offer::Closed;
        }
        if self.is_full(&mut state) {
            return Offer::Missed;
        }
        self.accept(&mut state, event);
        Offer::Accepted
    }

    fn accept(&self, state: &mut State, event: &Arc<dyn Posted>) {
        if let Some(completion) = event.meta().completion() {
            completion.expect_worker(self.index);
        }
        for (channel, missed) in state.gaps.drain(..) {
            state.queue.push_back(Mail::Gap { channel, missed });
        }
        state.accepted += 1;
        state.queue.push_back(Mail::Event(Arc::clone(event)));
        self.mail.store(true, Ordering::Release);
    }

    fn is_full(&self, state: &mut State) -> bool {
        // The worker's count is on the worker's cache line: asked when the mailbox seems full, not
        // at each post.
        let accepted = state.accepted - state.dropped;
        if accepted - state.known_handled >= self.capacity {
            state.known_handled = self.handled.load(Ordering::Acquire);
        }
        accepted - state.known_handled >= self.capacity
    }

    /// Wakes the worker if it sleeps: once for any number of events.
    pub(crate) fn notify(&self) {
        if self.parked.load(Ordering::Acquire) {
            let waker = {
                let mut state = self.state.lock();
                self.parked.store(false, Ordering::Release);
                state.waker.take()
            };
            if let Some(waker) = waker {
                isolate::wake(waker);
            }
        }
    }

    /// Takes the worker's place; returns whether it was free.
    pub(crate) fn attach(&self) -> bool {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open => !mem::replace(&mut state.attached, true),
            Phase::Vacant => {
                state.phase = Phase::Open;
                state.attached = true;
                true
            }
            Phase::Closing | Phase::Closed => false,
        }
    }

    /// Moves all that is there into `batch`, which is empty; returns whether that is anything.
    pub(crate) fn take(&self, batch: &mut VecDeque<Mail>) -> bool {
        self.move_into(&mut self.state.lock(), batch)
    }

    fn move_into(&self, state: &mut State, batch: &mut VecDeque<Mail>) -> bool {
        // The emptied batch becomes the queue, so two buffers serve all the time; the room of a
        // peak is given back.
        shrink(batch);
        mem::swap(&mut state.queue, batch);
        self.mail.store(false, Ordering::Relaxed);
        for (channel, missed) in state.gaps.drain(..) {
            batch.push_back(Mail::Gap { channel, missed });
        }
        !batch.is_empty()
    }

    /// Moves all that is there into `batch`, and sleeps if there is nothing. Ready with false once
    /// nothing more can come.
    pub(crate) fn poll_batch(
        &self,
        context: &mut Context<'_>,
        batch: &mut VecDeque<Mail>,
    ) -> Poll<bool> {
        // With no lock held, as is the drop of the waker that it replaces.
        let new = context.waker().clone();

        // Checked and noted under one lock: a post comes before, and is seen, or after, and finds
        // the waker.
        let mut state = self.state.lock();
        if self.move_into(&mut state, batch) {
            return Poll::Ready(true);
        }
        if state.phase != Phase::Open {
            return Poll::Ready(false);
        }

        let mut state = faults::window(Step::SleepHoldsLock, state, &self.state);
        let old = state.waker.replace(new);
        self.parked.store(true, Ordering::Release);
        drop(state);

        isolate::discard("a waker", old);
        Poll::Pending
    }

    /// Returns whether the mailbox is likely to hold something; costs no lock.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.mail.load(Ordering::Relaxed)
    }

    /// Notes that the worker is done with an event.
    #[inline]
    pub(crate) fn finished(&self, event: &dyn Posted) {
        // Only the worker's thread writes this while the mailbox is open.
        self.handled
            .store(self.handled.load(Ordering::Relaxed) + 1, Ordering::Release);
        if let Some(completion) = event.meta().completion() {
            completion.worker_done(self.index);
        }
    }

    /// Accepts no more; the worker handles what is there and then ends.
    pub(crate) fn close_intake(&self) {
        let mut state = self.state.lock();
        state.phase = match state.phase {
            Phase::Open | Phase::Closing => Phase::Closing,
            Phase::Vacant | Phase::Closed => Phase::Closed,
        };
        let waker = self.take_sleeper(&mut state);
        drop(state);

        if let Some(waker) = waker {
            isolate::wake(waker);
        }
    }

    /// Gives up the place of a worker that is gone; returns what it had not handled, `in_hand`
    /// first. Another thread may take the place, unless the bus was shut down.
    pub(crate) fn vacate(&self, in_hand: VecDeque<Mail>) -> Vec<Arc<dyn Posted>> {
        let mut state = self.state.lock();
        state.phase = match state.phase {
            Phase::Open | Phase::Vacant => Phase::Vacant,
            Phase::Closing | Phase::Closed => Phase::Closed,
        };

        state.attached = false;
        let rest = state.drop_rest(in_hand);
        // The next worker begins here: what this one missed is not its own.
        state.queue = VecDeque::new();
        state.gaps = Vec::new();
        rest
    }

    /// Ends the mailbox with the bus; returns what was not handled. A worker that sleeps is woken,
    /// and finds the end, after the gaps that it has not received yet.
    pub(crate) fn close(&self) -> Vec<Arc<dyn Posted>> {
        let mut state = self.state.lock();
        state.phase = Phase::Closed;
        let rest = state.drop_rest(VecDeque::new());
        let waker = self.take_sleeper(&mut state);
        drop(state);

        if let Some(waker) = waker {
            isolate::wake(waker);
        }
        rest
    }

    /// Takes the waker of a worker that sleeps, so that the worker sees the end.
    fn take_sleeper(&self, state: &mut State) -> Option<Waker> {
        if faults::removed(Step::EndWakesWorkers) {
            return None;
        }
        self.parked.store(false, Ordering::Release);
        state.waker.take()
    }

    /// Returns whether everything accepted was handled or given back.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.accepted == self.handled.load(Ordering::Acquire) + state.dropped
            && state.gaps.is_empty()
    }

    /// Returns whether an attached worker has not handled all that it accepted.
    pub(crate) fn is_behind(&self) -> bool {
        self.state.lock().attached && !self.is_idle()
    }

    pub(crate) fn stats(&self) -> MailboxStats {
        let state = self.state.lock();
        let handled = self.handled.load(Ordering::Acquire);
        MailboxStats {
            worker: self.index,
            depth: state.accepted - handled - state.dropped,
            accepted: state.accepted,
            handled,
            missed: state.missed,
            dropped: state.dropped,
            attached: state.attached,
            closed: matches!(state.phase, Phase::Vacant | Phase::Closed),
        }
    }
}

impl State {
    /// Takes the events out and counts them as dropped; gaps stay.
    fn drop_rest(&mut self, in_hand: VecDeque<Mail>) -> Vec<Arc<dyn Posted>> {
        let mut rest = Vec::new();
        for mail in in_hand.into_iter().chain(mem::take(&mut self.queue)) {
            match mail {
                Mail::Event(event) => rest.push(event),
                gap @ Mail::Gap { .. } => self.queue.push_back(gap),
            }
        }

        self.dropped += rest.len() as u64;
        rest
    }

    fn add_gap(&mut self, channel: u32, missed: u64) {
        match self.gaps.iter_mut().find(|gap| gap.0 == channel) {
            Some(gap) => gap.1 += missed,
            None => self.gaps.push((channel, missed)),
        }
    }
}

#[cfg(all(test, not(shuttle)))] // the models have helpers of their own
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::event::{info::ChannelInfo, payload::AnyPayload, posted::Meta};

    /// An event that is not asked for anything, since it is refused.
    struct Refused;

    impl Posted for Refused {
        fn info(&self) -> &ChannelInfo {
            unreachable!("it is refused")
        }

        fn meta(&self) -> &Meta {
            unreachable!("it is refused")
        }

        fn payload(&self) -> &AnyPayload {
            unreachable!("it is refused")
        }

        fn json(&self) -> &Result<Json, String> {
            unreachable!("it is refused")
        }

        fn dispatch(self: Arc<Self>) {
            unreachable!("it is refused")
        }

        fn discard(self: Arc<Self>) {
            unreachable!("it is refused")
        }

        fn report_lost(self: Arc<Self>, _: u64) {
            unreachable!("it is refused")
        }

        fn reassign(self: Arc<Self>) {
            unreachable!("it is refused")
        }
    }

    #[test]
    fn a_mailbox_that_is_not_open_refuses_what_is_offered() {
        let closings: [fn(&Mailbox); 3] = [
            |mailbox| mailbox.close_intake(),
            |mailbox| assert!(mailbox.vacate(VecDeque::new()).is_empty()),
            |mailbox| assert!(mailbox.close().is_empty()),
        ];

        for close in closings {
            let mailbox = Mailbox::new(0, 8);
            assert!(mailbox.attach());
            close(&mailbox);
            let event: Arc<dyn Posted> = Arc::new(Refused);
            assert_eq!(mailbox.offer(&event), Offer::Closed);
            assert_eq!(mailbox.offer_directly(&event), Offer::Closed);
            let stats = mailbox.stats();
            assert_eq!((stats.accepted, stats.missed), (0, 0));
        }
    }
}
