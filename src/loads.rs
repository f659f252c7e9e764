//! Loads of rows: from the store to the cache, with the time that a row has left.
//!
//! The database reports how much time a row has left. This module turns that into the time for
//! which the cache may serve the row, since store and cache do not know each other. Load a row that
//! expires this way or through [`cached`](crate::CachedRows::cached). If a load returned only the
//! row, the cache would serve it after it has expired.
//!
//! A DAO that is part of a transaction may read rows that are never committed. Its loads answer
//! their callers, but the cache does not keep the rows.

use tidings_cache::Loaded;
use tidings_core::Entity;
use tidings_store::{Dao, Error, FieldInput, Live, PageQuery};

/// Converts a row that was read, or its absence, into the result of a load.
pub fn loaded<E>(live: Option<Live<E>>) -> Loaded<E> {
    let Some(live) = live else {
        return Loaded::absent();
    };
    let loaded = Loaded::new(live.row);
    match live.left {
        Some(left) => loaded.valid_for(left),
        None => loaded,
    }
}

/// Reads the row with these values of a lookup's fields, in the schema's order. If several rows
/// match, it is the one with the lowest primary key.
pub(crate) async fn read_by<E: Entity>(
    dao: &Dao<E>,
    fields: &[&'static str],
    values: Vec<FieldInput>,
) -> Result<Option<Live<E>>, Error> {
    match (fields, values.as_slice()) {
        ([field], [value]) => dao.select_live_by(field, value.clone()).await,
        // Such a row is cached by its primary key.
        (_, values) if values.iter().all(is_absent) => Ok(None),
        (fields, values) => {
            let query = PageQuery::new().size(1);
            let filters = fields.iter().zip(values);
            let query = filters.fold(query, |query, (field, value)| {
                query.filter(*field, value.clone())
            });
            Ok(dao.page_live(query).await?.data.pop())
        }
    }
}

fn is_absent(input: &FieldInput) -> bool {
    matches!(input, FieldInput::Value(value) if value.is_null())
}

/// Whether a cache may keep what a DAO reads.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Committed,
    /// They may be rolled back, and no commit would evict them.
    Uncommitted,
}

impl Reads {
    fn of<E: Entity>(dao: &Dao<E>) -> Self {
        if dao.table().is_in_transaction() {
            Self::Uncommitted
        } else {
            Self::Committed
        }
    }

    /// Turns what was read into the result of a load.
    fn loaded<E>(self, live: Option<Live<E>>) -> Loaded<E> {
        match self {
            Self::Committed => loaded(live),
            Self::Uncommitted => loaded(live).uncached(),
        }
    }
}

/// Loads for a cache: like the DAO's selects, but the cache serves no row after it has expired.
///
/// Through a DAO of a [`Transaction`](tidings_store::Transaction) the loads see the transaction's
/// own writes. Such a load answers its caller, but the cache does not keep the row.
pub trait LoadRows<E: Entity> {
    /// Loads the row with this primary key.
    ///
    /// # Errors
    ///
    /// As [`Dao::select`].
    fn load(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Loaded<E>, Error>> + Send + 'static + use<Self, E>;

    /// Loads the row with this value of a unique field.
    ///
    /// # Errors
    ///
    /// As [`Dao::select_by`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{Entity, GetOptions, LoadRows, Node, Store, Timestamp};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "tokens", cache_key("token"))]
    /// # struct Token {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     #[entity(unique)]
    /// #     token: String,
    /// #     #[entity(expires)]
    /// #     until: Option<Timestamp>,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<Token>().start().await?;
    /// let tokens = node.dao::<Token>()?;
    /// let key = tokens.cache_key(&["abcd"])?;
    /// let load = || tokens.load_by("token", "abcd");
    /// let token = node.cache().get(&key, GetOptions::default(), load).await?;
    /// assert!(token.is_none());
    /// # node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    fn load_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> impl Future<Output = Result<Loaded<E>, Error>> + Send + 'static + use<Self, E, V>;
}

impl<E: Entity> LoadRows<E> for Dao<E> {
    fn load(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Loaded<E>, Error>> + Send + 'static + use<E> {
        let (reads, selected) = (Reads::of(self), self.select_live(id));
        async move { Ok(reads.loaded(selected.await?)) }
    }

    fn load_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> impl Future<Output = Result<Loaded<E>, Error>> + Send + 'static + use<E, V> {
        let (reads, selected) = (Reads::of(self), self.select_live_by(field, value));
        async move { Ok(reads.loaded(selected.await?)) }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use tidings_cache::{Cache, CacheKey, GetOptions, Outcome};
    use tidings_core::clock::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_row_is_cached_for_as_long_as_the_database_says_that_it_has_left() {
        let clock = ManualClock::new();
        let cache = Cache::builder().clock(Arc::new(clock.clone())).build();
        let cache = cache.expect("the defaults are allowed");
        let key = CacheKey::new("rows", &["a"]);
        let outcome = async |left: Option<Duration>| {
            let load =
                move || async move { Ok::<_, Infallible>(loaded(Some(Live { row: 1_u8, left }))) };
            let entry = cache.get_entry(&key, GetOptions::default(), load).await;
            entry.expect("a value").outcome
        };

        assert_eq!(outcome(Some(4 * SECOND)).await, Outcome::Loaded);
        clock.advance(4 * SECOND - Duration::from_nanos(1));
        assert_ne!(outcome(None).await, Outcome::Loaded);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(outcome(None).await, Outcome::Loaded, "its time is over");
        clock.advance(1_000_000 * SECOND);
        assert_ne!(outcome(None).await, Outcome::Loaded, "it has no end");
    }
}
