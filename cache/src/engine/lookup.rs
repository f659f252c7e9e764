//! Lookups: this thread's L1, then L2, and the promotion of an entry of L2 to L1.

use std::{any::Any, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Answered, Outcome},
        form::{Form, Formed, KeptIn},
        ttl::Ttl,
    },
    engine::{horizon::Horizon, node::Engine},
    error::{BoxError, GetError, LoadError},
    faults::{Step, gap, removed},
    fence::number::{Moment, Number},
    level1::{
        sampling,
        table::{Content, TableLookup},
        thread,
    },
    level2::{
        stored::{Cacheable, typed},
        zone,
    },
    options::{call::GetOptions, lifetime::limit},
};

/// One hit in L2 in nearly twice this many, on average, records the age of its entry, which costs a
/// read of the clock.
const AGE_EVERY: u64 = 16;

/// The result of a lookup in both levels.
pub(crate) enum Lookup<W> {
    Hit {
        entry: Answered<W>,
        refresh: Refresh,
    },
    /// Neither level has it; with the number that was noted before L2 was read.
    Miss { noted: Number },
}

/// Whether an entry is due to be loaded again in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    Due,
    No,
}

/// Whether a value of L2 also goes into this thread's L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promote {
    /// It does, in the thread's own form.
    Level1,
    /// It does not; the caller gets the shared value.
    Nowhere,
}

/// The fields of an entry of L1 besides its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryMeta {
    /// The sequence before L2 was read.
    pub(crate) number: Number,
    pub(crate) expires: Moment,
    /// When it was read from its backing store.
    pub(crate) read: Moment,
    pub(crate) weight: u32,
}

