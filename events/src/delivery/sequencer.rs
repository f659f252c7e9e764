//! [`Sequencer`]: one order for the changes of all CRUD channels, the order in which they were
//! enqueued.
//!
//! The first thread to arrive drains for all of them (combining): handlers of changes run one
//! change at a time, on the thread of the writer that is draining. The lock is held to push and to
//! pop, never while a handler runs or anything waits. The queue is bounded: a post that finds it
//! full is refused; a change that has been made already is lost, and its listeners find a gap;
//! [`WorkerEvents::stats`](crate::WorkerEvents::stats) shows the deepest it ever was.

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
    /// Changes that found no room since the last that was queued, by channel and operation.
    missing: Vec<Queued>,
    lost: u64,
}

/// The most changes that wait for the draining thread.
pub(crate) const MAX_CHANGES: usize = 65_536;

/// Keeps a channel open while a change of it is queued.
pub(crate) type Open = Option<Arc<dyn Send + Sync>>;

struct Queued {
    change: Arc<dyn Posted>,
    open: Open,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Change,
    /// This many changes of one channel and operation, of which one is kept.
    Lost(u64),
}

/// Why a change found no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnqueueError {
    Closed,
    Full,
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
    /// Changes that found no room, because 65,536 waited already: their listeners found a gap.
    pub lost: u64,
}

impl Sequencer {
    /// Assigns the change its place in the order.
    pub(crate) fn enqueue(&self, change: &Arc<dyn Posted>, open: Open) -> Result<(), EnqueueError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(EnqueueError::Closed);
        }
        if state.queue.len() >= MAX_CHANGES {
            return Err(EnqueueError::Full);
        }

        state.queue_lost();
        let change = Arc::clone(change);
        state.queue.push_back(Queued {
            change,
            open,
            kind: Kind::Change,
        });
        state.enqueued += 1;
        state.deepest = state.deepest.max(state.queue.len());

        Ok(())
    }

    /// Notes a change that found no room. Its listeners find a gap: after what is queued, before
    /// what comes later.
    pub(crate) fn lose(&self, change: Arc<dyn Posted>, open: Open) {
        let mut state = self.state.lock();
        state.lost += 1;

        let same = |known: &Arc<dyn Posted>| {
            known.info().id == change.info().id && known.meta().operation == change.meta().operation
        };

        match state.missing.iter_mut().find(|lost| same(&lost.change)) {
            Some(Queued {
                kind: Kind::Lost(missed),
                ..
            }) => *missed += 1,
            _ => state.missing.push(Queued {
                change,
                open,
                kind: Kind::Lost(1),
            }),
        }
    }

    /// Dispatches what is queued, unless another thread is draining: that thread dispatches it.
    pub(crate) fn drain(&self) {
        {
            let mut state = self.state.lock();
            let taken = state.draining && !faults::removed(Step::OneDrainer);
            if taken || state.is_empty() {
                return;
            }
            state.draining = true;
        }

        let draining = Draining {
            sequencer: self,
            over: Cell::new(false),
        };

        while let Some(Queued { change, open, kind }) = draining.next() {
            isolated("the dispatch of a change", || match kind {
                Kind::Change => change.dispatch(),
                Kind::Lost(missed) => change.report_lost(missed),
            });
            drop(open);
            // What its handlers put aside runs before the next change, as it would if no change
            // followed.
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
        let changes = rest
            .into_iter()
            .filter(|queued| queued.kind == Kind::Change);
        changes.map(|queued| queued.change).collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.is_empty() && !state.draining
    }

    pub(crate) fn stats(&self) -> SequencerStats {
        let state = self.state.lock();
        SequencerStats {
            enqueued: state.enqueued,
            depth: state.queue.len(),
            deepest: state.deepest,
            lost: state.lost,
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missing.is_empty()
    }

    /// Puts the changes that found no room into the order, as gaps.
    fn queue_lost(&mut self) {
        let missing = mem::take(&mut self.missing);
        self.queue.extend(missing);
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
        if state.queue.is_empty() {
            state.queue_lost();
        }
        let next = state.queue.pop_front();

        // Cleared in the critical section that saw the queue empty, so the next enqueuer finds no
        // drainer and drains itself.
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
