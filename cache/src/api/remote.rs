//! What arrives from other nodes: the receiving side of [`Propagate`](crate::Propagate).
//!
//! An invalidation that arrives acts on this node only; it is never sent on. A carrier may deliver
//! one twice, and may find that it lost some: then it purges the node, since what was lost may have
//! been about anything.

use std::sync::Arc;

use crate::{
    answer::receipt::Invalidation,
    api::cache::Cache,
    engine::node::{Engine, Named},
    fence::number::Number,
};

impl Cache {
    /// Applies what another node has invalidated, whatever cause the thread runs under. Never sends
    /// it on.
    ///
    /// Returns the number that it took in this node's sequence. An invalidation that may have been
    /// applied before, because its carrier delivers at least once, is applied with that number as
    /// `before`: it then evicts what began to load before the first time and leaves what was
    /// reloaded since, so that coming twice costs one eviction and one load.
    ///
    /// An invalidation of a name that this node has no cache of does nothing: nothing is cached
    /// under it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions, Invalidation};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// cache.set(&key, Some("alice"), GetOptions::default())?;
    ///
    /// // What a carrier has received from another node.
    /// let arrived = Invalidation::Keys { cache: cache.name().into(), keys: vec![key.clone()] };
    /// let number = cache.apply_invalidation(&arrived, None);
    /// assert!(cache.is_empty());
    ///
    /// // It comes again, after the key was loaded again: under the number of the first time.
    /// cache.set(&key, Some("bob"), GetOptions::default())?;
    /// cache.apply_invalidation(&arrived, Some(number));
    /// assert!(cache.cached::<&str>(&key)?.is_some());
    /// # Ok(()) }
    /// ```
    pub fn apply_invalidation(&self, invalidation: &Invalidation, before: Option<u64>) -> u64 {
        let (Invalidation::Keys { cache, .. }
        | Invalidation::Tag { cache, .. }
        | Invalidation::All { cache }) = invalidation;
        let caches = self.0.node.caches.lock();
        let named = caches.iter().find(|named| named.name == *cache).cloned();

        drop(caches);
        let Some(named) = named else {
            return before.unwrap_or_else(|| self.number());
        };

        let engine = self.beside(named);
        let number = match (invalidation, before.map(Number)) {
            (Invalidation::Keys { keys, .. }, None) => engine.apply_change(keys, &[]),
            (Invalidation::Keys { keys, .. }, before) => engine.invalidate(keys, before),
            (Invalidation::Tag { tag, .. }, None) => {
                engine.apply_change(&[], std::slice::from_ref(tag))
            }
            (Invalidation::Tag { tag, .. }, before) => engine.invalidate_tag(tag, before),
            (Invalidation::All { .. }, before) => engine.purge(before),
        };
        number.0
    }

    /// Makes this node forget everything, in all its named caches: for a carrier of changes that
    /// cannot prove that none was lost. Acts whatever cause the thread runs under, and is not sent
    /// on.
    ///
    /// Returns one number for all that was lost: should some of it arrive after all, it is applied
    /// with this as `before` ([`apply_invalidation`](Self::apply_invalidation)), or handled under
    /// it as a [`Cause`](crate::Cause).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let flags = cache.named("flags")?;
    /// let key = CacheKey::new("flags", &["beta"]);
    /// cache.set(&key, Some(1), GetOptions::default())?;
    /// flags.set(&key, Some(1), GetOptions::default())?;
    /// cache.purge_node();
    /// assert!(cache.is_empty() && flags.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn purge_node(&self) -> u64 {
        let caches = self.0.node.caches.lock().clone();
        let numbers = caches
            .into_iter()
            .map(|named| self.beside(named).purge(None).0);
        // The first: what each cache has loaded since its own turn is not older than that.
        numbers.min().unwrap_or_else(|| self.number())
    }

    /// Makes every hit of every thread ask L2, and with it [`Fills::proof`](crate::Fills::proof),
    /// again: for a node whose proof is withheld from what it holds. Nothing is evicted.
    ///
    /// When this returns, no `get` that begins afterwards is answered by an L1 without that.
    pub fn recheck_node(&self) {
        let caches = self.0.node.caches.lock().clone();
        for named in caches {
            named.slots().raise_all(self.0.node.sequence.next());
        }
    }

    fn beside(&self, named: Arc<Named>) -> Engine {
        let node = Arc::clone(&self.0.node);
        Engine { node, named }
    }
}
