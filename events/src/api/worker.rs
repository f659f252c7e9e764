//! [`LocalWorkerEvents`]: a worker's own face of the bus, on the worker's own thread.

/// The state behind the handle.
pub(crate) mod state;

/// The guard of a worker's own handlers.
pub(crate) mod registration;

/// Registrations on a worker.
pub(crate) mod listen;

use std::{fmt, future::poll_fn, ops::Deref, rc::Rc, task::Poll};

use crate::{
    api::{
        bus::WorkerEvents,
        worker::{listen::LocalListen, registration::LocalRegistration, state::LocalState},
    },
    error::{AttachError, RegisterError},
    event::{dynamic::DynamicEvent, gap::Gap, handler::Outcome, payload::Event},
    isolate::quietly,
    sync,
};

/// Events handled before yielding to the worker's other tasks.
const TURN: usize = 64;

/// A worker's place on the bus. It stays on its thread, so its handlers may hold what is not
/// `Send`.
///
/// Dereferences to the node's [`WorkerEvents`], except that `register` and `on` are the worker's
/// own. The place is given up when the last clone is dropped or the thread ends, whichever comes
/// first: the mailbox closes, and no one waits for this worker any more.
#[derive(Clone)]
pub struct LocalWorkerEvents {
    inner: Rc<LocalState>,
}

impl WorkerEvents {
    /// Makes the calling thread worker `index`. A place that was given up, because its thread ended
    /// or died, can be taken again; events posted in between are not kept for the next thread.
    ///
    /// # Errors
    ///
    /// There is no such worker, another thread has the place, or the bus was shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(1).build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let worker = bus.attach_worker(0)?; // this thread is worker 0 now
    /// assert!(bus.attach_worker(0).is_err()); // the place is taken
    ///
    /// let own = Rc::new("bound to this thread");
    /// let print = move |number: &u64| println!("{own}: {number}");
    /// worker.register(print, "test", "numbers")?.keep();
    /// numbers.post(7)?; // waits in the worker's mailbox
    /// assert_eq!(worker.run_pending(), 1);
    /// # Ok(()) }
    /// ```
    pub fn attach_worker(&self, index: usize) -> Result<LocalWorkerEvents, AttachError> {
        if self.hub().is_closed() {
            return Err(AttachError::Closed { index });
        }
        let Some(mailbox) = self.hub().mailboxes().get(index) else {
            return Err(AttachError::NoSuchWorker {
                index,
                workers: self.workers(),
            });
        };
        if !mailbox.attach() {
            return Err(AttachError::Taken { index });
        }

        Ok(LocalWorkerEvents {
            inner: LocalState::new(self.clone(), mailbox),
        })
    }
}

