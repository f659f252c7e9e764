//! [`Node::warm_up`]: reads entities into the cache, page by page, until no rows or no space are
//! left.

use tidings_store::PageQuery;

use super::Node;
use crate::warm::{WarmEnd, WarmProgress, Warmed};

/// How many rows are read at a time.
const PAGE: usize = 1_000;

impl Node {
    /// Reads the rows of entities into the cache, in the order of the names. Each row gets its
    /// [`Entity::cache_key`](tidings_core::Entity::cache_key) and the entity's own type. Calls
    /// `progress` after each page.
    ///
    /// The cache bounds it: it stops when L2 begins to evict for lack of space. It costs two reads
    /// of each row and no writes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the warm-up after the current page.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Entity, Node, Store, WarmEnd, WarmProgress};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// node.dao::<Flag>()?.insert(Flag { name: "beta".into() }).await?;
    ///
    /// let progress = |at: WarmProgress<'_>| println!("{}: {}", at.entity, at.rows);
    /// let ends = node.warm_up(&["flags", "flag"], progress).await;
    /// assert!(matches!(ends[0].end, WarmEnd::Complete) && ends[0].rows == 1);
    /// assert!(matches!(ends[1].end, WarmEnd::Unknown)); // reported, and harms nothing
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub async fn warm_up<S: AsRef<str>>(
        &self,
        entities: &[S],
        mut progress: impl FnMut(WarmProgress<'_>),
    ) -> Vec<Warmed> {
        let mut report = Vec::new();
        for entity in entities {
            let entity = entity.as_ref();
            let mut rows = 0;
            let end = self.warm_entity(entity, &mut rows, &mut progress).await;
            match &end {
                WarmEnd::Complete => tracing::info!(entity, rows, "warmed up"),
                end => tracing::warn!(entity, rows, %end, "not warmed up whole"),
            }
            let entity = entity.to_owned();
            report.push(Warmed { entity, rows, end });
        }

        report
    }

    async fn warm_entity(
        &self,
        entity: &str,
        rows: &mut u64,
        progress: &mut impl FnMut(WarmProgress<'_>),
    ) -> WarmEnd {
        let mut declared = self.shared().entities.iter();
        let Some(declared) = declared.find(|it| it.schema.name() == entity) else {
            return WarmEnd::Unknown;
        };

        let mut query = PageQuery::new().size(PAGE);
        let evicted = || self.cache().stats().evicted_for_space;
        let evicted_before = evicted();
        loop {
            let page =
                match (declared.warm)(self.store().clone(), self.cache().clone(), query.clone())
                    .await
                {
                    Ok(page) => page,
                    Err(error) => return WarmEnd::Failed(error),
                };
            *rows += page.rows as u64;
            progress(WarmProgress {
                entity,
                rows: *rows,
            });

            // Going on would evict what was warmed before; the last page may have done so already.
            if evicted() > evicted_before {
                return WarmEnd::Full;
            }
            if page.next.is_none() {
                return WarmEnd::Complete;
            }
            query = query.offset(page.next);
        }
    }
}
