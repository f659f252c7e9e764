//! Warming the cache up: reading chosen entities into it before the first request.
//!
//! A page of rows is read once for its keys and once more *inside* the fenced load of those keys,
//! so that a change in between voids the fill as it voids any other load. A row that the
//! second reading lacks, because rows were inserted before it, is not taken for absent: it is left
//! to its first `get`.
//!
//! Warming up fails softly: what cannot be warmed is reported and logged, and the node serves all
//! the same.

use std::{collections::HashMap, fmt};

use futures_util::future::{BoxFuture, FutureExt};
use tidings_cache::{Cache, GetOptions, Loaded};
use tidings_core::{BoxError, CacheKey, Entity};
use tidings_store::{PageQuery, Store};

use crate::loads::loaded;

/// How far the warm-up of one entity has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmProgress<'a> {
    /// The entity.
    pub entity: &'a str,
    /// How many of its rows were read so far.
    pub rows: u64,
}

/// The result of one entity's warm-up.
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
    /// The cache is full: it evicts rows for want of room, and the rest was left out.
    Full,
    /// There is nothing to read: the node has no entity of that name.
    Unknown,
    /// Reading failed; what was read before stays.
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