impl LocalWorkerEvents {
    /// Returns the worker's index.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.inner.index()
    }

    /// Returns the node's face of the bus, where `register` is inline.
    #[must_use]
    pub fn node(&self) -> &WorkerEvents {
        self.inner.bus()
    }

    /// Starts a registration on this worker that has a name, an owner or several channels.
    pub fn on(&self, source: &str, event: &str) -> LocalListen<'_> {
        LocalListen::new(&self.inner, source, event)
    }

    /// Registers a handler that runs on this thread, inside [`run`](Self::run). The order of
    /// handlers is as for [`WorkerEvents::register`].
    ///
    /// # Errors
    ///
    /// The channel is unknown (declare it first), or carries another type, or is a wildcard.
    #[track_caller]
    pub fn register<T: Event, R: Outcome>(
        &self,
        handler: impl Fn(&T) -> R + 'static,
        source: &str,
        event: &str,
    ) -> Result<LocalRegistration, RegisterError> {
        self.on(source, event).register(handler)
    }

    /// Registers a handler on this thread that takes events of any type; see
    /// [`WorkerEvents::register_dynamic`].
    ///
    /// # Errors
    ///
    /// The channel is unknown, and is not a wildcard.
    #[track_caller]
    pub fn register_dynamic<R: Outcome>(
        &self,
        handler: impl Fn(&DynamicEvent<'_>) -> R + 'static,
        source: &str,
        event: &str,
    ) -> Result<LocalRegistration, RegisterError> {
        self.on(source, event).register_dynamic(handler)
    }

    /// Calls `handler` when this worker missed events because its mailbox was full: after what came
    /// before them, and before any later event. Several may be registered; they stay for the life
    /// of the worker.
    ///
    /// A worker that keeps a view of what the events announce drops the view here.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(1).mailbox_capacity(2).build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let worker = bus.attach_worker(0)?;
    /// worker.register(|_: &u64| {}, "test", "numbers")?.keep();
    /// let missed = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&missed);
    /// worker.on_gap(move |gap| count.set(count.get() + gap.missed)); // rebuild what events built
    ///
    /// for number in 0..5 {
    ///     numbers.post(number)?; // never waits
    /// }
    /// let handled = worker.run_pending();
    /// assert_eq!((handled, missed.get()), (2, 3));
    /// # Ok(()) }
    /// ```
    pub fn on_gap(&self, handler: impl Fn(&Gap) + 'static) {
        self.inner.on_gap(Rc::new(handler));
    }

    /// Handles what arrives in the worker's mailbox until the bus is shut down and the mailbox is
    /// empty. Other tasks of the thread get a turn every few dozen events.
    ///
    /// Run it once per worker: a second call that overlaps returns at once.
    ///
    /// # Cancel safety
    ///
    /// No event is lost; handling goes on with the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::WorkerEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().workers(1).build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let worker = bus.attach_worker(0)?;
    /// worker.register(|number: &u64| println!("{number}"), "test", "numbers")?.keep();
    /// numbers.post(7)?;
    /// let (_, report) = tokio::join!(worker.run(), bus.shutdown(Duration::from_secs(1)));
    /// assert!(report.drained);
    /// # Ok(()) }
    /// ```
    pub async fn run(&self) {
        let Some(_running) = self.inner.claim() else {
            quietly(|| {
                tracing::warn!(
                    worker = self.worker(),
                    "the worker's mailbox is being run already"
                );
            });
            return;
        };

        while poll_fn(|context| self.inner.poll_mail(context)).await {
            loop {
                let mut left = TURN;
                while let Some(mail) = self.inner.next_mail() {
                    self.inner.handle(mail);
                    left -= 1;
                    if left == 0 {
                        left = TURN;
                        yield_now().await;
                    }
                }

                self.inner.work_ended();
                if !self.more_comes_soon().await {
                    break;
                }
            }
        }

        self.inner.work_ended();
    }

    /// Polls for more mail for a microsecond or two, and once more after other threads had their
    /// turn: posts come in bursts, and a wake-up costs the poster a system call and the worker some
    /// ten microseconds. Other tasks of this thread get a turn between the polls.
    async fn more_comes_soon(&self) -> bool {
        for poll in 0..sync::POLLS {
            if self.inner.has_mail() {
                return self.inner.take_mail();
            }
            if poll + 1 < sync::POLLS {
                (0..1 << poll).for_each(|_| sync::spin_loop());
            } else {
                sync::yield_now();
            }
            yield_now().await;
        }

        self.inner.has_mail() && self.inner.take_mail()
    }

    /// Handles what is in the mailbox and returns the number of handled events; for a thread with a
    /// loop of its own. It returns even while others post, after twice the mailbox's capacity at
    /// the latest.
    pub fn run_pending(&self) -> usize {
        let most = 2 * self.inner.capacity();
        let mut handled = 0;
        while handled < most && self.inner.take_mail() {
            while handled < most
                && let Some(mail) = self.inner.next_mail()
            {
                handled += usize::from(self.inner.handle(mail));
            }
        }

        self.inner.turn_ended();
        handled
    }
}

impl Deref for LocalWorkerEvents {
    type Target = WorkerEvents;

    fn deref(&self) -> &WorkerEvents {
        self.inner.bus()
    }
}

impl fmt::Debug for LocalWorkerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWorkerEvents")
            .field("worker", &self.worker())
            .finish_non_exhaustive()
    }
}

/// Yields to the executor's other tasks.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
