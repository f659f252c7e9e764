//! The task that runs a load: it ends by a deadline, and lands every flight however it ends.
//!
//! A load runs as a task of the cache's runtime, so its first caller may go away. The task owns its
//! flights: however the task ends, even if the runtime drops it, every flight lands and its waiters
//! are woken. It holds the cache weakly: a load that hangs keeps no memory of a cache whose last
//! handle has gone.
//!
//! A load goes through at most three phases. It waits for a permit, and is ended if it becomes
//! overdue before that, since no caller waits for it any more. It runs with the permit until it is
//! overdue. Then it gives the permit back and goes on, so that its result may still fill, until it
//! is abandoned.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::Poll,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tidings_core::{Chain, clock::Clock, panic_text};
use tracing::Instrument;

use crate::{
    answer::tag::Tag,
    engine::{
        erased::ErasedLoaded,
        flight::{Flight, Landed, Rank, TaskEnd, Why},
        node::{Engine, WeakEngine},
        permits::{Permit, Permits},
    },
    error::{BoxError, GetError, LoadError, Unasked},
    faults::{Step, removed},
    fence::number::Moment,
    loading,
    options::{lifetime::limit, terms::Terms},
    sync::Arc,
    user_code,
};

/// The future of a load: one result for each of its flights, in order.
pub(crate) type Loading = BoxFuture<'static, Result<Vec<ErasedLoaded>, Failure>>;

/// Why a load has no result.
pub(crate) enum Failure {
    Error(BoxError),
    Unasked(Unasked),
}

/// How the future of a load ended.
type Ended = Result<Result<Vec<ErasedLoaded>, Failure>, Box<dyn Any + Send>>;

/// Returns the rank of a call that is made here and now.
pub(crate) fn rank() -> Rank {
    if loading::is_loading() && !removed(Step::NestedGoAhead) {
        Rank::Nested
    } else {
        Rank::Outer
    }
}

/// A load's task.
struct Task {
    engine: WeakEngine,
    clock: Arc<dyn Clock>,
    permits: Arc<Permits>,
    flights: Vec<Arc<Flight>>,
    terms: Terms,
    tags: Option<Arc<[Tag]>>,
    began: Moment,
    /// Whether it was counted as late.
    late: bool,
}

impl Engine {
    /// Runs a load for flights that are in the table.
    pub(crate) fn spawn(
        &self,
        flights: Vec<Arc<Flight>>,
        terms: Terms,
        tags: Option<Arc<[Tag]>>,
        why: Why,
        load: impl FnOnce() -> Loading,
    ) {
        self.named.counters.loads.add(1);
        let task = Task {
            engine: self.downgrade(),
            clock: Arc::clone(&self.node.clock),
            permits: Arc::clone(&self.node.permits),
            flights: flights.clone(),
            terms,
            tags,
            began: self.node.now(),
            late: false,
        };

        if !self.node.executor.is_there() {
            for flight in &flights {
                let error = GetError::no_runtime(&flight.key);
                self.fail(flight, &terms, Landed::Failed(error));
            }
            return;
        }

        // The loader is called here, on its caller's thread, and may panic. Its future runs on the
        // runtime.
        let loading = match std::panic::catch_unwind(AssertUnwindSafe(load)) {
            Err(panic) => return task.end(Err(panic)),
            Ok(loading) => loading,
        };

        let background = why == Why::Refresh;
        let span = tracing::debug_span!("load", cache = %self.named.name, background);
        let running = task.run(loading).instrument(span).boxed();
        let end = TaskEnd::new(self.node.executor.spawn(running), flights.len());
        for flight in &flights {
            flight.runs_as(end.clone());
        }
    }
}

impl Task {
    async fn run(mut self, loading: Loading) {
        // Calls that are made inside the load are nested.
        let mut load = AssertUnwindSafe(loading).catch_unwind();
        let mut running = poll_fn(|context| loading::within(|| load.poll_unpin(context)));

        let Ok(permit) = self.acquire_permit().await else {
            return self.give_up();
        };

        // Until it is overdue, or has to end whatever the deadlines of its callers are.
        let abandoned = limit(self.began, self.terms.abandon_after);
        let ended = {
            let overdue = pin!(self.overdue(abandoned));
            match select(Pin::new(&mut running), overdue).await {
                Either::Left((ended, _)) => Some(ended),
                Either::Right(_) => None,
            }
        };
        if let Some(ended) = ended {
            drop(permit);
            return self.end(ended);
        }
        if abandoned <= self.clock.now().into() || !self.is_of_use() {
            return self.give_up();
        }

        // It goes on without a permit, as one of the late loads.
        let _late = self.permits.enter_late(&self.flights);
        let permit = Some(permit).filter(|_| removed(Step::OverdueGivesBack));
        let end = self.sleep_until(abandoned);
        let ended = match select(Pin::new(&mut running), pin!(end)).await {
            Either::Left((ended, _)) => Some(ended),
            Either::Right(_) => None,
        };
        drop(permit);

        match ended {
            Some(ended) => self.end(ended),
            None => self.give_up(),
        }
    }

