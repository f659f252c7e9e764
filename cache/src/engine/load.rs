//! Loads: who starts one, what its task does, and what becomes of its result.
//!
//! A load runs as a task of the cache's runtime, so its first caller may go away. The task owns its flights: however it
//! ends, and be it that its runtime drops it, every flight lands and those who wait are woken.

use std::{
    any::{Any, TypeId},
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tidings_core::CacheKey;
use tracing::Instrument;

use crate::{
    answer::form::Form,
    answer::loaded::Loaded,
    api::cache::{Cache, Entry, Look, Outcome},
    engine::fill::Cargo,
    engine::flight::{Answer, Flight, Landed},
    engine::tags::Tag,
    error::{BoxError, GetError, LoadError},
    level2::stored::Cacheable,
    options::call::{GetOptions, Terms},
    sync::Arc,
};

/// What a load's future gives: one cargo for each of its flights, in order.
pub(crate) type Loading = BoxFuture<'static, Result<Vec<Cargo>, BoxError>>;

/// What a caller that found nothing gets hold of.
pub(crate) enum Start {
    /// A load, its own or another's.
    Flight { flight: Arc<Flight>, own: bool },
    /// Meanwhile another load has filled.
    Filled,
}

impl Cache {
    /// Waits for a load of a key that was not found.
    pub(crate) async fn load_and_wait<V, W, M, F, Fut, L, E>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        form: M,
        load: F,
        mut noted: u64,
        renew: bool,
    ) -> Result<Entry<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        self.count_miss();
        let terms = self.terms(&options);
        let mut load = Some(load);
        loop {
            let own = match self.start::<V>(key, renew, false)? {
                Start::Flight { flight, own: true } => {
                    // Whoever starts a load has a number that no tag's invalidation can exceed before the load began,
                    // so it never comes round again, and the loader is there.
                    let Some(load) = load.take() else {
                        self.fail(&flight, &terms, GetError::Stopped);
                        return Err(GetError::Stopped);
                    };
                    self.spawn(
                        vec![Arc::clone(&flight)],
                        terms,
                        options.tag_list().cloned(),
                        false,
                        || single(load()),
                    );
                    Some((flight, Outcome::Loaded))
                }
                Start::Flight { flight, own: false } => {
                    self.named.counters.joined.add(1);
                    Some((flight, Outcome::Joined))
                }
                Start::Filled => None,
            };
            let Some((flight, outcome)) = own else {
                match self.look(key, &form)? {
                    Look::Found { entry, .. } => return Ok(entry),
                    // Evicted or invalidated since.
                    Look::Missing { noted: again } => noted = again,
                }
                continue;
            };
            if let Some(answered) = self.arrived(key, &form, flight, outcome, noted).await? {
                return Ok(answered);
            }
            noted = self.node.sequence.current();
        }
    }

    /// Waits for a flight. Nothing comes of it if this caller came after a tag of the value was invalidated, and the load
    /// before.
    pub(crate) async fn arrived<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        flight: Arc<Flight>,
        outcome: Outcome,
        noted: u64,
    ) -> Result<Option<Entry<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let began = flight.number;
        let answer = match flight.wait().await {
            // It might have carried any tag that was invalidated since it began.
            Landed::Failed(_) if noted > began && self.named.tags.lock().latest() > began => {
                return Ok(None);
            }
            Landed::Failed(error) => return Err(error),
            Landed::Value(answer) => answer,
        };
        if is_late(noted, &answer) {
            return Ok(None);
        }
        let outcome = if answer.stale {
            Outcome::Stale
        } else {
            outcome
        };
        let value = self.take(key, form, answer, noted)?;
        Ok(Some(Entry { value, outcome }))
    }

    fn take<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        answer: Answer,
        noted: u64,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        // Its type was compared when the flight was joined.
        let shared = (answer
            .value
            .map(|value| crate::level2::stored::typed::<V>(value, key)))
        .transpose()?;
        match answer.filled {
            Some(expires) => {
                let fitting = self.named.fitting(&self.node);
                let attached = crate::level1::table::count(&fitting, |_| ()).is_some();
                self.promote(key, form, shared, noted, expires, attached)
            }
            None => shared.map(|shared| form.shared(shared)).transpose(),
        }
    }

    /// Joins the load of a key, or enters a new one into the table.
    pub(crate) fn start<V: Cacheable>(
        &self,
        key: &CacheKey,
        renew: bool,
        background: bool,
    ) -> Result<Start, GetError> {
        let mut shard = self.named.flights.lock(key);
        if let Some(flight) = shard.joinable(key) {
            if flight.value_type != TypeId::of::<V>() {
                return Err(GetError::wrong_type(
                    key,
                    flight.type_name,
                    std::any::type_name::<V>(),
                ));
            }
            if renew {
                flight.make_replace();
            }
            let flight = Arc::clone(flight);
            return Ok(Start::Flight { flight, own: false });
        }
        // Under the lock: a load that landed since L2 was read has filled it, and one that lands later is joined above.
        #[cfg(any(shuttle, tidings_faults))]
        let look_again = !crate::faults::removed(crate::faults::Step::StartLooksAgain);
        #[cfg(not(any(shuttle, tidings_faults)))]
        let look_again = true;
        if look_again && !renew && !background && self.is_live(key) {
            return Ok(Start::Filled);
        }
        let flight = Arc::new(Flight::new(
            key.clone(),
            self.node.sequence.current(),
            self.node.now(),
            (TypeId::of::<V>(), std::any::type_name::<V>()),
            renew || background,
        ));
        shard.start(Arc::clone(&flight));
        Ok(Start::Flight { flight, own: true })
    }

    fn is_live(&self, key: &CacheKey) -> bool {
        let name = self.named.name_of(key);
        let level2 = &self.node.level2;
        let expires = match level2.present.peek(&name) {
            Some(held) => Some(held.expires),
            None => level2.absent.peek(&name).map(|held| held.expires),
        };
        expires.is_some_and(|expires| self.node.is_ahead(expires))
    }

    /// Runs a load for flights that are in the table.
    pub(crate) fn spawn(
        &self,
        flights: Vec<Arc<Flight>>,
        terms: Terms,
        tags: Option<Arc<[Tag]>>,
        background: bool,
        load: impl FnOnce() -> Loading,
    ) {
        self.named.counters.loads.add(1);
        let task = Task {
            cache: self.clone(),
            flights: flights.clone(),
            terms,
            tags,
            began: self.node.now(),
        };
        // The loader is called here, on its caller's thread, and may panic there; its future runs on the runtime.
        match std::panic::catch_unwind(AssertUnwindSafe(load)) {
            Err(panic) => task.land(Err(panicked(&*panic))),
            Ok(loading) => {
                let span = tracing::debug_span!("load", cache = %self.named.name, background);
                let abort = self
                    .node
                    .executor
                    .spawn(task.run(loading).instrument(span).boxed());
                for flight in &flights {
                    flight.runs_as(abort.clone());
                }
            }
        }
    }

    /// Loads an entry anew in the background, unless that is being done.
    pub(crate) fn refresh<V, F, Fut, L, E>(&self, key: &CacheKey, options: &GetOptions, load: F)
    where
        V: Cacheable,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        // Another type: the caller has its value, and whoever asks in that type hears of it.
        if let Ok(Start::Flight { flight, own: true }) = self.start::<V>(key, false, true) {
            self.named.counters.refreshes.add(1);
            let terms = self.terms(options);
            self.spawn(
                vec![flight],
                terms,
                options.tag_list().cloned(),
                true,
                || single(load()),
            );
        }
    }

    pub(crate) fn terms(&self, options: &GetOptions) -> Terms {
        match options.terms() {
            Some(terms) => Terms::resolve(terms, &self.named.settings.terms),
            None => self.named.terms,
        }
    }

    pub(crate) fn count_miss(&self) {
        let fitting = self.named.fitting(&self.node);
        if crate::level1::table::count(&fitting, |counters| counters.miss()).is_none() {
            self.named.threads.unattached.misses.add(1);
        }
    }
}

