//! `set`: a value that a caller knows to be current replaces the cached one, and voids loads of the
//! key.

use tidings_core::CacheKey;

use crate::{
    answer::{
        fills::{Allowed, Decision},
        loaded::Loaded,
    },
    engine::{
        erased::{Admission, ErasedLoaded},
        flight::ValueType,
        node::Engine,
    },
    error::SetError,
    fence::number::Noted,
    level2::stored::{Cacheable, Stored},
    options::call::GetOptions,
};

impl Engine {
    /// Replaces the value of a key. After an error the cached value stays, unless the new value is
    /// one that cannot be kept.
    pub(crate) fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: Loaded<V>,
        options: &GetOptions,
    ) -> Result<(), SetError> {
        let refused = |source| SetError::Options {
            key: key.to_shown(),
            source,
        };
        let read_at = value.position;
        options.check(&self.named.settings.terms).map_err(refused)?;

        let loaded = ErasedLoaded::new::<V>(value);
        loaded.check().map_err(refused)?;
        self.check_type::<V>(key)?;

        // Before anything is changed, like the number of a load: handlers of a later change may
        // evict it.
        let noted = Noted {
            number: self.node.sequence.current(),
            read: self.node.now(),
        };
        let allowed = Allowed::begin(self.node.fills.as_ref(), key);
        let tags = options.tag_list().map(|tags| &**tags);
        let prepared = self.prepare(key, loaded, noted, &self.terms(options), tags);
        let prepared = prepared.apply_decision(allowed.judge(self.node.fills.as_ref()));
        let mut admission = prepared.admission;

        let Ok(gone) = self.replace(key, prepared) else {
            self.named.counters.refused_sets.add(1);
            return Err(SetError::Changed {
                key: key.to_shown(),
                read_at: read_at.unwrap_or_default(),
            });
        };
        self.node.release(Some((&self.named, key)), gone);

        // Asked again, now that the value is in its place: a purge between the first answer and the
        // insert did not see the value. It would have voided a load's flight.
        if admission == Admission::Keep
            && allowed.judge(self.node.fills.as_ref()) == Decision::Discard
        {
            self.invalidate(std::slice::from_ref(key), None);
            admission = Admission::Unheard;
        }
        self.finish_set(key, admission)
    }

    /// Counts a set, and returns why its value was not kept.
    fn finish_set(&self, key: &CacheKey, admission: Admission) -> Result<(), SetError> {
        let counters = &self.named.counters;
        let key = || key.to_shown();
        match admission {
            Admission::Keep => {
                counters.sets.add(1);
                Ok(())
            }
            Admission::Uncached => {
                counters.sets.add(1);
                counters.uncached.add(1);
                Ok(())
            }
            Admission::Unheard => {
                counters.sets.add(1);
                counters.refused_unheard.add(1);
                Ok(())
            }
            Admission::Heavy { weight, allowed } => {
                counters.refused_heavy.add(1);
                Err(SetError::TooHeavy {
                    key: key(),
                    weight,
                    allowed,
                })
            }
            Admission::Weightless => {
                counters.refused_heavy.add(1);
                Err(SetError::Weightless { key: key() })
            }
        }
    }

    fn check_type<V: Cacheable>(&self, key: &CacheKey) -> Result<(), SetError> {
        let asked = ValueType::of::<V>();
        let held = self.node.level2.present.peek(&self.named.key_ref(key));
        let other = held.and_then(|held| {
            let stored: &dyn Stored = &*held.value;
            (stored.type_id() != asked.id).then(|| stored.type_name())
        });

        match other {
            None => Ok(()),
            Some(cached) => Err(SetError::WrongType {
                key: key.to_shown(),
                cached,
                asked: asked.name,
            }),
        }
    }
}
