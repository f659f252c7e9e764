//! Explicit values: `set` and `renew`.

use std::{any::TypeId, future::Future, sync::Arc};

use tidings_core::CacheKey;

use crate::{
    answer::form::Own,
    answer::loaded::Loaded,
    api::cache::{Cache, Entry},
    error::{BoxError, GetError, SetError},
    level2::stored::{Cacheable, Stored},
    options::call::GetOptions,
};

impl Cache {
    /// Caches a value, or an absence, that the caller knows to be current.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees what was cached before, and no
    /// load that began before fills the cache. Of [`Loaded`] the ttl and the tags count; one that is
    /// [`uncached`](Loaded::uncached), or heavier than L2 takes, only removes what was cached.
    ///
    /// # Errors
    ///
    /// When an option is refused, or the key holds a value of another type; then nothing was changed.
    pub fn set<V: Cacheable>(
        &self,
        key: &CacheKey,
        value: impl Into<Loaded<V>>,
        options: GetOptions,
    ) -> Result<(), SetError> {
        options.check(&self.named.settings.terms)?;
        let cargo = crate::engine::fill::Cargo::new::<V>(value.into());
        cargo.check()?;
        self.check_type::<V>(key)?;
        let terms = self.terms(&options);
        // Before anything is changed, like the number of a load: handlers of a later change may evict it.
        let number = self.node.sequence.current();
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::SetNumbersLast) {
            self.named
                .slots
                .raise(key.hash_value(), self.node.sequence.next());
        }
        let removed = self.replace(
            key,
            cargo,
            number,
            &terms,
            options.tag_list().map(|tags| &**tags),
        );
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::SetNumbersLast) {
            return Ok(());
        }
        step!(SetRaisesSlot, {
            self.named
                .slots
                .raise(key.hash_value(), self.node.sequence.next());
        });
        self.named.counters.sets.add(1);
        self.node.settle(Some((&self.named, key)), removed);
        Ok(())
    }

    fn check_type<V: Cacheable>(&self, key: &CacheKey) -> Result<(), SetError> {
        let asked = std::any::type_name::<V>();
        let name = self.named.name_of(key);
        let held = self.node.level2.present.peek(&name);
        let cached = held.and_then(|held| {
            let stored: &dyn Stored = &*held.value;
            (stored.type_id() != TypeId::of::<V>()).then(|| stored.type_name())
        });
        match cached {
            None => Ok(()),
            Some(cached) => Err(SetError::WrongType {
                key: key.as_str().into(),
                cached,
                asked,
            }),
        }
    }

    /// Loads a value, whatever is cached, and replaces it.
    ///
    /// A load of the key that is in progress serves as well: had its source changed since it began, an invalidation would
    /// have voided it. If the load fails, what is cached stays.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// Cancel safe: a load that was started goes on.
    pub async fn renew<V, F, Fut, L, E>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: F,
    ) -> Result<Option<Arc<V>>, GetError>
    where
        V: Cacheable,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        options.check(&self.named.settings.terms)?;
        let noted = self.node.sequence.current();
        let loaded = Box::pin(self.load_and_wait(key, options, Own, load, noted, true)).await?;
        let Entry { value, .. } = loaded;
        Ok(value)
    }
}