/// Whether the caller came after an invalidation of a tag that the load knew nothing of.
fn is_late(noted: u64, answer: &Answer) -> bool {
    #[cfg(any(shuttle, tidings_faults))]
    if crate::faults::removed(crate::faults::Step::LateCallersAskAgain) {
        return false;
    }
    noted >= answer.not_from
}

/// The future of a load of one key, with its types erased.
fn single<V, Fut, L, E>(load: Fut) -> Loading
where
    V: Cacheable,
    Fut: Future<Output = Result<L, E>> + Send + 'static,
    L: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    async move {
        match load.await {
            Ok(loaded) => Ok(vec![Cargo::new(loaded.into())]),
            Err(error) => Err(error.into()),
        }
    }
    .boxed()
}

/// A load's task.
struct Task {
    cache: Cache,
    flights: Vec<Arc<Flight>>,
    terms: Terms,
    tags: Option<Arc<[Tag]>>,
    began: u64,
}

impl Task {
    async fn run(self, loading: Loading) {
        let node = Arc::clone(&self.cache.node);
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
        let counters = &self.cache.named.counters;
        let took = self.cache.node.now().saturating_sub(self.began);
        self.cache.record_load_time(Duration::from_nanos(took));
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
                            self.cache.fill(&flight, cargo, &self.terms, tags);
                        }
                        Err(error) => self.cache.fail(&flight, &self.terms, error.into()),
                    }
                }
            }
            Err(error) => {
                while let Some(flight) = self.flights.pop() {
                    self.cache.fail(&flight, &self.terms, error.clone());
                }
            }
        }
    }

    /// Tells those who wait that the load is late; gives whether it is still good for anything.
    fn is_overdue(&self, after: Duration) -> bool {
        self.cache.named.counters.load_deadlines.add(1);
        tracing::warn!(?after, "load is past its deadline");
        let (cache, terms) = (&self.cache, &self.terms);
        // All stay, also those that were voided: what the load gives is matched with them by their order.
        let useful = |useful, flight| cache.overdue(flight, terms, after) || useful;
        self.flights.iter().fold(false, useful)
    }
}

impl Drop for Task {
    /// The runtime dropped the task before it ended.
    fn drop(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.cache.fail(&flight, &self.terms, GetError::Stopped);
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
