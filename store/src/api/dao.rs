//! [`Dao`]: the typed face of a [`Table`].

// Inserts, updates, upserts and deletes.
mod write;

use std::{marker::PhantomData, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{CacheKey, Entity, FieldValue as _, KeyPart, Row, Schema};

use crate::{
    api::table::{Table, cache_key_fields, check_parts},
    error::Error,
    hook::Hook,
    page::{Page, PageQuery},
    selector::{FieldInput, resolve_field},
};

/// Reads and writes the rows of an entity. Cheap to clone.
///
/// The guarantees of [`Table`]'s methods apply here too: their futures are owned and lazy, a write
/// that was begun is done whole even if its caller goes away, and "not found" is `Ok(None)`. Fields
/// are named as the struct names them.
///
/// The methods that take a value of any type box their future (one allocation), because an `impl
/// Future` would capture the value's lifetime, and a load must be `'static`.
///
/// # Examples
///
/// See the [crate](crate)'s.
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
    pub(crate) fn new(table: Table) -> Self {
        Self {
            table,
            entity: PhantomData,
        }
    }

    /// The same rows without their type.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The entity's schema.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.table.schema()
    }

    /// Adds a hook; see [`Table::hook`].
    pub fn hook(&self, hook: Arc<dyn Hook>) {
        self.table.hook(hook);
    }

    /// Selects the row with this primary key.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    pub fn select(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selected = self.table.select(id.to_value());
        async move { typed(selected.await?) }
    }

    /// Selects the row with this value of a unique field.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    pub fn select_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> BoxFuture<'static, Result<Option<E>, Error>> {
        let selected = self.table.select_by(field, value);
        async move { typed(selected.await?) }.boxed()
    }

    /// Selects the row with these values of the cache key's fields, in the schema's order.
    ///
    /// # Errors
    ///
    /// As [`Table::select_by_cache_key`].
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

    /// Lists rows, a page at a time; see [`PageQuery`].
    ///
    /// # Errors
    ///
    /// As [`Table::page`].
    pub fn page(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<E>, Error>> + Send + 'static + use<E> {
        let page = self.table.page(query);
        async move {
            let Page { data, offset } = page.await?;
            let data = data.into_iter().map(E::from_row);
            let data = data.collect::<Result<_, _>>()?;
            Ok(Page { data, offset })
        }
    }

    /// The cache key of a row with these values of the cache key's fields, in the schema's order;
    /// where the schema names none, of the primary key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyParts`] if their number is not the schema's.
    pub fn cache_key<P: KeyPart>(&self, parts: &[P]) -> Result<CacheKey, Error> {
        let schema = self.schema();
        check_parts(schema, parts.len())?;
        match parts {
            [id] if schema.cache_key_fields().is_empty() => {
                Ok(CacheKey::primary(schema.name(), id))
            }
            parts => Ok(CacheKey::new(schema.name(), parts)),
        }
    }

    /// The key under which the row with these values is cached by the lookup of these fields; see
    /// [`Schema::lookups`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownField`]; [`Error::NotUnique`] if rows are not looked up by these fields;
    /// [`Error::KeyParts`]; [`Error::WrongKind`].
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

    /// The cache key of a row; see [`Entity::cache_key`].
    pub fn cache_key_of(&self, entity: &E) -> CacheKey {
        entity.cache_key()
    }
}

fn typed<E: Entity>(row: Option<Row>) -> Result<Option<E>, Error> {
    Ok(row.map(E::from_row).transpose()?)
}
