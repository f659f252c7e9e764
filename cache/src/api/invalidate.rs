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

/// What [`Cache::invalidate`] takes: one key or many.
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
    /// Makes this node forget what it holds of one key or many, absences too.
    ///
    /// When this returns, no `get` that begins afterwards on any thread of this node sees the old
    /// value, and no load that began before fills the cache. Callers already waiting for such a
    /// load still get its result; later callers start a new one.
    ///
    /// Inside the handling of a change ([`Cause`]) what began to load since the change stays.
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

    /// Makes every node forget one key or many: this one before it returns, as
    /// [`invalidate_local`](Self::invalidate_local) does, the others as fast as the cluster carries
    /// it.
    ///
    /// Inside the handling of a change ([`Cause`]) it acts on this node only: every node handles
    /// the change itself.
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

    /// Makes every node forget everything that carries a tag, and refuse what is loading and turns
    /// out to carry it.
    ///
    /// Acts on this node before it returns. An L1 may hold what L2 has given up, so every L1 entry
    /// of this cache looks into L2 once more; no entry without the tag is loaded again. Costs some
    /// 50 us for the slots, and the tag's entries. A load that fails never tells its tags: callers
    /// that joined it after this ask again.
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

    /// Makes this node alone forget everything that carries a tag; see
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

    /// Makes every node forget this cache; other named caches stay as they are. Costs a read of
    /// each entry of L2, and some 50 us for the slots.
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

    /// Makes this node alone forget this cache; see [`purge`](Self::purge).
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

    /// Applies a committed change before anything else hears of it: evicts the keys and tags at
    /// once, whatever cause the thread runs under. Returns the number that becomes the change's own
    /// [`Cause`].
    ///
    /// Handlers of the change that invalidate the same keys under that cause have nothing left to
    /// do.
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

    /// Returns the last number that the node's sequence gave, for
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
