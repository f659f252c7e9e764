//! Warming the cache up: reading chosen entities into it before the first request.
//!
//! A page of rows is read once for its keys and once more *inside* the fenced load of those keys, so that a change
//! in between voids the fill as it voids any other load (G1). A row that the second reading lacks, because rows
//! were inserted before it, is not taken for absent: it is left to its first `get`.
//!
//! Warming up fails softly: what cannot be warmed is reported and logged, and the node serves all the same.

use std::{collections::HashMap, fmt};

use futures_util::future::{BoxFuture, FutureExt};
use tidings_cache::{GetOptions, Loaded};
use tidings_core::{CacheKey, Entity};
use tidings_store::PageQuery;

use crate::{BoxError, Node};

/// How many rows are read at a time.
const PAGE: usize = 1_000;

/// How far the warm-up of one entity has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmProgress<'a> {
    /// The entity.
    pub entity: &'a str,
    /// How many of its rows were read so far.
    pub rows: u64,
}

/// What became of one entity's warm-up.
#[derive(Debug)]
#[non_exhaustive]
pub struct Warmed {
    /// The entity.
    pub entity: String,
    /// How many of its rows were read.
    pub rows: u64,
    /// How it ended.
    pub end: WarmEnd,
}

/// How the warm-up of an entity ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum WarmEnd {
    /// All of its rows were read.
    Complete,
    /// The cache is full; the rest was left out.
    Full,
    /// There is nothing to read: the node has no entity of that name.
    Unknown,
    /// Reading failed; what was read before stays.
    Failed(BoxError),
}

/// One page of an entity, put into the cache.
pub(crate) struct WarmPage {
    rows: usize,
    next: Option<String>,
}

/// Reads a page of an entity into the cache; kept by name, because the entity's type is known only where it is
/// declared.
pub(crate) type Warm = fn(Node, PageQuery) -> BoxFuture<'static, Result<WarmPage, BoxError>>;

impl Node {
    /// Reads the rows of entities into the cache, each under [`Entity::cache_key`], in the order of the names; the
    /// values are of the entity's own type. Calls `progress` after each page.
    ///
    /// Bounded by the cache: it stops when L2 begins to evict for want of room. Costs two reads of each row and no writes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops after the page that is being read.
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
            let page = match (declared.warm)(self.clone(), query.clone()).await {
                Ok(page) => page,
                Err(error) => return WarmEnd::Failed(error),
            };
            *rows += page.rows as u64;
            progress(WarmProgress {
                entity,
                rows: *rows,
            });
            if page.next.is_none() {
                return WarmEnd::Complete;
            }
            // Going on would evict what was warmed before.
            if evicted() > evicted_before {
                return WarmEnd::Full;
            }
            query = query.offset(page.next);
        }
    }
}

/// See [`Warm`].
pub(crate) fn warm_page<E: Entity>(
    node: Node,
    query: PageQuery,
) -> BoxFuture<'static, Result<WarmPage, BoxError>> {
    async move {
        let dao = node.dao::<E>()?;
        let page = dao.page(query.clone()).await?;
        let keys: Vec<_> = page.data.iter().map(E::cache_key).collect();
        let load = |wanted: Vec<CacheKey>| {
            let again = dao.page(query.clone());
            async move {
                let rows = again.await?.data.into_iter();
                let mut rows: HashMap<_, _> = rows.map(|row| (row.cache_key(), row)).collect();
                let loaded = wanted.into_iter().map(|key| {
                    let row = rows.remove(&key);
                    let loaded = row.map_or_else(|| Loaded::absent().uncached(), Loaded::new);
                    (key, loaded)
                });
                Ok::<_, tidings_store::Error>(loaded.collect())
            }
        };
        node.cache()
            .get_bulk(&keys, GetOptions::default(), load)
            .await?;
        Ok(WarmPage {
            rows: page.data.len(),
            next: page.offset,
        })
    }
    .boxed()
}

impl fmt::Display for WarmEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Full => f.write_str("the cache is full"),
            Self::Unknown => f.write_str("the node has no entity of that name"),
            Self::Failed(error) => write!(f, "reading failed: {error}"),
        }
    }
}
