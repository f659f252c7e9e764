//! A value that a caller knows to be current takes the place of what is cached and of what is being loaded.

use tidings_core::CacheKey;

use crate::{
    answer::loaded::Loaded,
    engine::{cargo::Cargo, flight::ValueType, node::Engine},
    error::SetError,
    faults::{Step, removed},
    fence::number::Noted,
    level2::stored::{Cacheable, Stored},
    options::call::GetOptions,
};

impl Engine {
    /// Replaces what a key holds. Either all of it happens, or an error says why nothing did.
    pub(crate) fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: Loaded<V>,
        options: &GetOptions,
    ) -> Result<(), SetError> {
        options.check(&self.named.settings.terms)?;
        let cargo = Cargo::new::<V>(value);
        cargo.check()?;
        self.check_type::<V>(key)?;

        // Before anything is changed, like the number of a load: handlers of a later change may evict it.
        let noted = Noted {
            number: self.node.sequence.current(),
            read: self.node.now(),
        };
        let raise = || {
            let number = self.node.sequence.next();
            self.named.slots().raise(key.hash_value(), number);
        };
        if removed(Step::SetNumbersLast) {
            raise();
        }
        let tags = options.tag_list().map(|tags| &**tags);
        let gone = self.replace(key, cargo, noted, &self.terms(options), tags);
        if !removed(Step::SetNumbersLast) && !removed(Step::SetRaisesSlot) {
            raise();
        }

        self.named.counters.sets.add(1);
        self.node.release(Some((&self.named, key)), gone);
        Ok(())
    }

    fn check_type<V: Cacheable>(&self, key: &CacheKey) -> Result<(), SetError> {
        let asked = ValueType::of::<V>();
        let held = self.node.level2.present.peek(&self.named.name_of(key));
        let other = held.and_then(|held| {
            let stored: &dyn Stored = &*held.value;
            (stored.type_id() != asked.id).then(|| stored.type_name())
        });
        match other {
            None => Ok(()),
            Some(cached) => Err(SetError::WrongType {
                key: key.as_str().into(),
                cached,
                asked: asked.name,
            }),
        }
    }
}
