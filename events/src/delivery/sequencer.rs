//! [`Sequencer`]: one order for the changes of all CRUD channels, the order in which they were enqueued.
//!
//! The first thread to arrive drains for all of them (combining): handlers of changes run one change at a time, on the
//! thread of the writer that is draining. The lock is held to push and to pop, never while a handler runs or
//! anything waits. The queue is bounded by the writers: each has its own change there, and waits for it elsewhere; [`WorkerEvents::stats`](crate::WorkerEvents::stats) shows the deepest it ever was.

use std::{cell::Cell, collections::VecDeque, mem, sync::Arc};

use crate::{
    event::posted::Posted,
    faults::{self, Step},
    isolate::isolated,
    room::shrink,
    sync::Mutex,
    thread::frame::Frame,
};

#[derive(Default)]
pub(crate) struct Sequencer {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    draining: bool,
    closed: bool,
    enqueued: u64,
    deepest: usize,
}

/// Keeps a channel open while a change of it is queued.
pub(crate) type Open = Option<Arc<dyn Send + Sync>>;

struct Queued {
    change: Arc<dyn Posted>,
    open: Open,
}

/// The sequencer's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequencerStats {
    /// Changes enqueued so far.
    pub enqueued: u64,
    /// Changes that wait for the draining thread now.
    pub depth: usize,
    /// The most that ever waited.
    pub deepest: usize,
}

impl Sequencer {
    /// Fixes the change's place; returns false once closed.
    pub(crate) fn enqueue(&self, change: Arc<dyn Posted>, open: Open) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.queue.push_back(Queued { change, open });
        state.enqueued += 1;
        state.deepest = state.deepest.max(state.queue.len());
        true
    }

    /// Dispatches what is queued, unless another thread is at it: that one will get there.
    pub(crate) fn drain(&self) {
        {
            let mut state = self.state.lock();
            let taken = state.draining && !faults::removed(Step::OneDrainer);
            if taken || state.queue.is_empty() {
                return;
            }
            state.draining = true;
        }
        let draining = Draining {
            sequencer: self,
            over: Cell::new(false),
        };
        while let Some(Queued { change, open }) = draining.next() {
            isolated("the dispatch of a change", || change.dispatch());
            drop(open);
            // What its handlers put aside runs before the next change, as it would without one.
            Frame::with(Frame::run_deferred);
        }
    }

    /// Refuses changes from now on. Those in the queue stay there.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Takes what was not drained.
    pub(crate) fn take_rest(&self) -> Vec<Arc<dyn Posted>> {
        let rest = mem::take(&mut self.state.lock().queue);
        rest.into_iter().map(|queued| queued.change).collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.queue.is_empty() && !state.draining
    }

    pub(crate) fn stats(&self) -> SequencerStats {
        let state = self.state.lock();
        SequencerStats {
            enqueued: state.enqueued,
            depth: state.queue.len(),
            deepest: state.deepest,
        }
    }
}

/// The right to drain; given up when the queue is empty, or on a panic.
struct Draining<'a> {
    sequencer: &'a Sequencer,
    over: Cell<bool>,
}

impl Draining<'_> {
    fn next(&self) -> Option<Queued> {
        let mut state = self.sequencer.state.lock();
        let next = state.queue.pop_front();

        // Cleared in the critical section that saw the queue empty, so the next enqueuer finds no drainer and drains
        // itself.
        let mut state = faults::window(Step::DrainEndsUnderLock, state, &self.sequencer.state);
        if next.is_none() {
            shrink(&mut state.queue);
            state.draining = false;
            self.over.set(true);
        }
        next
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        if !self.over.get() {
            self.sequencer.state.lock().draining = false;
        }
    }
}
