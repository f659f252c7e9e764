//! Many keys at once: one call of the loader for those that miss.

use std::{collections::HashMap, sync::Arc};

use futures_util::FutureExt;
use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Entry, Outcome},
        form::Own,
        load::LoadMany,
        loaded::Loaded,
    },
    api::cache::Cache,
    engine::{
        cargo::Cargo,
        flight::{Flight, Why},
        load::{Share, Start},
        lookup::{Look, Refresh},
        node::Engine,
        task::Loading,
    },
    error::GetError,
    level2::stored::Cacheable,
    options::call::GetOptions,
};

/// What is being done about one key of a bulk call.
enum Wanted<V> {
    Got(Entry<V>),
    Flight(Share),
}

/// Flights that were entered and have no task yet. Dropped, for example by a panic of a value's `Clone`, they fail.
struct Entered<'a> {
    engine: &'a Engine,
    flights: Vec<Arc<Flight>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.engine
                .fail(&flight, &self.engine.named.terms, GetError::Stopped);
        }
    }
}

impl Cache {
    /// Returns the values of many keys, in order, with one load for all that neither level has.
    ///
    /// `load` is given the keys that no caller is loading yet and returns what it found of them; a key that it leaves out
    /// is absent. Keys that others are loading are waited for. Each key that is loaded is fenced for itself: if one is
    /// invalidated while it is loaded, the others still fill.
    ///
    /// # Errors
    ///
    /// The first error of any key; the others are cached all the same. See [`get`](Self::get).
    ///
    /// Cancel safe: a load that was started goes on.
    pub async fn get_bulk<V: Cacheable, R: LoadMany<V>>(
        &self,
        keys: &[CacheKey],
        options: GetOptions,
        load: impl Fn(Vec<CacheKey>) -> R + Send + Sync,
    ) -> Result<Vec<Option<Arc<V>>>, GetError> {
        options.check(&self.0.named.settings.terms)?;
        let mut values = vec![None; keys.len()];
        let mut open: Vec<usize> = (0..keys.len()).collect();

        // Once round, unless a tag was invalidated between a load's start and this call.
        while !open.is_empty() {
            let wanted = self.want::<V, R>(keys, &open, &options, &load)?;
            let mut late = Vec::new();
            for (index, wanted) in open.into_iter().zip(wanted) {
                let entry = match wanted {
                    Wanted::Got(entry) => Some(entry),
                    Wanted::Flight(share) => {
                        let landed = Arc::clone(&share.flight).wait().await;
                        self.0.arrived::<V, V, Own>(&Own, &share, landed)?
                    }
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
    fn want<V: Cacheable, R: LoadMany<V>>(
        &self,
        keys: &[CacheKey],
        open: &[usize],
        options: &GetOptions,
        load: &(impl Fn(Vec<CacheKey>) -> R + Send + Sync),
    ) -> Result<Vec<Wanted<V>>, GetError> {
        let entered = || Entered {
            engine: &self.0,
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

        for (entered, why) in [(&mut own, Why::Miss), (&mut refresh, Why::Refresh)] {
            let flights = std::mem::take(&mut entered.flights);
            if !flights.is_empty() {
                let asked: Vec<_> = flights.iter().map(|flight| flight.key.clone()).collect();
                let (terms, tags) = (self.0.terms(options), options.tag_list().cloned());
                self.0.spawn(flights, terms, tags, why, || {
                    many(asked.clone(), load(asked))
                });
            }
        }
        error.map_or(Ok(wanted), Err)
    }

    fn want_one<V: Cacheable>(
        &self,
        key: &CacheKey,
        own: &mut Vec<Arc<Flight>>,
        refreshed: &mut Vec<Arc<Flight>>,
    ) -> Result<Wanted<V>, GetError> {
        loop {
            let noted = match self.0.look::<V, V, Own>(key, &Own)? {
                Look::Found { entry, refresh } => {
                    if refresh == Refresh::Due
                        && let Start::Own(flight) = self.0.start::<V>(key, Why::Refresh)?
                    {
                        self.0.named.counters.refreshes.add(1);
                        refreshed.push(flight);
                    }
                    return Ok(Wanted::Got(entry));
                }
                Look::Missing { noted } => noted,
            };

            let (flight, outcome) = match self.0.start::<V>(key, Why::Miss)? {
                Start::Filled => continue,
                Start::Own(flight) => {
                    own.push(Arc::clone(&flight));
                    (flight, Outcome::Loaded)
                }
                Start::Joined(flight) => {
                    self.0.named.counters.joined.add(1);
                    (flight, Outcome::Joined)
                }
            };
            self.0.count_miss();
            return Ok(Wanted::Flight(Share {
                flight,
                outcome,
                noted,
            }));
        }
    }
}

/// Returns the future of a load of many keys, with its type erased.
fn many<V: Cacheable>(asked: Vec<CacheKey>, found: impl LoadMany<V>) -> Loading {
    let loading = found.load();
    async move {
        let mut found: HashMap<_, _> = loading.await?.into_iter().collect();
        let cargo = |key: &CacheKey| match found.remove(key) {
            Some(loaded) => Cargo::new::<V>(loaded),
            None => Cargo::new::<V>(Loaded::absent()),
        };
        Ok(asked.iter().map(cargo).collect())
    }
    .boxed()
}
