//! [`Driver`]: the task of an async handler, which takes events out of its queue and runs a number
//! of calls at a time.

use std::{
    collections::{HashMap, VecDeque},
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tidings_core::{BoxError, Cause};
use tokio::task::coop;
use tracing::Instrument;

use crate::{
    api::{bus::Bus, listen::Removal},
    delivery::queue::{
        bounded::{Awaited, Awaiting, Bounded, Taken},
        outlet::{Outlet, OutletOwner},
        received::Received,
    },
    event::{handler::HandlerInfo, payload::Event},
    isolate::{self, quietly},
    route::run::{failed, handler_span, inside, panicked},
};

pub(super) type Key<T> = Arc<dyn Fn(&T) -> u64 + Send + Sync>;
type Call = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
pub(super) type Handler<T> = Arc<dyn Fn(Received<T>) -> Call + Send + Sync>;

/// Gives the queue up when its driver ends, even if a runtime drops it.
pub(super) struct Queue<T: Event> {
    pub(super) queue: Arc<Bounded<T>>,
    pub(super) owner: Weak<dyn OutletOwner>,
    pub(super) awaiting: Arc<Awaiting>,
    pub(super) info: Arc<HandlerInfo>,
    pub(super) bus: Weak<Bus>,
    pub(super) state: DriverState,
}

/// The state of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriverState {
    /// It is running, or its runtime dropped it.
    Running,
    /// It has come to the end of its queue.
    Finished,
}

impl<T: Event> Drop for Queue<T> {
    fn drop(&mut self) {
        self.queue.leave();
        if self.awaiting.is_ended() || self.state == DriverState::Finished {
            return;
        }

        // No one unregistered the handler: its runtime has ended under it. It gets no more events,
        // so it is no longer listed.
        if let Some(owner) = self.owner.upgrade() {
            owner.remove_outlet(self.queue.serial());
        }

        if let Some(bus) = self.bus.upgrade() {
            bus.hub().registry().forget(self.info.serial);
            quietly(|| {
                tracing::error!(
                    handler = &*self.info.name,
                    "the runtime of an async handler has ended; the handler is unregistered"
                );
            });
        }
    }
}

/// Takes events out of the queue and runs a number of calls at a time.
pub(super) struct Driver<T: Event> {
    pub(super) queue: Queue<T>,
    pub(super) handler: Handler<T>,
    pub(super) info: Arc<HandlerInfo>,
    pub(super) removal: Removal,
    pub(super) concurrency: usize,
    pub(super) key: Option<Key<T>>,
    pub(super) running: FuturesUnordered<Pin<Box<dyn Future<Output = Option<u64>> + Send>>>,
    /// Events whose key is being handled; an entry, perhaps empty, for each such key.
    pub(super) behind: HashMap<u64, VecDeque<Awaited<T>>>,
    /// How many events `behind` holds: at most three times the concurrency, so that one busy key
    /// does not pull the whole queue in here.
    pub(super) waiting: usize,
}

impl<T: Event> Driver<T> {
    pub(super) async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // A share of tokio's budget for each call that ends, so that a busy handler lets other
            // tasks run.
            ready!(coop::poll_proceed(context)).made_progress();

            let closed = self.take_events(context);
            match self.running.poll_next_unpin(context) {
                Poll::Ready(Some(key)) => self.next_of(key),
                Poll::Ready(None) if closed => {
                    self.queue.state = DriverState::Finished;
                    return Poll::Ready(());
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Starts what may be started; returns whether no more can come.
    fn take_events(&mut self, context: &mut Context<'_>) -> bool {
        while self.running.len() < self.concurrency && self.waiting < 3 * self.concurrency {
            match self.queue.queue.next() {
                Taken::Event(event) => {
                    if let Some(event) = self.queue.queue.guard(event) {
                        self.start_or_wait(event);
                    }
                }
                Taken::Missed(missed) => {
                    quietly(|| {
                        tracing::warn!(
                            handler = &*self.info.name,
                            missed,
                            "an async handler's queue was full"
                        );
                    });
                }
                Taken::Closed => return true,
                Taken::Empty => {
                    if self.queue.queue.sleep(context.waker()).is_pending() {
                        return false;
                    }
                }
            }
        }

        false
    }

    fn start_or_wait(&mut self, event: Awaited<T>) {
        let key = match &self.key {
            None => None,
            Some(key) => {
                let payload = &event.event.stored().payload;
                match panic::catch_unwind(AssertUnwindSafe(|| key(payload))) {
                    Ok(key) => Some(key),
                    // Without its key it has no place among the others: it counts as a call that
                    // panicked.
                    Err(panic) => {
                        panicked(&self.info, event.event.info(), panic);
                        return event.finished();
                    }
                }
            }
        };

        match key.map(|key| self.behind.entry(key)) {
            Some(std::collections::hash_map::Entry::Occupied(mut behind)) => {
                self.waiting += 1;
                behind.get_mut().push_back(event);
            }
            Some(std::collections::hash_map::Entry::Vacant(free)) => {
                free.insert(VecDeque::new());
                self.start(event, key);
            }
            None => self.start(event, None),
        }
    }

    /// Starts the next call of a key whose call has ended.
    fn next_of(&mut self, key: Option<u64>) {
        let Some(key) = key else { return };

        match self.behind.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(event) => {
                self.waiting -= 1;
                self.start(event, Some(key));
            }
            None => {
                self.behind.remove(&key);
            }
        }
    }

    fn start(&mut self, event: Awaited<T>, key: Option<u64>) {
        let owner = match self.removal.owner() {
            Ok(owner) => owner,
            Err(_) => {
                self.queue.awaiting.end();
                self.queue.queue.leave();
                return;
            }
        };

        let handler = Arc::clone(&self.handler);
        let info = Arc::clone(&self.info);
        let received = Received::new(Arc::clone(&event.event));
        let meta = event.event.meta();
        let cause = meta.cause();
        let span = inside(meta.span(), || handler_span(&info, event.event.info()));
        let awaiting = Arc::clone(&self.queue.awaiting);
        let call = async move {
            // Asked right before the call: a registration that was dropped lets none begin.
            if !awaiting.is_ended() {
                // Made inside, so that a panic before the first await is caught too.
                let call = AssertUnwindSafe(async move { handler(received).await }).catch_unwind();
                match call.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => failed(&info, event.event.info(), error),
                    Err(panic) => panicked(&info, event.event.info(), panic),
                }
            }

            event.finished();
            isolate::discard("a handler's owner", owner);
            key
        };
        self.running
            .push(Box::pin(under(cause, call.instrument(span))));
    }
}

/// Enters the cause at each poll.
async fn under<F: Future>(cause: Option<Cause>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _cause = cause.map(Cause::enter);
        future.as_mut().poll(context)
    })
    .await
}
