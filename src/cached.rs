//! [`Cached`]: an entity's rows, read through the node's cache.
//!
//! A lookup derives its key and its load from one place, the schema, so that the two cannot
//! disagree. The store derives the keys that a change evicts from the same schema. So when a row
//! changes, its lookups are evicted, under the old values and under the new ones. The same is true
//! of a cached absence.
//!
//! Store and cache do not know each other. Their link is the store's sink: it passes the commits to
//! this node's cache. A store with another sink has no cached rows.

use std::{any::Any, fmt, sync::Arc};

use tidings_cache::{GetError, GetOptions, Loaded, OptionError, Parts, View, ViewError};
use tidings_core::{CacheKey, Entity, KeyPart, Lookup, Timestamp, TimestampMicros, Value};
use tidings_store::{Dao, Error, FieldInput};
use uuid::Uuid;

use crate::{
    follow::cache_behind,
    loads::{loaded, read_by},
};

/// Why a lookup through the cache failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CachedError {
    /// The store's commits do not reach a node's cache, so nothing would evict cached rows.
    #[error("rows of {entity} cannot be cached: their store belongs to no node")]
    NoCache {
        /// The entity.
        entity: &'static str,
    },
    /// The DAO is part of a transaction, whose reads may never be committed.
    #[error("rows of {entity} cannot be cached inside a transaction")]
    InTransaction {
        /// The entity.
        entity: &'static str,
    },
    /// The cache has no view for the entity.
    #[error("rows of {entity} cannot be cached")]
    View {
        /// The entity.
        entity: &'static str,
        /// Why.
        source: ViewError,
    },
    /// The schema has no lookup by these fields.
    #[error("rows of {entity} have no lookup by {asked}; expected {known}")]
    NoLookup {
        /// The entity.
        entity: &'static str,
        /// The fields that were asked for.
        asked: String,
        /// The lookups that the schema has.
        known: String,
    },
    /// The lookup failed.
    #[error(transparent)]
    Get(#[from] GetError),
}

/// Adds lookups through the node's cache to a DAO.
pub trait CachedRows<E: Entity> {
    /// Returns a handle that reads rows through the cache of the store's node. Make it once, and
    /// clone it.
    ///
    /// # Errors
    ///
    /// The store belongs to no node, or the cache holds another type under the entity's name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{CachedRows, Entity, Node, Store};
    /// # use uuid::Uuid;
    /// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// #[entity(name = "credentials", cache_key("key"))]
    /// struct Credential {
    ///     #[entity(primary_key, auto)]
    ///     id: Uuid,
    ///     #[entity(unique)]
    ///     key: String,
    ///     quota: i64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<Credential>().start().await?;
    /// let credentials = node.dao::<Credential>()?;
    /// let cached = credentials.cached()?;
    ///
    /// assert!(cached.select_by("key", "abcd").await?.is_none()); // cached, too
    /// let new = Credential { id: Uuid::nil(), key: "abcd".into(), quota: 5 };
    /// let row = credentials.insert(new).await?;
    /// assert_eq!(cached.select_by("key", "abcd").await?.map(|row| row.quota), Some(5));
    ///
    /// let by_id = cached.by("id")?; // the cheapest: the field is looked up once
    /// credentials.update(row.id, |row| row.quota = 6).await?;
    /// assert_eq!(by_id.get(row.id).await?.map(|row| row.quota), Some(6));
    /// # node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    fn cached(&self) -> Result<Cached<E>, CachedError>;
}

impl<E: Entity> CachedRows<E> for Dao<E> {
    fn cached(&self) -> Result<Cached<E>, CachedError> {
        if self.table().is_in_transaction() {
            return Err(CachedError::InTransaction { entity: E::NAME });
        }
        let sink: &dyn Any = &**self.table().sink();
        let Some(cache) = cache_behind(sink) else {
            return Err(CachedError::NoCache { entity: E::NAME });
        };

        let refused = |source| CachedError::View {
            entity: E::NAME,
            source,
        };

        let view = cache.of::<E>().map_err(refused)?;
        let mut lookups = Vec::new();
        for lookup in self.schema().lookups() {
            let view = match &lookup {
                Lookup::CacheKey(_) => Ok(view.clone()),
                Lookup::Primary(_) | Lookup::PrimaryParts(_) => view.primary(),
                fields => view.by(fields.fields()),
            };
            lookups.push(CachedBy {
                dao: self.clone(),
                fields: lookup.fields().into(),
                view: view.map_err(refused)?,
            });
        }

        Ok(Cached {
            lookups: lookups.into(),
        })
    }
}

