//! Invalidations from other nodes: the receiving side of [`Propagate`](crate::Propagate).
//!
//! An invalidation that arrives acts on this node only; it is never forwarded. A carrier may
//! deliver one twice. If it finds that it has lost some, it purges the node, because a lost
//! invalidation may have concerned any key.

use std::sync::Arc;

use crate::{
    answer::receipt::Invalidation,
    api::cache::Cache,
    engine::node::{Engine, Named},
    fence::number::Number,
};

impl Cache {
    /// Applies an invalidation of another node, whatever cause the thread runs under. Never
    /// forwards it.
    ///
    /// Returns the number that it took in this node's sequence. If the carrier may deliver an
    /// invalidation again, pass that number as `before` the second time. The call then evicts
    /// values whose load began before the first time, and leaves values that were loaded since, so
    /// that a repeated message costs no second eviction and no second load.
    ///
    /// An invalidation does nothing if this node has no cache of its name.
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

        let engine = self.engine_of(named);
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

    /// Evicts everything from all named caches of this node, for a carrier that cannot prove that
    /// no message was lost. Acts whatever cause the thread runs under, and is not forwarded.
    ///
    /// Returns one number for all lost messages. If one of them arrives after all, apply it with
    /// this number as `before` ([`apply_invalidation`](Self::apply_invalidation)), or handle it
    /// under this number as a [`Cause`](crate::Cause).
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
            .map(|named| self.engine_of(named).purge(None).0);
        // The lowest: what each cache has loaded since it was purged is not older than that.
        numbers.min().unwrap_or_else(|| self.number())
    }

    /// Makes every thread ask L2 again, and with it [`Fills::proof`](crate::Fills::proof), for each
    /// entry of its L1: for a node that may no longer serve its entries. Evicts nothing.
    ///
    /// When this returns, no `get` that begins afterwards is answered from an L1 without that
    /// check.
    pub fn recheck_node(&self) {
        let caches = self.0.node.caches.lock().clone();
        for named in caches {
            named.slots().raise_all(self.0.node.sequence.next());
        }
    }

    fn engine_of(&self, named: Arc<Named>) -> Engine {
        let node = Arc::clone(&self.0.node);
        Engine { node, named }
    }
}
