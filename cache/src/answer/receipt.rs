//! [`Receipt`]: what `invalidate` returns; and [`Propagate`], the seam through which an
//! invalidation leaves the node.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tidings_core::CacheKey;

use crate::{answer::tag::Tag, sync::Arc};

/// What was invalidated on this node, for the others.
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

/// Carries invalidations to other nodes. A cache has none by default, and then acts on its own node
/// only.
///
/// Called once this node has applied the invalidation, and never inside the handling of a change:
/// every node handles a change itself. A carrier that receives one on another node hands it to
/// [`Cache::apply_invalidation`](crate::Cache::apply_invalidation), and calls
/// [`Cache::purge_node`](crate::Cache::purge_node) where it cannot prove that none was lost.
pub trait Propagate: fmt::Debug + Send + Sync + 'static {
    /// Sends an invalidation, without waiting. The number is the one that it took on this node: if
    /// it comes back, it is applied with this number as `before`. The future, which may be dropped,
    /// ends when every other node has applied it, or names those that have not within the given
    /// time.
    fn propagate(&self, invalidation: Invalidation, number: u64) -> Confirmation;
}

/// Asks whether all other nodes have applied an invalidation, and gives them some time for it.
pub type Confirmation =
    Box<dyn FnOnce(Duration) -> BoxFuture<'static, Result<(), Unconfirmed>> + Send>;

/// Proof that an invalidation was applied on this node; drop it if other nodes do not matter.
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

    /// Waits until every node has applied the invalidation. On a lone node that is at once.
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

/// Some nodes may still serve what was invalidated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not confirmed by {}", nodes.join(", "))]
pub struct Unconfirmed {
    /// Their names.
    pub nodes: Vec<String>,
}