/// An entity's rows, read through the cache: by the primary key, by each unique field, and by each
/// cache key. (For a primary key of several fields use [`by_all`](Self::by_all).) Made by
/// [`CachedRows::cached`].
///
/// Cheap to clone. A value in another spelling than the stored one, such as a UUID in capitals,
/// names the same row.
#[derive(Clone)]
pub struct Cached<E> {
    lookups: Arc<[CachedBy<E>]>,
}

impl<E: Entity> Cached<E> {
    /// Returns a handle that uses these options for every lookup.
    ///
    /// # Errors
    ///
    /// An option is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings::{GetOptions, Policy};
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{CachedRows, Entity, Node, Store};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "api_keys", cache_key("key"))]
    /// # struct ApiKey {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     #[entity(unique)]
    /// #     key: String,
    /// #     owner: String,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<ApiKey>().start().await?;
    /// let short = GetOptions::default().policy(Policy::revocable()).ttl(Duration::from_secs(60));
    /// let keys = node.dao::<ApiKey>()?.cached()?.with_options(short)?;
    /// assert!(keys.select_by("key", "abcd").await?.is_none());
    ///
    /// // What revocable values refuse is refused here, and not at the first call.
    /// let stale = GetOptions::default().policy(Policy::revocable());
    /// assert!(keys.with_options(stale.resurrect_ttl(Duration::from_secs(1))).is_err());
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn with_options(&self, options: GetOptions) -> Result<Self, OptionError> {
        let lookups = self.lookups.iter().map(|lookup| {
            let view = lookup.view.clone().with_options(options.clone())?;
            Ok(CachedBy {
                view,
                ..lookup.clone()
            })
        });
        let lookups = lookups.collect::<Result<_, _>>()?;
        Ok(Self { lookups })
    }

    /// Returns the lookup by one field, for callers that use it often.
    ///
    /// # Errors
    ///
    /// [`CachedError::NoLookup`], which names the lookups that the schema has.
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{CachedRows, Entity, Node, Store};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "api_keys", cache_key("key"))]
    /// # struct ApiKey {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     #[entity(unique)]
    /// #     key: String,
    /// #     owner: String,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<ApiKey>().start().await?;
    /// let keys = node.dao::<ApiKey>()?.cached()?;
    /// let by_key = keys.by("key")?;
    /// assert!(by_key.get("abcd").await?.is_none());
    ///
    /// let refused = keys.by("owner").unwrap_err(); // names the lookups that there are
    /// assert!(refused.to_string().contains("expected key, id"), "{refused}");
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn by(&self, field: &str) -> Result<CachedBy<E>, CachedError> {
        self.lookup(&[field]).cloned()
    }

    /// Returns the lookup by a cache key or a primary key of several fields, in the schema's order.
    ///
    /// # Errors
    ///
    /// As [`by`](Self::by).
    pub fn by_all(&self, fields: &[&str]) -> Result<CachedBy<E>, CachedError> {
        self.lookup(fields).cloned()
    }

    /// Returns the row with this value of the primary key, of a unique field, or of a cache key of
    /// one field.
    ///
    /// # Errors
    ///
    /// [`CachedError::NoLookup`] for another field; [`CachedError::Get`] if the load fails, or if
    /// the field cannot have the value.
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    pub async fn select_by<P: LookupValue>(
        &self,
        field: &str,
        value: P,
    ) -> Result<Option<Arc<E>>, CachedError> {
        Ok(self.lookup(&[field])?.get(value).await?)
    }

    /// Returns the row with these values of a cache key or a primary key of several fields, in the
    /// schema's order. If several rows match, it returns the one with the lowest primary key.
    ///
    /// # Errors
    ///
    /// As [`select_by`](Self::select_by).
    pub async fn select_by_all<P: LookupValue>(
        &self,
        fields: &[&str],
        values: P,
    ) -> Result<Option<Arc<E>>, CachedError> {
        Ok(self.lookup(fields)?.get(values).await?)
    }

    #[inline]
    fn lookup(&self, fields: &[&str]) -> Result<&CachedBy<E>, CachedError> {
        let found = self.lookups.iter().find(|known| *known.fields == *fields);
        found.ok_or_else(|| self.no_lookup(fields))
    }

    #[cold]
    fn no_lookup(&self, fields: &[&str]) -> CachedError {
        let known = self.lookups.iter().map(|known| known.fields.join(" and "));
        CachedError::NoLookup {
            entity: E::NAME,
            asked: fields.join(" and "),
            known: known.collect::<Vec<_>>().join(", "),
        }
    }
}

impl<E: Entity> fmt::Debug for Cached<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.lookups.iter().map(|lookup| &lookup.fields);
        f.debug_struct("Cached")
            .field("entity", &E::NAME)
            .field("lookups", &fields.collect::<Vec<_>>())
            .finish()
    }
}

