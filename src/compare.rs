//! From a cached entry to its row: whether the two are equal.
//!
//! An entry is sampled first and its row read afterwards, as a load would read it. So where the two
//! differ the row is the newer one, and whatever wrote it was to evict the entry. Whether it has
//! done so by now is asked later, of the same entry ([`Differing::still_held`]).

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_cache::{Cache, Sampled};
use tidings_core::{CacheKey, Entity, Value};
use tidings_store::{Error, FieldInput, Store};

use crate::loads::read_by;

/// Which entry is asked about: its key, and the lookup that makes it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: CacheKey,
    pub(crate) fields: Vec<&'static str>,
    pub(crate) values: Vec<Value>,
}

/// What came of a comparison.
pub(crate) enum Compared {
    /// The key holds nothing that would be served, or what it holds is no row of the entity.
    Nothing,
    Equal,
    Different(Box<dyn Differing>),
}

/// An entry that differs from its row.
pub(crate) trait Differing: Send {
    /// Returns how old the entry is, if it is still there and would be served.
    fn still_held(&self) -> Option<Duration>;
}

/// Compares an entry with its row. Kept as a function, because the entity's type is known only
/// where it is declared.
pub(crate) type Compare = fn(Store, Cache, Asked) -> BoxFuture<'static, Result<Compared, Error>>;

/// Compares an entry with its row; see [`Compare`].
pub(crate) fn compare<E: Entity>(
    store: Store,
    cache: Cache,
    asked: Asked,
) -> BoxFuture<'static, Result<Compared, Error>> {
    async move {
        let dao = store.dao::<E>()?;
        // Before the row is read: an entry that was filled later may be newer than the row.
        let Ok(Some(entry)) = cache.sample::<E>(&asked.key) else {
            return Ok(Compared::Nothing);
        };
        let values = asked.values.into_iter().map(FieldInput::Value).collect();
        let live = read_by(&dao, &asked.fields, values).await?;

        let is_equal = match (entry.value(), live) {
            (None, None) => true,
            // Both by way of the type: what a row says that its type does not is no difference.
            (Some(value), Some(live)) => value.to_row() == live.row.to_row(),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_equal {
            return Ok(Compared::Equal);
        }
        let key = asked.key;
        Ok(Compared::Different(Box::new(Held { cache, key, entry })))
    }
    .boxed()
}

/// The entry that was compared.
struct Held<E> {
    cache: Cache,
    key: CacheKey,
    entry: Sampled<E>,
}

impl<E: Entity> Differing for Held<E> {
    fn still_held(&self) -> Option<Duration> {
        let now = self.cache.sample::<E>(&self.key).ok().flatten()?;
        now.is_same(&self.entry).then(|| now.age())
    }
}
