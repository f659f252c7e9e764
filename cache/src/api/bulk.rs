//! Many keys at once: one call of the loader for those that miss.

use std::{collections::HashMap, future::Future, sync::Arc};

use futures_util::FutureExt;
use tidings_core::CacheKey;

use crate::{
    answer::form::Own,
    answer::loaded::Loaded,
    api::cache::{Cache, Entry, Look, Outcome},
    engine::fill::Cargo,
    engine::flight::Flight,
    engine::load::Start,
    error::{BoxError, GetError},
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// What is being done about one key of a bulk call.
enum Wanted<V> {
    Got(Entry<V>),
    Flight {
        flight: Arc<Flight>,
        outcome: Outcome,
        noted: u64,
    },
}

/// Flights that were entered and have no task yet. Dropped, by a panic of a value's `Clone` say, they fail.
struct Entered<'a> {
    cache: &'a Cache,
    flights: Vec<Arc<Flight>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.cache
                .fail(&flight, &self.cache.named.terms, GetError::Stopped);
        }
    }
}

impl Cache {
    /// The values of many keys, in order, with one load for all that neither level has.
    ///
    /// `load` is given the keys that nobody is loading yet and returns what it found of them; a key that it leaves out is
    /// absent. Keys that others are loading are waited for. Each key that is loaded is fenced for itself: if one is
    /// invalidated meanwhile, the others still fill.
    ///
    /// # Errors
    ///
    /// The first error of any key; the others are cached all the same. See [`get`](Self::get).
    ///
    /// Cancel safe: a load that was started goes on.
    pub async fn get_bulk<V, F, Fut, L, E>(
        &self,
        keys: &[CacheKey],
        options: GetOptions,
        load: F,
    ) -> Result<Vec<Option<Arc<V>>>, GetError>
    where
        V: Cacheable,
        F: Fn(Vec<CacheKey>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Vec<(CacheKey, L)>, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        options.check(&self.named.settings.terms)?;
        let mut values = vec![None; keys.len()];
        let mut open: Vec<usize> = (0..keys.len()).collect();
        // Once round, unless a tag was invalidated between a load's start and this call.
        while !open.is_empty() {
            let wanted = self.want::<V, _, _, _, _>(keys, &open, &options, &load)?;
            let mut late = Vec::new();
            for (index, wanted) in open.into_iter().zip(wanted) {
                let entry = match wanted {
                    Wanted::Got(entry) => Some(entry),
                    Wanted::Flight {
                        flight,
                        outcome,
                        noted,
                    } => (self.arrived(&keys[index], &Own, flight, outcome, noted)).await?,
                };
                match entry {
                    Some(entry) => values[index] = entry.value,
                    None => late.push(index),
                }
            }
            open = late;
        }
        Ok(values)
    }

    /// Looks each key up, joins its load, or starts one for all that are left.
    fn want<V, F, Fut, L, E>(
        &self,
        keys: &[CacheKey],
        open: &[usize],
        options: &GetOptions,
        load: &F,
    ) -> Result<Vec<Wanted<V>>, GetError>
    where
        V: Cacheable,
        F: Fn(Vec<CacheKey>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Vec<(CacheKey, L)>, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let entered = || Entered {
            cache: self,
            flights: Vec::new(),
        };
        let (mut own, mut refresh) = (entered(), entered());
        let mut wanted = Vec::with_capacity(open.len());
        let mut error = None;
        for index in open {
            let key = &keys[*index];
            match self.want_one(key, &mut own.flights, &mut refresh.flights) {
                Ok(one) => wanted.push(one),
                Err(other) => {
                    // Flights that were entered must fly all the same: others may wait for them.
                    error = Some(other);
                    break;
                }
            }
        }
        for (entered, background) in [(&mut own, false), (&mut refresh, true)] {
            let flights = std::mem::take(&mut entered.flights);
            if !flights.is_empty() {
                let asked: Vec<_> = flights.iter().map(|flight| flight.key.clone()).collect();
                let terms = self.terms(options);
                self.spawn(
                    flights,
                    terms,
                    options.tag_list().cloned(),
                    background,
                    || {
                        let loading = load(asked.clone());
                        async move {
                            let found = loading.await.map_err(Into::into)?;
                            let mut found: HashMap<_, _> = found.into_iter().collect();
                            let cargo = |key: &CacheKey| match found.remove(key) {
                                Some(loaded) => Cargo::new::<V>(loaded.into()),
                                None => Cargo::new::<V>(Loaded::absent()),
                            };
                            Ok(asked.iter().map(cargo).collect())
                        }
                        .boxed()
                    },
                );
            }
        }
        error.map_or(Ok(wanted), Err)
    }

    fn want_one<V: Cacheable>(
        &self,
        key: &CacheKey,
        own: &mut Vec<Arc<Flight>>,
        refresh: &mut Vec<Arc<Flight>>,
    ) -> Result<Wanted<V>, GetError> {
        loop {
            let noted = match self.look::<V, V, _>(key, &Own)? {
                Look::Found {
                    entry,
                    refresh: false,
                } => return Ok(Wanted::Got(entry)),
                Look::Found { entry, .. } => {
                    if let Start::Flight { flight, own: true } =
                        self.start::<V>(key, false, true)?
                    {
                        self.named.counters.refreshes.add(1);
                        refresh.push(flight);
                    }
                    return Ok(Wanted::Got(entry));
                }
                Look::Missing { noted } => noted,
            };
            let Start::Flight { flight, own: mine } = self.start::<V>(key, false, false)? else {
                continue;
            };
            self.count_miss();
            let outcome = if mine {
                own.push(Arc::clone(&flight));
                Outcome::Loaded
            } else {
                self.named.counters.joined.add(1);
                Outcome::Joined
            };
            return Ok(Wanted::Flight {
                flight,
                outcome,
                noted,
            });
        }
    }
}
