//! Looks many keys up at once, with one call of the loader for those that miss.

use std::{collections::HashMap, future::poll_fn, sync::Arc};

use futures_util::FutureExt;
use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Answered, Outcome},
        form::Own,
        load::LoadMany,
        loaded::Loaded,
        ttl::Ttl,
    },
    api::cache::Cache,
    engine::{
        deadlines::{Deadlines, WaitEvent},
        erased::ErasedLoaded,
        flight::{Flight, Landed, Turn, Why},
        load::{JoinedFlight, LoadRequest, Start},
        lookup::{Lookup, Refresh},
        node::Engine,
        task::{Failure, Loading},
    },
    error::{GetError, Unasked},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// The state of one key of a bulk call.
enum KeyState<V> {
    Answered(Answered<V>),
    Joined(JoinedFlight),
    /// The call waits for the end of a load that it could not join.
    Queued(Arc<Flight>),
}

/// Flights that are in the table and have no task yet. They fail when this is dropped, for example
/// by a panic of a value's `Clone`.
struct UnstartedFlights<'a> {
    engine: &'a Engine,
    flights: Vec<Arc<Flight>>,
}

impl Drop for UnstartedFlights<'_> {
    fn drop(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            let landed = Landed::Failed(GetError::stopped(&flight.key));
            self.engine.fail(&flight, &self.engine.named.terms, landed);
        }
    }
}

impl Cache {
    /// Returns the values of many keys, in order, with one load for all that neither level has.
    ///
    /// `load` gets the keys that no caller is loading yet, and returns what it found. A key that it
    /// leaves out is absent, and a key that was not asked for is an error. The call waits for keys
    /// that other callers are loading. Each loaded key is fenced by itself: if one is invalidated
    /// while it is loaded, the others still fill.
    ///
    /// # Errors
    ///
    /// The first error of any key. The other keys are still cached. See [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let keys = ["a", "b"].map(|name| CacheKey::new("numbers", &[name]));
    /// cache.set(&keys[0], Some(1), GetOptions::default())?;
    ///
    /// // Asked for what misses alone. A key that the answer leaves out is cached as absent.
    /// let load = |missing: Vec<CacheKey>| async move {
    ///     assert_eq!(missing.len(), 1);
    ///     Ok::<_, std::io::Error>(Vec::<(CacheKey, Option<i32>)>::new())
    /// };
    /// let values = cache.get_bulk(&keys, GetOptions::default(), load).await?;
    /// assert_eq!(values[0].as_deref(), Some(&1));
    /// assert!(values[1].is_none());
    /// # Ok(()) }
    /// ```
    pub async fn get_bulk<V: Cacheable, R: LoadMany<V>>(
        &self,
        keys: &[CacheKey],
        options: GetOptions,
        load: impl Fn(Vec<CacheKey>) -> R + Send + Sync,
    ) -> Result<Vec<Option<Arc<V>>>, GetError> {
        let bulk = Bulk {
            engine: &self.0,
            keys,
            request: self.load_request(keys, &options)?,
            options: &options,
        };
        let mut deadlines = Deadlines::new(&self.0.node.clock, &bulk.request.terms);
        let mut values = vec![None; keys.len()];
        let mut open: Vec<usize> = (0..keys.len()).collect();
        let mut turns = vec![None; keys.len()];

        // One round, unless a tag was invalidated between the start of a load and this call,
        // another caller's load was ended without a result, or a load in progress could not be
        // joined.
        while !open.is_empty() {
            let states = bulk.start_all::<V, R>(&open, &mut turns, &load)?;
            let mut again = Vec::new();
            for (index, state) in open.into_iter().zip(states) {
                let answered = match state {
                    KeyState::Answered(answered) => Some(answered),
                    KeyState::Joined(joined) => {
                        let flight = Arc::clone(&joined.flight);
                        bulk.wait(flight, Some(&joined), &mut deadlines).await?
                    }
                    KeyState::Queued(flight) => {
                        deadlines.end_wait_at(flight.due());
                        bulk.wait(flight, None, &mut deadlines).await?
                    }
                };

                match answered {
                    Some(answered) => values[index] = answered.value,
                    None => again.push(index),
                }
            }

            open = again;
        }

        Ok(values)
    }

    fn load_request(
        &self,
        keys: &[CacheKey],
        options: &GetOptions,
    ) -> Result<LoadRequest, GetError> {
        if let Err(error) = options.check(&self.0.named.settings.terms) {
            let none = CacheKey::from_text("no key");
            return Err(GetError::options(keys.first().unwrap_or(&none), error));
        }
        Ok(self.0.load_request(Why::Miss, options))
    }
}

/// One bulk call.
struct Bulk<'a> {
    engine: &'a Engine,
    keys: &'a [CacheKey],
    options: &'a GetOptions,
    request: LoadRequest,
}

