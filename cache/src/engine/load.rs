//! Callers that found nothing: they join a load or start one, and take what it gives.

use std::any::Any;

use futures_util::FutureExt;
use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Entry, Outcome},
        form::Form,
        load::Load,
    },
    engine::{
        cargo::Cargo,
        flight::{Answer, Flight, Landed, ValueType, Why},
        lookup::Promote,
        node::Engine,
        task::Loading,
    },
    error::GetError,
    faults::{Step, removed},
    fence::number::{Noted, Number},
    level1::thread,
    level2::stored::{Cacheable, typed},
    options::call::GetOptions,
    sync::Arc,
};

/// What a caller that found nothing gets hold of.
pub(crate) enum Start {
    /// A flight of its own, in the table, whose load is to be run.
    Own(Arc<Flight>),
    /// Another caller's.
    Joined(Arc<Flight>),
    /// Another load has filled L2 by now.
    Filled,
}

/// A caller's part in a flight.
pub(crate) struct Share {
    pub(crate) flight: Arc<Flight>,
    pub(crate) outcome: Outcome,
    /// What the caller noted before it looked.
    pub(crate) noted: Number,
}

impl Engine {
    /// Joins the load of a key, or enters a new one into the table.
    pub(crate) fn start<V: Cacheable>(&self, key: &CacheKey, why: Why) -> Result<Start, GetError> {
        let mut shard = self.named.flights.lock(key);
        if let Some(flight) = shard.joinable(key) {
            let asked = ValueType::of::<V>();
            if flight.of.id != asked.id {
                return Err(GetError::wrong_type(key, flight.of.name, asked.name));
            }
            if why == Why::Renew {
                flight.make_replace();
            }
            return Ok(Start::Joined(Arc::clone(flight)));
        }

        // Under the lock: a load that landed since L2 was read has filled it, and one that lands later is joined above.
        let look_again = why == Why::Miss && !removed(Step::StartLooksAgain);
        if look_again && self.is_live(key) {
            return Ok(Start::Filled);
        }

        let noted = Noted {
            number: self.node.sequence.current(),
            read: self.node.now(),
        };
        let flight = Arc::new(Flight::new(key.clone(), noted, ValueType::of::<V>(), why));
        shard.start(Arc::clone(&flight));
        Ok(Start::Own(flight))
    }

    fn is_live(&self, key: &CacheKey) -> bool {
        let found = self.node.level2.find(&self.named.name_of(key));
        found.is_some_and(|held| self.node.is_ahead(held.expires))
    }

    /// Runs the load of one flight.
    pub(crate) fn run<V: Cacheable>(
        &self,
        flight: &Arc<Flight>,
        options: &GetOptions,
        why: Why,
        load: impl Load<V>,
    ) {
        let terms = self.terms(options);
        let tags = options.tag_list().cloned();
        self.spawn(vec![Arc::clone(flight)], terms, tags, why, || single(load));
    }

    /// Loads an entry again in the background, unless that is being done.
    pub(crate) fn refresh<V: Cacheable>(
        &self,
        key: &CacheKey,
        options: &GetOptions,
        load: impl Load<V>,
    ) {
        // Another type: the caller has its value, and the next caller that asks in that type hears of it.
        if let Ok(Start::Own(flight)) = self.start::<V>(key, Why::Refresh) {
            self.named.counters.refreshes.add(1);
            self.run(&flight, options, Why::Refresh, load);
        }
    }

    /// Returns what a caller gets of a flight that has landed. Nothing comes of it if the caller came after a tag of the
    /// value was invalidated, and the load before.
    pub(crate) fn arrived<V, W, M>(
        &self,
        form: &M,
        share: &Share,
        landed: Landed,
    ) -> Result<Option<Entry<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let (began, noted) = (share.flight.noted.number, share.noted);
        let answer = match landed {
            // It might have carried any tag that was invalidated since it began.
            Landed::Failed(_) if noted > began && self.named.tags.lock().latest() > began => {
                return Ok(None);
            }
            Landed::Failed(error) => return Err(error),
            Landed::Value(answer) => answer,
        };
        if noted >= answer.not_from && !removed(Step::LateCallersAskAgain) {
            return Ok(None);
        }

        let outcome = if answer.stale {
            Outcome::Stale
        } else {
            share.outcome
        };
        let value = self.take::<V, W, M>(&share.flight.key, form, answer, noted)?;
        Ok(Some(Entry { value, outcome }))
    }

    fn take<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        answer: Answer,
        noted: Number,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        // Its type was compared when the flight was joined.
        let shared = (answer.value.map(|value| typed::<V>(value, key))).transpose()?;
        match answer.filled {
            Some(expires) => {
                let promote = match thread::count(&self.named.level1, |_| ()) {
                    Some(()) => Promote::Level1,
                    None => Promote::Nowhere,
                };
                self.promote(key, form, shared, noted, expires, promote)
            }
            None => shared.map(|shared| form.shared(shared)).transpose(),
        }
    }
}

/// Returns the future of a load of one key, with its type erased.
fn single<V: Cacheable>(load: impl Load<V>) -> Loading {
    let loading = load.load();
    async move { Ok(vec![Cargo::new(loading.await?)]) }.boxed()
}
