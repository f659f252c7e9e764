//! [`Delivery`]: waits until all handlers of an event have run.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tidings_core::clock::{Clock, Sleep, Tick};

use crate::{
    error::Refusal,
    event::{completion::Completion, posted::Posted},
    thread::{frame::in_handler, park::block_on},
};

/// An accepted event. Dropping this has no effect on the event.
#[must_use = "drop it explicitly (`drop(..)`) if you do not need to know when the handlers have run"]
pub struct Delivery {
    /// Made with a completion.
    event: Arc<dyn Posted>,
    clock: Arc<dyn Clock>,
}

/// How the handling of an event ended, or its state at the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Handled {
    /// Every inline handler, worker and async handler of the node has handled it.
    Everywhere,
    /// Handled, except that this many workers and async handlers missed the event. Either their
    /// queues were full, and they find a gap, or they have ended, with their thread, their runtime
    /// or the bus.
    Missed(u32),
    /// The deadline passed first.
    Late(Late),
    /// No listener received it: the bus was shut down, or handlers post in a cycle.
    Refused(Refusal),
}

/// The handlers that had not handled an event by the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Late {
    /// Whether its inline handlers were still to run (or running).
    pub inline: bool,
    /// The workers that had not answered.
    pub workers: Vec<usize>,
    /// How many async handlers were not done.
    pub tasks: usize,
}

impl Handled {
    /// Returns whether all handlers have run.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Everywhere)
    }
}

impl Delivery {
    pub(crate) fn new(event: Arc<dyn Posted>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            event,
            clock: Arc::clone(clock),
        }
    }

    /// Returns whether all handlers have run.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        completion(&*self.event)
            .is_none_or(|completion| completion.is_done() && completion.refusal().is_none())
    }

    /// Waits until all handlers of the node have run. After `deadline` it returns the workers that
    /// have not answered. It does not wait for a worker that died, nor for one whose mailbox was
    /// full ([`Handled::Missed`]).
    ///
    /// The deadline counts from this call, on the bus's clock. Do not block a worker's thread with
    /// it, because that worker's handlers could not run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn handled(self, deadline: Duration) -> impl Future<Output = Handled> + Send + 'static {
        let until = self.clock.now().plus(deadline);
        Waiting {
            event: self.event,
            clock: self.clock,
            until,
            sleep: None,
        }
    }
}

impl Delivery {
    /// Waits like [`handled`](Self::handled), but at the deadline returns the delivery, so that you
    /// can wait again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn handled_within(
        self,
        deadline: Duration,
    ) -> impl Future<Output = (Handled, Option<Self>)> + Send + 'static {
        let again = Self {
            event: Arc::clone(&self.event),
            clock: Arc::clone(&self.clock),
        };
        let handled = self.handled(deadline);
        async move {
            let handled = handled.await;
            let is_late = matches!(handled, Handled::Late(_));
            (handled, is_late.then_some(again))
        }
    }

    /// Waits like [`handled`](Self::handled), but blocks a plain thread, with or without a runtime.
    ///
    /// Inside a handler it does not wait, because later handlers on this thread could not run.
    pub fn handled_blocking(self, deadline: Duration) -> Handled {
        let deadline = if in_handler() {
            Duration::ZERO
        } else {
            deadline
        };
        block_on(self.handled(deadline))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("channel", self.event.info())
            .field("complete", &self.is_complete())
            .finish()
    }
}

struct Waiting {
    event: Arc<dyn Posted>,
    clock: Arc<dyn Clock>,
    until: Tick,
    /// Made when there is something to wait for.
    sleep: Option<Sleep>,
}

impl Future for Waiting {
    type Output = Handled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Handled> {
        let this = self.get_mut();
        let Some(completion) = completion(&*this.event) else {
            return Poll::Ready(Handled::Everywhere);
        };

        if completion.wake_when_done(context.waker()) {
            return Poll::Ready(match (completion.refusal(), completion.missed()) {
                (Some(refusal), _) => Handled::Refused(refusal.clone()),
                (None, 0) => Handled::Everywhere,
                (None, listeners) => Handled::Missed(listeners),
            });
        }

        let clock = &this.clock;
        let sleep = this
            .sleep
            .get_or_insert_with(|| clock.sleep_until(this.until));
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }

        let (workers, tasks) = completion.missing();
        Poll::Ready(Handled::Late(Late {
            inline: !completion.was_dispatched(),
            workers,
            tasks,
        }))
    }
}

/// Returns the count of the handlers that are not done, where the event has one.
fn completion(event: &dyn Posted) -> Option<&Completion> {
    event.meta().completion()
}