impl Bulk<'_> {
    /// Waits for one key's flight within the call's deadlines. Returns `None` if the key must be
    /// looked up again, for example because the call has not joined the flight.
    async fn wait<V: Cacheable>(
        &self,
        flight: Arc<Flight>,
        joined: Option<&JoinedFlight>,
        deadlines: &mut Deadlines,
    ) -> Result<Option<Answered<V>>, GetError> {
        let (engine, terms) = (self.engine, &self.request.terms);
        let key = &flight.key;
        let stale = || engine.serve_stale::<V, V, Own>(key, &Own, terms);

        let mut wait = Arc::clone(&flight).wait();
        loop {
            match poll_fn(|context| deadlines.poll(&mut wait, context)).await {
                WaitEvent::Landed(Landed::Ended) if deadlines.is_over() => break,
                WaitEvent::Landed(landed) => {
                    return match joined {
                        Some(joined) => engine.arrived::<V, V, Own>(&Own, joined, landed, terms),
                        None => Ok(None),
                    };
                }
                WaitEvent::LoadOverdue => return Ok(None),
                WaitEvent::SoftDeadline => {
                    if let Some(answered) = stale()? {
                        return Ok(Some(answered));
                    }
                }
                WaitEvent::Deadline => break,
            }
        }

        if let Some(answered) = stale()? {
            return Ok(Some(answered));
        }
        engine.named.counters.late_calls.add(1);
        let waited = engine.node.now().since(deadlines.began);
        Err(GetError::late(key, waited))
    }

    /// Looks each key up, and joins its load or starts one for all keys that are left.
    fn start_all<V: Cacheable, R: LoadMany<V>>(
        &self,
        open: &[usize],
        turns: &mut [Option<Turn>],
        load: &(impl Fn(Vec<CacheKey>) -> R + Send + Sync),
    ) -> Result<Vec<KeyState<V>>, GetError> {
        let entered = || UnstartedFlights {
            engine: self.engine,
            flights: Vec::new(),
        };
        let (mut own, mut refresh) = (entered(), entered());

        let mut states = Vec::with_capacity(open.len());
        let mut error = None;
        for index in open {
            let key = &self.keys[*index];
            let flights = (&mut own.flights, &mut refresh.flights);

            match self.start_one(key, &mut turns[*index], flights) {
                Ok(one) => states.push(one),
                Err(other) => {
                    // Flights in the table must still run: other callers may wait for them.
                    error = Some(other);
                    break;
                }
            }
        }

        for (entered, why) in [(&mut own, Why::Miss), (&mut refresh, Why::Refresh)] {
            let flights = std::mem::take(&mut entered.flights);
            if !flights.is_empty() {
                let asked: Vec<_> = flights.iter().map(|flight| flight.key.clone()).collect();
                let tags = self.options.tag_list().cloned();
                self.engine
                    .spawn(flights, self.request.terms, tags, why, || {
                        many(asked.clone(), load(asked))
                    });
            }
        }

        error.map_or(Ok(states), Err)
    }

    fn start_one<V: Cacheable>(
        &self,
        key: &CacheKey,
        turn: &mut Option<Turn>,
        (own, refreshed): (&mut Vec<Arc<Flight>>, &mut Vec<Arc<Flight>>),
    ) -> Result<KeyState<V>, GetError> {
        loop {
            let noted = match self.engine.lookup::<V, V, Own>(key, &Own, self.options)? {
                Lookup::Hit { entry, refresh } => {
                    let request = LoadRequest {
                        why: Why::Refresh,
                        staleness: Ttl::Never,
                        ..self.request
                    };

                    // The caller has its value, whatever keeps it from being loaded again.
                    if refresh == Refresh::Due
                        && let Ok(Start::Own(flight)) = self.engine.start::<V>(key, &request)
                    {
                        self.engine.named.counters.refreshes.add(1);
                        refreshed.push(flight);
                    }
                    return Ok(KeyState::Answered(entry));
                }
                Lookup::Miss { noted } => noted,
            };

            let request = LoadRequest {
                queued: *turn,
                ..self.request
            };
            let (flight, outcome) = match self.engine.start::<V>(key, &request)? {
                Start::Filled => continue,
                Start::Queued(flight, since) => {
                    *turn = Some(since);
                    return Ok(KeyState::Queued(flight));
                }
                Start::Own(flight) => {
                    own.push(Arc::clone(&flight));
                    (flight, Outcome::Loaded)
                }
                Start::Joined(flight) => {
                    self.engine.named.counters.joined.add(1);
                    (flight, Outcome::Joined)
                }
            };

            self.engine.count_miss();
            return Ok(KeyState::Joined(JoinedFlight {
                flight,
                outcome,
                noted,
            }));
        }
    }
}

/// Returns the future of a load of many keys, with its type erased. An answer under a key that was
/// not asked for is an error: without it, the key that was meant would silently become absent.
fn many<V: Cacheable>(asked: Vec<CacheKey>, found: impl LoadMany<V>) -> Loading {
    let loading = found.load();
    async move {
        let found = loading.await.map_err(Failure::Error)?;
        let mut found: HashMap<_, _> = found.into_iter().collect();
        let results = asked.iter().map(|key| match found.remove(key) {
            Some(loaded) => ErasedLoaded::new::<V>(loaded),
            None => ErasedLoaded::new::<V>(Loaded::absent()),
        });
        let results = results.collect();

        match found.into_keys().next() {
            None => Ok(results),
            Some(key) => Err(Failure::Unasked(Unasked {
                key: key.to_shown(),
                asked: asked.len(),
            })),
        }
    }
    .boxed()
}
