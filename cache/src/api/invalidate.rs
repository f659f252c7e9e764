//! Invalidation: of keys, of a tag, of everything; here and on other nodes.

use std::sync::Arc;

use tidings_core::{CacheKey, Cause};

use crate::{
    answer::{
        receipt::{Invalidation, Receipt},
        tag::Tag,
    },
    api::cache::Cache,
    fence::number::Number,
};

/// The argument of [`Cache::invalidate`]: one key or many.
pub trait Keys {
    /// Returns the keys.
    fn keys(&self) -> &[CacheKey];
}

impl Keys for CacheKey {
    fn keys(&self) -> &[CacheKey] {
        std::slice::from_ref(self)
    }
}

impl Keys for [CacheKey] {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

impl Keys for Vec<CacheKey> {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

impl<const N: usize> Keys for [CacheKey; N] {
    fn keys(&self) -> &[CacheKey] {
        self
    }
}

impl Cache {
    /// Invalidates one key or many on this node. Cached absences are evicted too.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees the old
    /// value, and no load that began before fills the cache. Callers already waiting for such a
    /// load still get its result; later callers start a new one.
    ///
    /// While a change is handled ([`Cause`]), values whose load began after the change stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions, kit::{Gate, Source}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// let (source, gate) = (Source::default(), Gate::new());
    ///
    /// // A load has read the row; the row is revoked; the load comes back.
    /// let asked = cache.get(&key, GetOptions::default(), source.behind(&gate, Some("alice")));
    /// let revoke = async {
    ///     gate.reached().await;
    ///     cache.invalidate_local(&key);
    ///     gate.open();
    /// };
    /// let (answer, ()) = tokio::join!(asked, revoke);
    /// assert!(answer?.is_some()); // the caller that waited is answered
    /// assert!(cache.cached::<&str>(&key)?.is_none()); // the voided load filled nothing
    /// assert_eq!(cache.stats().refused_void, 1);
    /// # Ok(()) }
    /// ```
    pub fn invalidate_local<K: Keys + ?Sized>(&self, keys: &K) {
        self.0.invalidate(keys.keys(), current_cause());
    }

    /// Invalidates one key or many on every node: on this node before the call returns, like
    /// [`invalidate_local`](Self::invalidate_local), and on the others as fast as the cluster
    /// carries it.
    ///
    /// While a change is handled ([`Cause`]), the call acts on this node only, because every node
    /// handles the change itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let keys = ["abcd", "wxyz"].map(|key| CacheKey::new("api-keys", &[key]));
    /// for key in &keys {
    ///     cache.set(key, Some("alice"), GetOptions::default())?;
    /// }
    ///
    /// let receipt = cache.invalidate(&keys);
    /// assert!(cache.is_empty());
    /// receipt.confirmed(Duration::from_secs(1)).await?; // at once on a lone node
    /// # Ok(()) }
    /// ```
    pub fn invalidate<K: Keys + ?Sized>(&self, keys: &K) -> Receipt {
        let cause = current_cause();
        let keys = keys.keys();
        let number = self.0.invalidate(keys, cause);
        self.receipt(number, cause, || Invalidation::Keys {
            cache: Arc::clone(&self.0.named.name),
            keys: keys.to_vec(),
        })
    }

    /// Invalidates, on every node, all values that carry a tag. A running load whose value turns
    /// out to carry the tag does not fill the cache.
    ///
    /// The call acts on this node before it returns. L1 may hold an entry that L2 has already
    /// dropped, so every L1 entry of this cache checks L2 once; entries without the tag are not
    /// loaded again. The call costs some 50 us for the slots, plus the tag's entries. A load that
    /// fails never reports its tags, so callers that joined it after this call ask again.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions, Loaded};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("reports", &["7"]);
    /// let load = || async {
    ///     let report = Loaded::new("..".to_owned());
    ///     Ok::<_, std::io::Error>(report.tag("tenant:acme")) // known once it was loaded
    /// };
    /// cache.get::<String, _>(&key, GetOptions::default(), load).await?;
    ///
    /// let _ = cache.invalidate_tag("tenant:other");
    /// assert!(cache.cached::<String>(&key)?.is_some());
    /// let _ = cache.invalidate_tag("tenant:acme");
    /// assert!(cache.cached::<String>(&key)?.is_none());
    /// # Ok(()) }
    /// ```
    pub fn invalidate_tag(&self, tag: impl Into<Tag>) -> Receipt {
        let cause = current_cause();
        let tag = tag.into();
        let number = self.0.invalidate_tag(&tag, cause);
        self.receipt(number, cause, || Invalidation::Tag {
            cache: Arc::clone(&self.0.named.name),
            tag,
        })
    }

