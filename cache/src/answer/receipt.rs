//! [`Receipt`], the result of `invalidate`; and [`Propagate`], the seam through which an
//! invalidation leaves the node.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tidings_core::CacheKey;

use crate::{answer::tag::Tag, sync::Arc};

/// An invalidation on this node, in the form that other nodes receive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalidation {
    /// Some keys of a cache.
    Keys {
        /// The cache's name.
        cache: Arc<str>,
        /// The keys.
        keys: Vec<CacheKey>,
    },
    /// Everything in a cache that carries a tag.
    Tag {
        /// The cache's name.
        cache: Arc<str>,
        /// The tag.
        tag: Tag,
    },
    /// A whole cache.
    All {
        /// The cache's name.
        cache: Arc<str>,
    },
}

/// Carries invalidations to other nodes. By default a cache has no carrier, and its invalidations
/// act on its own node only.
///
/// The cache calls it once this node has applied the invalidation. It never does so while a change
/// is handled, because every node handles a change itself. On another node, the carrier passes each
/// invalidation to [`Cache::apply_invalidation`](crate::Cache::apply_invalidation). If it cannot
/// prove that none was lost, it calls [`Cache::purge_node`](crate::Cache::purge_node).
pub trait Propagate: fmt::Debug + Send + Sync + 'static {
    /// Sends an invalidation, without waiting. `number` is the number that it took on this node: if
    /// the invalidation comes back, apply it with this number as `before`. The future of the
    /// returned [`Confirmation`] may be dropped. It resolves when every other node has applied the
    /// invalidation, or with the names of the nodes that have not done so in the given time.
    fn propagate(&self, invalidation: Invalidation, number: u64) -> Confirmation;
}

/// Waits, up to a given time, until all other nodes have applied an invalidation.
pub type Confirmation =
    Box<dyn FnOnce(Duration) -> BoxFuture<'static, Result<(), Unconfirmed>> + Send>;

/// Proof that an invalidation was applied on this node. Drop it if other nodes do not matter.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use tidings_cache::{Cache, CacheKey};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cache = Cache::builder().build()?;
/// # let key = CacheKey::new("keys", &["abcd"]);
/// cache.invalidate(&key).confirmed(Duration::from_secs(1)).await?;
/// # Ok(()) }
/// ```
pub struct Receipt {
    number: u64,
    others: Option<Confirmation>,
}

impl Receipt {
    pub(crate) fn new(number: u64, others: Option<Confirmation>) -> Self {
        Self { number, others }
    }

    /// Returns the number that the invalidation took in this node's sequence.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until every node has applied the invalidation. On a single node it returns at once.
    ///
    /// # Errors
    ///
    /// Names the nodes that did not confirm in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back.
    pub async fn confirmed(self, timeout: Duration) -> Result<(), Unconfirmed> {
        match self.others {
            None => Ok(()),
            Some(others) => others(timeout).await,
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("number", &self.number)
            .field("others", &self.others.is_some())
            .finish()
    }
}

/// Some nodes may still serve the invalidated values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not confirmed by {}", nodes.join(", "))]
pub struct Unconfirmed {
    /// Their names.
    pub nodes: Vec<String>,
}