    /// Waits for a permit, or goes ahead without one if a load that holds a permit waits for this
    /// one. Fails if the load becomes overdue first.
    async fn acquire_permit(&self) -> Result<Option<Permit>, Overdue> {
        let mut acquire = self.permits.acquire();
        let mut overdue = pin!(self.overdue(Moment::NEVER));
        poll_fn(|context| {
            let is_urgent = |flight: &Arc<Flight>| flight.is_urgent(context);
            if self.flights.iter().any(is_urgent) {
                return Poll::Ready(Ok(self.permits.try_acquire()));
            }
            if overdue.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Overdue));
            }

            Pin::new(&mut acquire)
                .poll(context)
                .map(|permit| Ok(Some(permit)))
        })
        .await
    }

    /// Ends when the longest deadline of all callers has passed, or at `end`. Callers that join
    /// while this sleeps may extend that deadline.
    async fn overdue(&self, end: Moment) {
        loop {
            let next = self.due().min(end);
            if next <= self.clock.now().into() {
                return;
            }
            self.sleep_until(next).await;
        }
    }

    /// Returns when the longest deadline of all callers has passed.
    fn due(&self) -> Moment {
        let due = self.flights.iter().map(|flight| flight.due()).max();
        due.unwrap_or(Moment::NEVER)
    }

    async fn sleep_until(&self, moment: Moment) {
        if moment == Moment::NEVER {
            std::future::pending::<()>().await;
        }
        self.clock.sleep_until(moment.tick()).await;
    }

    /// Closes the flights to new callers. Returns whether the load's result could still be of use.
    fn is_of_use(&mut self) -> bool {
        let Some(engine) = self.engine.upgrade() else {
            return false;
        };
        self.late = true;
        self.count_late(&engine);

        // All flights stay, even voided ones: the results of the load are matched with them by
        // their order. But the load does not go on for those.
        let is_of_use = |flight: &&Arc<Flight>| engine.overdue(flight, &self.terms);
        let (useful, voided): (Vec<_>, Vec<_>) = self.flights.iter().partition(is_of_use);
        if useful.is_empty() {
            return false;
        }

        voided.iter().for_each(|flight| flight.end());
        true
    }

    fn count_late(&self, engine: &Engine) {
        engine.named.counters.load_deadlines.add(1);
        let after = Moment::from(self.clock.now()).since(self.began);
        let key = self.flights.first().map(|flight| flight.key.to_shown());
        user_code::log(|| tracing::warn!(key, ?after, "a load is past its deadline"));
    }

    /// Ends without a result: callers that have time left ask again.
    fn give_up(mut self) {
        let flights = std::mem::take(&mut self.flights);
        let Some(engine) = self.engine.upgrade() else {
            return flights.iter().for_each(|flight| flight.land(Landed::Ended));
        };

        engine.named.counters.abandoned.add(1);
        for flight in flights {
            engine.fail(&flight, &self.terms, Landed::Ended);
        }
    }

    /// Lands every flight with the result of the load.
    fn end(mut self, ended: Ended) {
        let due = self.due();
        let flights = std::mem::take(&mut self.flights);
        let Some(engine) = self.engine.upgrade() else {
            return flights.iter().for_each(|flight| flight.land(Landed::Ended));
        };

        let now = engine.node.now();
        engine.record_load(now.since(self.began));
        if !self.late && due <= now {
            engine.named.counters.load_deadlines.add(1); // it ended before this task noticed
        }

        let (terms, tags) = (&self.terms, self.tags.as_deref());
        let counters = &engine.named.counters;
        let error: Box<dyn Fn(&Flight) -> GetError> = match ended {
            Ok(Ok(results)) => {
                for (flight, loaded) in flights.iter().zip(results) {
                    match loaded.check() {
                        Ok(()) => engine.fill(flight, loaded, terms, tags),
                        Err(error) => {
                            let error = GetError::options(&flight.key, error);
                            engine.fail(flight, terms, Landed::Failed(error));
                        }
                    }
                }

                return;
            }
            Ok(Err(Failure::Error(error))) => {
                counters.load_errors.add(1);
                let error = Arc::new(error);
                Box::new(move |flight| {
                    GetError::Load(LoadError::new(&flight.key, Arc::clone(&error)))
                })
            }
            Ok(Err(Failure::Unasked(unasked))) => {
                counters.load_errors.add(1);
                let unasked = Arc::new(unasked);
                Box::new(move |_| GetError::Unasked(Arc::clone(&unasked)))
            }
            Err(panic) => {
                counters.load_panics.add(1);
                let message = panic_text(&*panic).to_owned();
                user_code::drop_each(Some(panic));
                Box::new(move |flight| GetError::panicked(&flight.key, &message))
            }
        };

        for flight in &flights {
            engine.fail(flight, terms, Landed::Failed(error(flight)));
        }
        // Last: an error's `Display` and a subscriber of the log are user code.
        if let Some(flight) = flights.first() {
            let error = error(flight);
            user_code::log(|| tracing::warn!(error = %Chain(&error), "a load failed"));
        }
    }
}

/// A load became overdue before it got a permit.
struct Overdue;

impl Drop for Task {
    /// Lands the flights, if the runtime dropped the task before it ended, or the task was aborted.
    fn drop(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        let engine = self.engine.upgrade();
        for flight in flights {
            let landed = if flight.has_ended() {
                Landed::Ended
            } else {
                Landed::Failed(GetError::stopped(&flight.key))
            };
            match &engine {
                Some(engine) => engine.fail(&flight, &self.terms, landed),
                None => flight.land(landed),
            }
        }
    }
}