    /// Invalidates all values that carry a tag, on this node only; see
    /// [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("reports", &["7"]);
    /// let options = GetOptions::default().tags(["tenant:acme"]);
    /// cache.set(&key, Some(1), options)?;
    /// cache.invalidate_tag_local("tenant:acme");
    /// assert!(cache.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn invalidate_tag_local(&self, tag: impl Into<Tag>) {
        self.0.invalidate_tag(&tag.into(), current_cause());
    }

    /// Evicts everything in this cache, on every node. Other named caches stay as they are. Costs a
    /// read of each entry of L2, plus some 50 us for the slots.
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
    /// cache.set(&key, Some(true), GetOptions::default())?;
    /// flags.set(&key, Some(true), GetOptions::default())?;
    ///
    /// let _ = flags.purge();
    /// assert_eq!((flags.len(), cache.len()), (0, 1)); // other named caches stay as they are
    /// # Ok(()) }
    /// ```
    pub fn purge(&self) -> Receipt {
        let cause = current_cause();
        let number = self.0.purge(cause);
        self.receipt(number, cause, || Invalidation::All {
            cache: Arc::clone(&self.0.named.name),
        })
    }

    /// Evicts everything in this cache, on this node only; see [`purge`](Self::purge).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// cache.set(&CacheKey::new("flags", &["beta"]), Some(true), GetOptions::default())?;
    /// cache.purge_local();
    /// assert!(cache.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn purge_local(&self) {
        self.0.purge(current_cause());
    }

    /// Applies a committed change before any handler runs: evicts the keys and tags at once,
    /// whatever cause the thread runs under. Returns the number that becomes the change's own
    /// [`Cause`].
    ///
    /// If handlers of the change invalidate the same keys under that cause, there is nothing left
    /// to evict.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, Cause, GetOptions, Origin};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// cache.set(&key, Some("alice"), GetOptions::default())?;
    ///
    /// let number = cache.apply_change(std::slice::from_ref(&key), &[]); // after the commit
    /// assert!(cache.is_empty());
    ///
    /// // A reader loads the new row; then a late handler of the change invalidates by hand. It
    /// // evicts nothing: what is cached was read after the change.
    /// cache.set(&key, Some("bob"), GetOptions::default())?;
    /// let handling = Cause { number, origin: Origin::Local }.enter();
    /// cache.invalidate_local(&key);
    /// drop(handling);
    /// assert!(cache.cached::<&str>(&key)?.is_some());
    /// # Ok(()) }
    /// ```
    pub fn apply_change(&self, keys: &[CacheKey], tags: &[Tag]) -> u64 {
        self.0.apply_change(keys, tags).0
    }

    /// Returns the latest number of the node's sequence, for
    /// [`Loaded::read_at`](crate::Loaded::read_at).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("quotas", &["alice"]);
    /// let before = cache.number();
    /// cache.invalidate(&key);
    /// assert!(cache.number() > before); // what was read at `before` may be stale
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.node.sequence.current().0
    }

    fn receipt(
        &self,
        number: Number,
        cause: Option<Number>,
        invalidation: impl FnOnce() -> Invalidation,
    ) -> Receipt {
        let others = match (&self.0.node.propagate, cause) {
            (Some(propagate), None) => Some(propagate.propagate(invalidation(), number.0)),
            // A lone node, or one change that every node handles itself.
            _ => None,
        };
        Receipt::new(number.0, others)
    }
}

fn current_cause() -> Option<Number> {
    Cause::current().map(|cause| Number(cause.number))
}
