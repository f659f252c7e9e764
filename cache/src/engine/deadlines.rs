//! How long one caller waits for a load: its own deadline, whichever caller started the load.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tidings_core::clock::{Clock, Sleep};

use crate::{
    engine::flight::{Landed, Wait},
    fence::number::Moment,
    options::{lifetime::limit, terms::Terms},
    sync::Arc,
};

/// What ends a caller's wait, or interrupts it.
pub(crate) enum WaitEvent {
    Landed(Landed),
    /// The load that the caller waits for, without having joined it, is overdue.
    LoadOverdue,
    /// From now on the caller takes an expired value, if there is one.
    SoftDeadline,
    /// The caller's deadline has passed.
    Deadline,
}

/// When a caller stops waiting.
pub(crate) struct Deadlines {
    clock: Arc<dyn Clock>,
    pub(crate) began: Moment,
    soft: Moment,
    hard: Moment,
    /// When the load becomes overdue that the caller waits for without having joined it.
    overdue: Moment,
    sleep: Option<Sleep>,
}

impl Deadlines {
    /// Takes the deadlines of a call that begins now.
    pub(crate) fn new(clock: &Arc<dyn Clock>, terms: &Terms) -> Self {
        let began = Moment::from(clock.now());
        let soft = match terms.stale_after {
            Some(after) if !terms.resurrect_ttl.is_zero() => began.plus(after),
            _ => Moment::NEVER,
        };
        Self {
            clock: Arc::clone(clock),
            began,
            soft,
            hard: limit(began, terms.deadline),
            overdue: Moment::NEVER,
            sleep: None,
        }
    }

    /// Ends the next wait at `due`, for a load that the caller has not joined. Holds for one wait.
    pub(crate) fn end_wait_at(&mut self, due: Moment) {
        self.overdue = due;
        self.sleep = None;
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.hard != Moment::NEVER && self.hard <= Moment::from(self.clock.now())
    }

    /// Waits for a flight until the next deadline. A result that is there counts, even if a
    /// deadline has passed too.
    pub(crate) fn poll(&mut self, wait: &mut Wait, context: &mut Context<'_>) -> Poll<WaitEvent> {
        if let Poll::Ready(landed) = Pin::new(wait).poll(context) {
            self.end_wait_at(Moment::NEVER);
            return Poll::Ready(WaitEvent::Landed(landed));
        }

        let next = self.soft.min(self.hard).min(self.overdue);
        if next == Moment::NEVER {
            return Poll::Pending;
        }
        let clock = &self.clock;
        let sleep = (self.sleep).get_or_insert_with(|| clock.sleep_until(next.tick()));
        ready!(sleep.as_mut().poll(context));
        self.sleep = None;

        if self.overdue < self.soft.min(self.hard) {
            self.overdue = Moment::NEVER;
            Poll::Ready(WaitEvent::LoadOverdue)
        } else if self.soft < self.hard {
            self.soft = Moment::NEVER;
            Poll::Ready(WaitEvent::SoftDeadline)
        } else {
            Poll::Ready(WaitEvent::Deadline)
        }
    }
}
