//! A load's task.
//!
//! A load runs as a task of the cache's runtime, so its first caller may go away. The task owns its flights: however the
//! task ends, even if the runtime drops it, every flight lands and its waiters are woken.

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tracing::Instrument;

use crate::{
    answer::tag::Tag,
    engine::{
        cargo::Cargo,
        flight::{Flight, Why},
        node::Engine,
    },
    error::{BoxError, GetError, LoadError},
    fence::number::Moment,
    options::terms::Terms,
    sync::Arc,
};

/// What a load's future gives: one cargo for each of its flights, in order.
pub(crate) type Loading = BoxFuture<'static, Result<Vec<Cargo>, BoxError>>;

/// A load's task.
struct Task {
    engine: Engine,
    flights: Vec<Arc<Flight>>,
    terms: Terms,
    tags: Option<Arc<[Tag]>>,
    began: Moment,
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
            engine: self.clone(),
            flights: flights.clone(),
            terms,
            tags,
            began: self.node.now(),
        };

        // The loader is called here, on its caller's thread, and may panic there; its future runs on the runtime.
        match std::panic::catch_unwind(AssertUnwindSafe(load)) {
            Err(panic) => task.land(Err(panicked(&*panic))),
            Ok(loading) => {
                let background = why == Why::Refresh;
                let span = tracing::debug_span!("load", cache = %self.named.name, background);
                let running = task.run(loading).instrument(span).boxed();
                let abort = self.node.executor.spawn(running);
                for flight in &flights {
                    flight.runs_as(abort.clone());
                }
            }
        }
    }
}

impl Task {
    async fn run(self, loading: Loading) {
        let node = Arc::clone(&self.engine.node);
        let turn = async {
            // Closed never: the node owns it.
            let _turn = node.bulkhead.acquire().await;
            AssertUnwindSafe(loading).catch_unwind().await
        };
        let mut turn = pin!(turn);

        let this = self;
        let deadline = this.terms.deadline;
        if !deadline.is_zero() {
            let sleep = node.clock.sleep(deadline);
            match select(turn.as_mut(), sleep).await {
                Either::Left((result, _)) => return this.end(result),
                Either::Right(_) => {
                    if !this.is_overdue(deadline) {
                        return;
                    }
                }
            }
        }

        let result = turn.await;
        this.end(result);
    }

    fn end(self, result: Result<Result<Vec<Cargo>, BoxError>, Box<dyn Any + Send>>) {
        self.land(match result {
            Ok(Ok(cargos)) => Ok(cargos),
            Ok(Err(error)) => Err(GetError::Load(LoadError::new(error))),
            Err(panic) => Err(panicked(&*panic)),
        });
    }

    fn land(mut self, result: Result<Vec<Cargo>, GetError>) {
        let counters = &self.engine.named.counters;
        let took = self.engine.node.now().since(self.began);
        counters.load_time.record(took);
        let name = Arc::clone(&self.engine.named.name);
        metrics::histogram!("tidings_cache_load_seconds", "cache" => name).record(took);
        match &result {
            Err(GetError::Load(error)) => {
                counters.load_errors.add(1);
                tracing::debug!(%error, "load failed");
            }
            Err(GetError::Panicked { message }) => {
                counters.load_panics.add(1);
                tracing::error!(%message, "load panicked");
            }
            _ => {}
        }

        // One by one: should dropping a value that is replaced panic, the others still land, as this is dropped.
        match result {
            Ok(mut cargos) => {
                while let Some((flight, cargo)) = self.flights.pop().zip(cargos.pop()) {
                    match cargo.check() {
                        Ok(()) => {
                            let tags = self.tags.as_deref();
                            self.engine.fill(&flight, cargo, &self.terms, tags);
                        }
                        Err(error) => self.engine.fail(&flight, &self.terms, error.into()),
                    }
                }
            }
            Err(error) => {
                while let Some(flight) = self.flights.pop() {
                    self.engine.fail(&flight, &self.terms, error.clone());
                }
            }
        }
    }

    /// Tells the callers that wait that the load is late; returns whether it is still good for anything.
    fn is_overdue(&self, after: Duration) -> bool {
        self.engine.named.counters.load_deadlines.add(1);
        tracing::warn!(?after, "load is past its deadline");

        // All stay, also those that were voided: what the load gives is matched with them by their order.
        let (engine, terms) = (&self.engine, &self.terms);
        let useful = |useful, flight| engine.overdue(flight, terms, after) || useful;
        self.flights.iter().fold(false, useful)
    }
}

impl Drop for Task {
    /// The runtime dropped the task before it ended.
    fn drop(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.engine.fail(&flight, &self.terms, GetError::Stopped);
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> GetError {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    GetError::Panicked {
        message: Arc::new(message.unwrap_or("not a text").into()),
    }
}
