//! Warm-up: reads chosen entities into the cache before the first request.
//!
//! The warm-up reads a page of rows once for its keys, and once more *inside* the fenced load of
//! those keys, so that a change in between voids the fill like any other load. If the second read
//! lacks a row, because rows were inserted before it, the warm-up does not treat it as absent. It
//! leaves the row to its first `get`.
//!
//! A failed warm-up does not stop the node: it is reported and logged, and the node serves
//! requests.

use std::{collections::HashMap, fmt};

use futures_util::future::{BoxFuture, FutureExt};
use tidings_cache::{Cache, GetOptions, Loaded};
use tidings_core::{BoxError, CacheKey, Entity};
use tidings_store::{PageQuery, Store};

use crate::loads::loaded;

/// The progress of one entity's warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmProgress<'a> {
    /// The entity.
    pub entity: &'a str,
    /// The number of its rows that were read so far.
    pub rows: u64,
}

/// The result of one entity's warm-up.
#[derive(Debug)]
#[non_exhaustive]
pub struct Warmed {
    /// The entity.
    pub entity: String,
    /// The number of its rows that were read.
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
    /// The cache is full: it evicts rows for lack of space, and the warm-up skipped the rest.
    Full,
    /// There is nothing to read: the node has no entity of that name.
    Unknown,
    /// A read failed; rows that were read before stay.
    Failed(BoxError),
}

/// One page of an entity, put into the cache.
pub(crate) struct WarmPage {
    pub(crate) rows: usize,
    pub(crate) next: Option<String>,
}

/// Reads a page of an entity into the cache. Kept as a function, because the entity's type is known
/// only where it is declared.
pub(crate) type Warm =
    fn(Store, Cache, PageQuery) -> BoxFuture<'static, Result<WarmPage, BoxError>>;

/// Reads a page of an entity into the cache; see [`Warm`].
pub(crate) fn warm_page<E: Entity>(
    store: Store,
    cache: Cache,
    query: PageQuery,
) -> BoxFuture<'static, Result<WarmPage, BoxError>> {
    async move {
        let dao = store.dao::<E>()?;
        let page = dao.page(query.clone()).await?;
        let keys: Vec<_> = page.data.iter().map(E::cache_key).collect();
        let load = |wanted: Vec<CacheKey>| {
            let again = dao.page_live(query.clone());
            async move {
                let rows = again.await?.data.into_iter();
                let mut rows: HashMap<_, _> =
                    rows.map(|live| (live.row.cache_key(), live)).collect();
                let loaded = wanted.into_iter().map(|key| {
                    let loaded = match rows.remove(&key) {
                        Some(live) => loaded(Some(live)),
                        None => Loaded::absent().uncached(),
                    };
                    (key, loaded)
                });
                Ok::<_, tidings_store::Error>(loaded.collect())
            }
        };
        cache.get_bulk(&keys, GetOptions::default(), load).await?;

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
