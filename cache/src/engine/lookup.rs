//! Lookups: this thread's L1, then L2, and the promotion of what was found there.

use std::{any::Any, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::{
        entry::{Entry, Outcome},
        form::Form,
    },
    engine::node::Engine,
    error::GetError,
    faults::{Step, removed},
    fence::number::{Moment, Number},
    level1::{
        table::{self, Kept},
        thread,
    },
    level2::{
        stored::{Cacheable, typed},
        zone,
    },
};

/// Of one hit in this many in L2, the age of the entry is recorded: it costs a read of the clock.
const AGE_EVERY: u64 = 16;

/// What a lookup in both levels gave.
pub(crate) enum Look<W> {
    Found {
        entry: Entry<W>,
        refresh: Refresh,
    },
    /// With the number that was noted before L2 was read.
    Missing {
        noted: Number,
    },
}

/// Whether an entry asks to be loaded again in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    Due,
    No,
}

/// Where a value goes that L2 has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promote {
    /// Into this thread's L1, as its own.
    Level1,
    /// Nowhere: the thread has none, and gets the shared value.
    Nowhere,
}

impl Engine {
    /// Looks into this thread's L1, then into L2.
    pub(crate) fn look<V, W, M>(&self, key: &CacheKey, form: &M) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let value = match self.level1(key) {
            table::Found::Hit(value) => value,
            table::Found::Touch(value) => {
                self.touch(key);
                value
            }
            table::Found::Miss => return self.look_level2(key, form),
        };
        let outcome = Outcome::L1;
        Ok(Look::Found {
            entry: Entry { value, outcome },
            refresh: Refresh::No,
        })
    }

    #[inline(always)]
    pub(crate) fn level1<W: Any + Send + Sync>(&self, key: &CacheKey) -> table::Found<W> {
        thread::get(&self.named.level1, key)
    }

    /// Tells L2 that a key is hot, which it cannot see while L1 answers.
    #[cold]
    pub(crate) fn touch(&self, key: &CacheKey) {
        if let Some(held) = self.node.level2.get(&self.named.name_of(key)) {
            self.record_age(held.born);
        }
    }

    #[inline(never)]
    pub(crate) fn look_level2<V, W, M>(&self, key: &CacheKey, form: &M) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        // Before L2 is read: an invalidation that this lookup does not see takes a higher number.
        let early = self.node.sequence.current();
        let held = self.node.level2.get(&self.named.name_of(key));
        let noted = if removed(Step::NumberNotedFirst) {
            self.node.sequence.current()
        } else {
            early
        };

        match held {
            Some(held) => self.found_level2(key, form, held, noted),
            None => Ok(Look::Missing { noted }),
        }
    }

    fn found_level2<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        held: zone::Found,
        noted: Number,
    ) -> Result<Look<W>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        let refresh_at = held.refresh_at();
        let now = if held.expires == Moment::NEVER {
            Moment::START
        } else {
            self.node.now()
        };
        if held.expires <= now {
            return Ok(Look::Missing { noted });
        }

        let shared = (held.value.map(|value| typed::<V>(value, key))).transpose()?;
        let (promote, hits) = self.count_level2(shared.is_none());
        if hits.is_multiple_of(AGE_EVERY) {
            self.record_age(held.born);
        }

        let (refresh, expires) = if refresh_at <= now {
            (Refresh::Due, held.expires)
        } else {
            (Refresh::No, held.expires.min(refresh_at))
        };
        let value = self.promote(key, form, shared, noted, expires, promote)?;
        let outcome = Outcome::L2;
        Ok(Look::Found {
            entry: Entry { value, outcome },
            refresh,
        })
    }

    /// Puts a value into this thread's L1 in the worker's form, if it has one, and returns what the caller gets.
    pub(crate) fn promote<V, W, M>(
        &self,
        key: &CacheKey,
        form: &M,
        shared: Option<Arc<V>>,
        number: Number,
        expires: Moment,
        promote: Promote,
    ) -> Result<Option<Arc<W>>, GetError>
    where
        V: Cacheable,
        W: Any + Send + Sync,
        M: Form<V, W>,
    {
        match promote {
            Promote::Nowhere => shared.map(|shared| form.shared(shared)).transpose(),
            Promote::Level1 => {
                // Made before L1 is borrowed: a value's `Clone` may use the cache.
                let own = shared.map(|shared| form.own(&shared)).transpose()?;
                let value = own.clone().map(|own| own as Arc<dyn Any + Send + Sync>);

                let kept = Kept {
                    value,
                    number,
                    expires,
                };
                drop(thread::put(&self.named.level1, key, kept));
                Ok(own)
            }
        }
    }

    /// Counts a hit in L2. Returns whether this thread has an L1, and how many such hits there were.
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

    fn record_age(&self, born: Moment) {
        self.named.counters.age.record(self.node.now().since(born));
    }
}
