//! Bounds how many loads run at once, and how many may be late.
//!
//! A running load that is not overdue holds a permit. An overdue load gives its permit back and
//! goes on, so that its result may still fill. As many overdue loads as there are permits may run
//! at the same time; the next one ends the oldest.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, Waker},
};

use crate::{
    engine::flight::Flight,
    faults::{Step, removed},
    sync::{Arc, Mutex},
    user_code,
};

/// The permits of a node.
pub(crate) struct Permits {
    most: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Loads that wait for a permit, in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// Overdue loads, oldest first.
    late: BTreeMap<u64, Vec<Weak<Flight>>>,
    next: u64,
}

enum Waiting {
    Asleep(Waker),
    /// It has a permit, but has not been polled since.
    Granted,
}

impl Permits {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let state = State {
            free: most,
            waiting: BTreeMap::new(),
            late: BTreeMap::new(),
            next: 0,
        };
        Arc::new(Self {
            most,
            state: Mutex::new(state),
        })
    }

    /// Waits for a permit. Cancel safe: when the future is dropped, it leaves the queue, and passes
    /// on a permit that it was given.
    pub(crate) fn acquire(self: &Arc<Self>) -> Acquire {
        Acquire {
            permits: Arc::clone(self),
            ticket: None,
        }
    }

    /// Takes a permit if one is free and no load waits for it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.state.lock().take().then(|| Permit(Arc::clone(self)))
    }

    /// Registers an overdue load. Ends the oldest one if there are too many.
    pub(crate) fn enter_late(self: &Arc<Self>, flights: &[Arc<Flight>]) -> Late {
        let mut state = self.state.lock();
        let ticket = state.ticket();
        let oldest = if state.late.len() >= self.most {
            state.late.pop_first()
        } else {
            None
        };
        let flights = flights.iter().map(Arc::downgrade).collect();
        state.late.insert(ticket, flights);
        drop(state);

        // With the lock released: this ends a task.
        for flight in oldest.into_iter().flat_map(|(_, flights)| flights) {
            if let Some(flight) = flight.upgrade() {
                flight.end();
            }
        }

        Late {
            permits: Arc::clone(self),
            ticket,
        }
    }

    /// Returns how many loads wait for a permit.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    fn release(&self) {
        let waker = self.state.lock().pass_on();
        user_code::wake(waker.into_iter()); // with the lock released
    }
}

impl State {
    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self) -> bool {
        let free = self.free > 0;
        if free {
            self.free -= 1;
        }
        free
    }

    /// Passes a permit on to the load that has waited longest, and returns its waker. Frees the
    /// permit if none waits.
    fn pass_on(&mut self) -> Option<Waker> {
        let mut waiting = self.waiting.values_mut();
        let first = waiting.find(|waiting| matches!(waiting, Waiting::Asleep(_)));
        let Some(first) = first.filter(|_| !removed(Step::PermitsPassOn)) else {
            self.free += 1;
            return None;
        };

        match std::mem::replace(first, Waiting::Granted) {
            Waiting::Asleep(waker) => Some(waker),
            Waiting::Granted => None,
        }
    }
}

/// The right of one load to run.
pub(crate) struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A load that waits for a permit.
pub(crate) struct Acquire {
    permits: Arc<Permits>,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let waker = context.waker().clone(); // with no lock held
        let permits = Arc::clone(&self.permits);
        let mut state = permits.state.lock();

        let Some(ticket) = self.ticket else {
            if state.take() {
                return Poll::Ready(Permit(Arc::clone(&self.permits)));
            }
            let ticket = state.ticket();
            state.waiting.insert(ticket, Waiting::Asleep(waker));
            self.ticket = Some(ticket);
            return Poll::Pending;
        };

        match state.waiting.remove(&ticket) {
            Some(Waiting::Granted) => {
                self.ticket = None;
                Poll::Ready(Permit(Arc::clone(&self.permits)))
            }
            old => {
                state.waiting.insert(ticket, Waiting::Asleep(waker));
                drop(state);
                drop(old); // a waker's drop may run code of its executor
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let left = self.permits.state.lock().waiting.remove(&ticket);
        if let Some(Waiting::Granted) = left
            && !removed(Step::LeaversPassOn)
        {
            self.permits.release();
        }
    }
}

/// The registration of an overdue load, which ends when this is dropped.
pub(crate) struct Late {
    permits: Arc<Permits>,
    ticket: u64,
}

impl Drop for Late {
    fn drop(&mut self) {
        let gone = self.permits.state.lock().late.remove(&self.ticket);
        drop(gone);
    }
}
