//! [`Dao`]: reads and writes the rows of one entity, as values of its Rust type.

// Inserts, updates, upserts and deletes.
mod write;

// Writes with optimistic locking.
mod unchanged;

// Many rows at a time.
mod many;

use std::{marker::PhantomData, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{CacheKey, Entity, EntityId as _, KeyPart, Row, Schema};

use crate::{
    api::table::{Table, cache_key_fields, check_parts},
    error::Error,
    hook::Hook,
    selector::{FieldInput, Selector, resolve_field},
};

/// Reads and writes the rows of an entity. Cheap to clone.
///
/// The guarantees of [`Table`]'s methods apply here too: their futures are owned and lazy, a write
/// that has begun runs to its end even if its caller goes away, and "not found" is `Ok(None)`.
/// Fields have the names of the struct's fields.
///
/// The methods that take a value of any type box their future (one allocation), because an `impl
/// Future` would capture the value's lifetime, and a load must be `'static`.
///
/// # Examples
///
/// See the [crate](crate) and each method.
#[derive(Debug)]
pub struct Dao<E> {
    table: Table,
    entity: PhantomData<fn() -> E>,
}

impl<E> Clone for Dao<E> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            entity: PhantomData,
        }
    }
}

impl<E: Entity> Dao<E> {
    /// Wraps a table, after a check that it is this entity's.
    pub(crate) fn of(table: Table) -> Result<Self, Error> {
        if !std::ptr::eq(table.schema(), E::schema()) && table.schema() != E::schema() {
            return Err(Error::OtherSchema {
                name: E::NAME.to_owned(),
            });
        }
        Ok(Self {
            table,
            entity: PhantomData,
        })
    }

    /// Returns the untyped handle of the same rows.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the entity's schema.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.table.schema()
    }

    /// Adds a hook; see [`Table::hook`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tidings_core::BoxError;
    /// use tidings_store::{Call, Hook, Method};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// /// Refuses new rows.
    /// struct Closed;
    ///
    /// impl Hook for Closed {
    ///     fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
    ///         match call.method {
    ///             Method::Insert => Err("no more consumers".into()),
    ///             _ => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// consumers.hook(Arc::new(Closed));
    /// assert!(consumers.insert(Consumer::named("bob")).await.is_err());
    /// # Ok(()) }
    /// ```
    pub fn hook(&self, hook: Arc<dyn Hook>) {
        self.table.hook(hook);
    }

    /// Selects the row with this primary key.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert_eq!(consumers.select(bob.id).await?, Some(bob));
    /// assert_eq!(consumers.select(uuid::Uuid::nil()).await?, None); // not found is no error
    /// # Ok(()) }
    /// ```
    pub fn select(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selected = self.table.select(id.to_key());
        async move { typed(selected.await?) }
    }

    /// Selects the row with this value of a unique field.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert_eq!(consumers.select_by("username", "bob").await?, Some(bob));
    /// assert!(consumers.select_by("plan", "gold").await.is_err()); // it is not unique
    /// # Ok(()) }
    /// ```
    pub fn select_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> BoxFuture<'static, Result<Option<E>, Error>> {
        let selected = self.table.select_by(field, value);
        async move { typed(selected.await?) }.boxed()
    }

    /// Selects the row of a selector: by fields that are unique together ([`Selector::by_all`]), or
    /// with further conditions.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Selector;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// let bob_with = |plan: Option<&str>| Selector::by("username", "bob").and("plan", plan);
    /// assert_eq!(consumers.select_where(bob_with(None)).await?, Some(bob));
    /// assert_eq!(consumers.select_where(bob_with(Some("gold"))).await?, None);
    /// # Ok(()) }
    /// ```
    pub fn select_where(
        &self,
        selector: Selector,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selected = self.table.select_where(selector);
        async move { typed(selected.await?) }
    }

    /// Selects the row with these values of the cache key's fields, in the schema's order.
    ///
    /// # Errors
    ///
    /// As [`Table::select_by_cache_key`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert_eq!(consumers.select_by_cache_key(&["bob"]).await?, Some(bob));
    /// # Ok(()) }
    /// ```
    pub fn select_by_cache_key<V: Into<FieldInput> + Clone>(
        &self,
        parts: &[V],
    ) -> BoxFuture<'static, Result<Option<E>, Error>> {
        let schema = self.schema();
        let fields = cache_key_fields(schema);
        let values: Result<Vec<_>, _> = check_parts(schema, parts.len()).and_then(|()| {
            let parts = fields.iter().zip(parts);
            parts
                .map(|(&field, part)| part.clone().into().of(schema, &schema.fields()[field]))
                .collect()
        });
        let selected = values.map(|values| self.table.select_by_cache_key(values));
        async move { typed(selected?.await?) }.boxed()
    }

    /// Returns the cache key of a row with these values of the cache key's fields, in the schema's
    /// order. If the schema has no cache key, pass the values of the primary key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyParts`] if the number of values is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert_eq!(consumers.cache_key(&["bob"])?, consumers.cache_key_of(&bob));
    /// assert!(consumers.cache_key(&["bob", "gold"]).is_err()); // the schema's has one part
    /// # Ok(()) }
    /// ```
    pub fn cache_key<P: KeyPart>(&self, parts: &[P]) -> Result<CacheKey, Error> {
        let schema = self.schema();
        check_parts(schema, parts.len())?;
        Ok(if schema.cache_key_fields().is_empty() {
            CacheKey::primary_of(schema.name(), parts)
        } else {
            CacheKey::new(schema.name(), parts)
        })
    }

    /// Returns the key under which the lookup by these fields caches the row with these values; see
    /// [`Schema::lookups`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownField`]; [`Error::NotUnique`] if the schema has no lookup by these fields;
    /// [`Error::KeyParts`]; [`Error::WrongKind`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let key = consumers.lookup_key(&["username"], ["bob"])?;
    /// assert!(key.as_str().contains("bob"));
    /// assert!(consumers.lookup_key(&["plan"], ["gold"]).is_err()); // it is not unique
    /// # Ok(()) }
    /// ```
    pub fn lookup_key<V: Into<FieldInput>>(
        &self,
        fields: &[&str],
        values: impl IntoIterator<Item = V>,
    ) -> Result<CacheKey, Error> {
        let schema = self.schema();
        let values = values.into_iter().map(Into::into);
        let values: Vec<_> = fields
            .iter()
            .zip(values)
            .map(|(name, value)| Ok(resolve_field(schema, name, value)?.1))
            .collect::<Result<_, Error>>()?;
        if values.len() != fields.len() {
            return Err(Error::KeyParts {
                entity: schema.name().to_owned(),
                expected: fields.len(),
                given: values.len(),
            });
        }

        schema
            .lookup_key(fields, &values)
            .ok_or_else(|| Error::NotUnique {
                entity: schema.name().to_owned(),
                field: fields.join(", "),
            })
    }

    /// Returns the cache key of a row; see [`Entity::cache_key`].
    pub fn cache_key_of(&self, entity: &E) -> CacheKey {
        entity.cache_key()
    }
}

fn typed<E: Entity>(row: Option<Row>) -> Result<Option<E>, Error> {
    Ok(row.map(E::from_row).transpose()?)
}