/// One lookup of an entity's rows through the cache; see [`Cached::by`].
#[derive(Clone, Debug)]
pub struct CachedBy<E> {
    dao: Dao<E>,
    fields: Arc<[&'static str]>,
    view: View<E>,
}

impl<E: Entity> CachedBy<E> {
    /// Returns the row with this value or these values, and loads it if it is not cached.
    ///
    /// # Errors
    ///
    /// See [`GetError`].
    ///
    /// # Cancel safety
    ///
    /// A load that was started goes on, and later callers join it.
    #[inline]
    pub async fn get<P: LookupValue>(&self, value: P) -> Result<Option<Arc<E>>, GetError> {
        let load = || self.load(value.inputs());
        self.view
            .get_under(&value, |value| self.key(*value), load)
            .await
    }

    /// Returns the value that this thread's L1 holds; see [`View::peek`].
    #[inline]
    #[must_use]
    pub fn peek<P: LookupValue>(&self, value: P) -> Option<Option<Arc<E>>> {
        self.view.peek(&value)
    }

    /// Runs a closure on the value that this thread's L1 holds; see [`View::with`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{CachedRows, Entity, Node, Store};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "api_keys", cache_key("key"))]
    /// # struct ApiKey {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     #[entity(unique)]
    /// #     key: String,
    /// #     owner: String,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<ApiKey>().start().await?;
    /// let rows = node.dao::<ApiKey>()?;
    /// rows.insert(ApiKey { id: 1, key: "abcd".into(), owner: "alice".into() }).await?;
    /// let by_key = rows.cached()?.by("key")?;
    /// assert_eq!(by_key.with("abcd", |row| row.is_some()), None); // nothing is held yet
    ///
    /// by_key.get("abcd").await?;
    /// let owner = by_key.with("abcd", |row| row.map(|row| row.owner.clone()));
    /// assert_eq!(owner, Some(Some("alice".to_owned())));
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn with<P: LookupValue, R>(
        &self,
        value: P,
        run: impl FnOnce(Option<&E>) -> R,
    ) -> Option<R> {
        self.view.with(&value, run)
    }

    /// Returns the key of the row with this value, or these. For a value that the field cannot have
    /// it is one that no row has.
    fn key<P: LookupValue>(&self, value: &P) -> CacheKey {
        let key = self.dao.lookup_key(&self.fields, value.inputs());
        key.unwrap_or_else(|_| self.view.key(value))
    }

    fn load(
        &self,
        inputs: Vec<FieldInput>,
    ) -> impl Future<Output = Result<Loaded<E>, Error>> + Send + 'static + use<E> {
        let dao = self.dao.clone();
        let fields = Arc::clone(&self.fields);
        async move {
            // Refuses values that no lookup accepts, before anything is read.
            dao.lookup_key(&fields, inputs.iter().cloned())?;
            Ok(loaded(read_by(&dao, &fields, inputs).await?))
        }
    }
}

/// A value to look up rows by, or a tuple of two to four values for a cache key of several fields.
pub trait LookupValue: Parts + Send + Sync {
    /// Returns the values as the store takes them.
    fn inputs(&self) -> Vec<FieldInput>;
}

macro_rules! lookup_value {
    ($($type:ty)*) => {$(
        impl LookupValue for $type {
            fn inputs(&self) -> Vec<FieldInput> {
                vec![self.clone().into()]
            }
        }
    )*};
}

lookup_value!(String bool i64 i32 u32 u64 Uuid Timestamp TimestampMicros);

impl LookupValue for &str {
    fn inputs(&self) -> Vec<FieldInput> {
        vec![FieldInput::from(*self)]
    }
}

/// `None` is an absent value.
impl<P: LookupValue + KeyPart> LookupValue for Option<P> {
    fn inputs(&self) -> Vec<FieldInput> {
        match self {
            Some(value) => value.inputs(),
            None => vec![FieldInput::Value(Value::Null)],
        }
    }
}

impl<P: LookupValue> LookupValue for &P {
    fn inputs(&self) -> Vec<FieldInput> {
        (**self).inputs()
    }
}

macro_rules! lookup_values {
    ($($part:ident)*) => {
        impl<$($part: LookupValue),*> LookupValue for ($($part,)*) {
            fn inputs(&self) -> Vec<FieldInput> {
                #[expect(non_snake_case, reason = "a value is named as its type")]
                let ($($part,)*) = self;
                [$($part.inputs()),*].concat()
            }
        }
    };
}

lookup_values!(A B);
lookup_values!(A B C);
lookup_values!(A B C D);
