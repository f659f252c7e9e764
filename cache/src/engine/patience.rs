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

/// What a caller that waits hears of first.
pub(crate) enum Heard {
    Landed(Landed),
    /// The load that it has waited for is overdue.
    Turn,
    /// It has waited as long as it is to if there is an expired value.
    Soft,
    /// Its deadline has passed.
    Late,
}

/// When a caller stops waiting.
pub(crate) struct Patience {
    clock: Arc<dyn Clock>,
    pub(crate) began: Moment,
    soft: Moment,
    hard: Moment,
    /// When the load is overdue that it waits for without having joined it.
    turn: Moment,
    sleep: Option<Sleep>,
}

impl Patience {
    /// Starts to count.
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
            turn: Moment::NEVER,
            sleep: None,
        }
    }

    /// Waits for a load that the caller has not joined until that is due, and no longer. Ends with
    /// the wait.
    pub(crate) fn wait_for_turn(&mut self, due: Moment) {
        self.turn = due;
        self.sleep = None;
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.hard != Moment::NEVER && self.hard <= Moment::from(self.clock.now())
    }

    /// Waits for a flight, and no longer than patience lasts. A result that is there counts before
    /// the time.
    pub(crate) fn poll(&mut self, wait: &mut Wait, context: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(landed) = Pin::new(wait).poll(context) {
            self.wait_for_turn(Moment::NEVER);
            return Poll::Ready(Heard::Landed(landed));
        }

        let next = self.soft.min(self.hard).min(self.turn);
        if next == Moment::NEVER {
            return Poll::Pending;
        }
        let clock = &self.clock;
        let sleep = (self.sleep).get_or_insert_with(|| clock.sleep_until(next.tick()));
        ready!(sleep.as_mut().poll(context));
        self.sleep = None;

        if self.turn < self.soft.min(self.hard) {
            self.turn = Moment::NEVER;
            Poll::Ready(Heard::Turn)
        } else if self.soft < self.hard {
            self.soft = Moment::NEVER;
            Poll::Ready(Heard::Soft)
        } else {
            Poll::Ready(Heard::Late)
        }
    }
}