impl Engine {
    /// Looks a key up in this thread's L1, then in L2.
    pub(crate) fn lookup<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        options: &GetOptions,
    ) -> Result<Lookup<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        if options.bounds_staleness() {
            return self.lookup_level2(key, form, options);
        }

        let value = match self.level1(key) {
            TableLookup::Hit(value) => value,
            TableLookup::Touch(value) => {
                self.touch(key);
                value
            }
            TableLookup::Miss => return self.lookup_level2(key, form, options),
        };
        Ok(Lookup::Hit {
            entry: self.of_level1(key, value),
            refresh: Refresh::No,
        })
    }

    #[inline(always)]
    pub(crate) fn level1<W: Any + Send + Sync>(&self, key: &CacheKey) -> TableLookup<W> {
        thread::get(&self.named.level1, key)
    }

    /// Returns a value of L1 with the time of its read. This costs a second lookup, for which a
    /// call that wants only the value does not pay.
    pub(crate) fn of_level1<W>(&self, key: &CacheKey, value: Option<Arc<W>>) -> Answered<W> {
        let read = thread::read_of(&self.named.level1, key);
        Answered {
            value,
            outcome: Outcome::L1,
            read: read.unwrap_or_else(|| self.node.now()),
        }
    }

    /// Counts a hit in L2 for a key that L1 answers, so that L2 sees that the key is hot.
    #[cold]
    pub(crate) fn touch(&self, key: &CacheKey) {
        if let Some(held) = self.node.level2.get(&self.named.key_ref(key)) {
            self.record_age(held.read);
        }
    }

    #[inline(never)]
    pub(crate) fn lookup_level2<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        options: &GetOptions,
    ) -> Result<Lookup<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        // Both are taken before L2 is read: a later proof may be a proof of what replaces the
        // value, and an invalidation that this lookup does not see takes a higher number.
        let early_horizon = self.node.horizon();
        let early = self.node.sequence.current();
        let held = self.node.level2.get(&self.named.key_ref(key));
        let noted = if removed(Step::NumberNotedFirst) {
            self.node.sequence.current()
        } else {
            early
        };
        gap(Step::ProofNotedFirst);

        let horizon = if removed(Step::ProofNotedFirst) {
            self.node.horizon()
        } else {
            early_horizon
        };

        match held {
            Some(held) => self.found_level2(key, form, held, (noted, horizon), options),
            None => Ok(Lookup::Miss { noted }),
        }
    }

    fn found_level2<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        held: zone::Found,
        (noted, horizon): (Number, Horizon),
        options: &GetOptions,
    ) -> Result<Lookup<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let own = if options.bounds_staleness() {
            self.terms(options).max_staleness
        } else {
            Ttl::Never // the cache's is kept with the entry
        };
        let since = held.times().read;
        let fresh = limit(since, own).min(horizon.until(since));
        let ends = held.expires.min(fresh);
        let now = if ends == Moment::NEVER {
            Moment::START
        } else {
            self.node.now()
        };
        let refresh_at = held.refresh_at();
        let refresh = if refresh_at <= now {
            Refresh::Due
        } else {
            Refresh::No
        };

        if ends <= now {
            let terms = self.terms(options);
            if fresh <= now || held.expires > now || !self.has_failed(&held, &terms, now) {
                return Ok(Lookup::Miss { noted });
            }
            let entry = self.stale::<V, W, M>(key, form, held)?;
            return Ok(Lookup::Hit { entry, refresh });
        }

        let (read, weight) = (held.read, held.weight);
        let expires = held.expires.min(horizon.until(since)).min(refresh_at);
        let shared = (held.value.map(|value| typed::<V>(value, key))).transpose()?;
        let (promote, hits) = self.count_level2(shared.is_none());

        // Chosen by the key's secret hash: a fixed period could coincide with a pattern in how
        // requests use the cache.
        if sampling::distance(key.hash_value(), hits, AGE_EVERY) == 1 {
            self.record_age(read);
        }

        let meta = EntryMeta {
            number: noted,
            expires,
            read,
            weight,
        };
        let promote = match refresh {
            // If this thread kept the value, it would not see whether the refresh fails.
            Refresh::Due => Promote::Nowhere,
            Refresh::No => promote,
        };
        let value = self.promote(key, form, shared, meta, promote)?;
        Ok(Lookup::Hit {
            entry: Answered {
                value,
                outcome: Outcome::L2,
                read,
            },
            refresh,
        })
    }

    /// Puts a value into this thread's L1 in the worker's form, if it is to be promoted, and
    /// returns what the caller gets.
    pub(crate) fn promote<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        shared: Option<Arc<V>>,
        meta: EntryMeta,
        promote: Promote,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        match promote {
            Promote::Nowhere => self.shared(key, form, shared),
            Promote::Level1 => {
                // Made before L1 is borrowed: a value's `Clone` may use the cache.
                let own = shared.map(|shared| form.own(&shared)).transpose();
                let own = own.map_err(|error| not_decoded(key, error))?;

                let EntryMeta {
                    number,
                    expires,
                    read,
                    weight,
                } = meta;
                let formed = Formed {
                    value: own.as_ref(),
                    number,
                    expires,
                    weight,
                };
                if form.keep(key, formed) == KeptIn::Form {
                    return Ok(own);
                }

                let value = own.clone().map(|own| own as Arc<dyn Any + Send + Sync>);
                let content = Content {
                    value,
                    number,
                    expires,
                    read,
                    weight,
                };
                thread::put(&self.named.level1, key, content);

                Ok(own)
            }
        }
    }

    /// Returns a value in the worker's form, for a thread that does not keep it.
    pub(crate) fn shared<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        shared: Option<Arc<V>>,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        M: Form<V, W>,
    {
        let shared = shared.map(|shared| form.shared(shared)).transpose();
        shared.map_err(|error| not_decoded(key, error))
    }

    /// Returns whether this thread has an L1.
    pub(crate) fn promotes(&self) -> Promote {
        match thread::count(&self.named.level1, |_| ()) {
            Some(()) => Promote::Level1,
            None => Promote::Nowhere,
        }
    }

    /// Counts a hit in L2. Returns whether this thread has an L1, and how many such hits there
    /// were.
    fn count_level2(&self, absent: bool) -> (Promote, u64) {
        let shared = &self.named.level1;
        match thread::count(shared, |counters| counters.l2_hit(absent)) {
            Some(hits) => (Promote::Level1, hits),
            None => {
                let unattached = &shared.threads.unattached;
                unattached.absences.add(usize::from(absent));
                (Promote::Nowhere, unattached.l2_hits.add(1))
            }
        }
    }

    pub(crate) fn count_miss(&self) {
        let shared = &self.named.level1;
        if thread::count(shared, |counters| counters.miss()).is_none() {
            shared.threads.unattached.misses.add(1);
        }
    }

    fn record_age(&self, read: Moment) {
        self.named.counters.age.record(self.node.now().since(read));
    }
}

#[cold]
fn not_decoded(key: &CacheKey, error: BoxError) -> GetError {
    GetError::L1Serializer(LoadError::new(key, Arc::new(error)))
}
