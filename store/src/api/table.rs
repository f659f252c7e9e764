//! [`Table`]: the untyped rows of one entity. A DAO does all of its work here.

// Many rows at a time.
mod many;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{Patch, PrimaryKey, Row, Schema, Value};

use crate::{
    api::shared::Shared,
    engine::Sql,
    error::Error,
    hook::{Call, Hook},
    live::Live,
    method::Method,
    page::Prepared,
    parameter::{Owned, Parameter},
    selector::{FieldInput, Selector, Upserted, WriteOptions},
    sink::ChangeSink,
    write::{
        catalog::Stored,
        open_transaction::TransactionHandle,
        operation::{Delete, Edit, Given, Insert, Target, Update, Upsert},
        route::Route,
    },
};

/// The untyped rows of one entity; the common base of [`Dao`](crate::Dao) and the admin API. Cheap
/// to clone.
///
/// Every method returns a future that owns its data and does nothing before it is polled.
///
/// # Cancel safety
///
/// Dropping the future of a read stops the read. Once the future of a write has been polled, the
/// write runs to its end in a task of its own, whether or not a caller waits. Dropping the future
/// only gives up its result.
///
/// # Cost
///
/// A read is one statement on a connection of the pool, from the connection's cache of prepared
/// statements. A write is a transaction of about three statements, and one flush of the disk.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: Route,
}

impl Table {
    /// Returns the entity's schema.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.stored().schema
    }

    /// Returns the receiver of the store's commits. A cache may hold this table's rows only if the
    /// sink evicts from that cache.
    #[must_use]
    pub fn sink(&self) -> &Arc<dyn ChangeSink> {
        &self.route.attached.sink
    }

    /// Returns whether its calls are part of a [`Transaction`](crate::Transaction). The rows that
    /// they read may never be committed, and must not be cached.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.route.transaction.is_some()
    }

    /// Adds a hook. It runs around every call that begins from now on, for the life of the store.
    pub fn hook(&self, hook: Arc<dyn Hook>) {
        self.stored().hooks.add(hook);
    }

    /// Inserts a row, generates its absent values (see [`Schema::complete_insert`]), and returns it
    /// as stored.
    ///
    /// # Errors
    ///
    /// [`Error::Violations`], [`Error::Unique`], [`Error::ForeignKey`], [`Error::Hook`], or the
    /// database fails.
    pub fn insert(
        &self,
        row: Row,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Row, Error>> + Send + 'static + use<> {
        self.route.write(Ok(Insert(row)), options)
    }

    /// Selects the row with this primary key: a value, or a [`PrimaryKey`] of several values.
    ///
    /// # Errors
    ///
    /// As [`select_where`](Self::select_where).
    pub fn select<K: Into<PrimaryKey>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<K> {
        self.select_where(Selector::primary_key(key.into()))
    }

    /// Selects the row with this value of a unique field.
    ///
    /// # Errors
    ///
    /// As [`select_where`](Self::select_where).
    pub fn select_by(
        &self,
        field: &str,
        value: impl Into<FieldInput>,
    ) -> BoxFuture<'static, Result<Option<Row>, Error>> {
        self.select_where(Selector::by(field.to_owned(), value))
            .boxed()
    }

    /// Selects the row of a selector.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownField`], [`Error::NotUnique`], [`Error::WrongKind`] for a faulty selector;
    /// [`Error::Hook`]; or the database fails.
    pub fn select_where(
        &self,
        selector: Selector,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<> {
        let selected = self.selected(selector);
        async move { Ok(selected.await?.map(|live| live.row)) }
    }

    /// Selects the row of a selector, with the time that it has left.
    pub(crate) fn selected(
        &self,
        selector: Selector,
    ) -> impl Future<Output = Result<Option<Live<Row>>, Error>> + Send + 'static + use<> {
        let table = self.clone();
        async move {
            let stored = table.stored();
            let target = Target::of(selector, stored.schema)?;
            let call = table.call(Method::Select, Some(&target.selector));
            let hooks = stored.hooks.current();
            hooks.before(&call)?;

            let target = &target.resolved;
            let fields = target.key.iter().map(|(field, _)| *field);
            let live = match stored.statements.by_fields(fields) {
                Some(unique) if !target.is_absent() => {
                    let values = stored.parameters(&target.key);
                    table.read_live(&unique.plain, values).await?.pop()
                }
                _ => None,
            };
            let live = live.filter(|live| target.mismatch(&live.row).is_none());
            if let Some(live) = &live {
                target.check_unchanged(stored.schema, &live.row)?;
            }

            hooks.after(&Call {
                row: live.as_ref().map(|live| &live.row),
                ..call
            });
            Ok(live)
        }
    }

    /// Selects the row with these values of the cache key's fields, or of the primary key if the
    /// schema has no cache key. Returns `None` if all of them are `Null`; such a row is cached by
    /// its primary key.
    ///
    /// If several rows match, it returns the one with the lowest primary key. A schema avoids this
    /// by making the fields unique together.
    ///
    /// # Errors
    ///
    /// [`Error::KeyParts`], [`Error::WrongKind`], [`Error::Hook`], or the database fails.
    pub fn select_by_cache_key(
        &self,
        parts: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<> {
        let table = self.clone();
        async move {
            let stored = table.stored();
            let fields = cache_key_fields(stored.schema);
            check_parts(stored.schema, parts.len())?;
            for (field, part) in fields.iter().zip(&parts) {
                check_kind(stored.schema, *field, part)?;
            }

            let is_absent = parts.iter().all(Value::is_null);
            let filter = fields.into_iter().zip(parts);
            let prepared = Prepared::matching(stored.schema, filter, 1);
            let call = table.call(Method::Select, None);
            let hooks = stored.hooks.current();
            hooks.before(&call)?;

            let row = if is_absent {
                None
            } else {
                let sql = stored.page(&prepared.shape);
                table.read(&sql, prepared.parameters()).await?.pop()
            };

            hooks.after(&Call {
                row: row.as_ref(),
                ..call
            });
            Ok(row)
        }
    }

    /// Updates the selected row and returns it as stored, or `None` if there is no such row.
    ///
    /// An update that changes no value is still an update: it sets the time of update, and handlers
    /// run for it.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert) and for a faulty selector as
    /// [`select_where`](Self::select_where). A primary key cannot be changed.
    pub fn update(
        &self,
        selector: Selector,
        patch: Patch,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<> {
        let edit = Edit::patch(patch, self.schema());
        self.update_with(selector, edit, options)
    }

    /// Updates as [`update`](Self::update) does, with any kind of edit.
    pub(crate) fn update_with(
        &self,
        selector: Selector,
        edit: Result<Edit, Error>,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<> {
        let target = Target::of(selector, self.schema());
        let update = target.and_then(|target| {
            let edit = edit?;
            Ok(Update { target, edit })
        });
        self.route.write(update, options)
    }

    /// Replaces the selected row, or creates it.
    ///
    /// The new row has exactly the given values. Fields that are not given are cleared, or
    /// generated if the schema generates them. A replaced row keeps its primary key, and also its
    /// time of creation unless one is given. The values of the selector and of its further
    /// conditions override given ones.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); [`Error::Condition`] if the row exists and does not meet the
    /// selector's further conditions.
    pub fn upsert(
        &self,
        selector: Selector,
        row: Patch,
        options: WriteOptions,
    ) -> impl Future<Output = Result<(Row, Upserted), Error>> + Send + 'static + use<> {
        let target = Target::of(selector, self.schema());
        let upsert = target.and_then(|target| {
            let given = Given::of(&row, self.schema())?;
            Ok(Upsert { target, given })
        });
        self.route.write(upsert, options)
    }

    /// Deletes the selected row and the rows that cascade from it. Returns the row as it was, or
    /// `None` if there was no such row.
    ///
    /// Rows that refer to it are deleted too (`cascade`, at any depth), lose their reference
    /// (`set_null`), or forbid the delete (`restrict`, unless they are deleted with it). Each of
    /// them gets its own event. Children are deleted before their parents.
    ///
    /// # Errors
    ///
    /// [`Error::Restricted`]; [`Error::Violations`] if clearing a reference breaks a rule of its
    /// row; for a faulty selector as [`select_where`](Self::select_where); [`Error::Hook`]; or the
    /// database fails. Nothing is changed then.
    pub fn delete(
        &self,
        selector: Selector,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send + 'static + use<> {
        let target = Target::of(selector, self.schema());
        self.route
            .write(target.map(|target| Delete { target }), options)
    }

    pub(crate) fn stored(&self) -> &Stored {
        self.route.stored()
    }

    fn call<'a>(&self, method: Method, selector: Option<&'a Selector>) -> Call<'a> {
        Call {
            method,
            schema: self.schema(),
            selector,
            row: None,
        }
    }

    pub(crate) async fn read(
        &self,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<Row>, Error> {
        let read = self.read_live(sql, parameters).await?;
        Ok(read.into_iter().map(|live| live.row).collect())
    }

    async fn read_live(
        &self,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<Live<Row>>, Error> {
        self.read_as(sql, self.schema(), parameters).await
    }

    /// Reads rows of a schema: the entity's, or that of a count.
    async fn read_as(
        &self,
        sql: &Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<Live<Row>>, Error> {
        let attached = &self.route.attached;
        let began = attached.clock.now();
        let read = match &self.route.transaction {
            None => self.shared.engine.read(sql, schema, parameters).await,
            Some(transaction) => {
                let sql = Sql::clone(sql);
                let parameters: Vec<_> = parameters.into_iter().map(Owned::from).collect();
                let read = transaction.call(move |transaction| {
                    async move { transaction.read(&sql, schema, &parameters).await }.boxed()
                });
                read.await
            }
        };
        attached.meter.read(&*attached.clock, began, &read);

        read
    }
}

/// Returns the table of an entity, by the entity's name.
pub(crate) fn table_of(
    shared: &Arc<Shared>,
    name: &str,
    transaction: Option<TransactionHandle>,
) -> Result<Table, Error> {
    let attached = shared.attached.get().ok_or(Error::NotAttached)?;
    let entity = attached
        .catalog
        .find(name)
        .ok_or_else(|| Error::UnknownEntity {
            name: name.to_owned(),
            declared: attached.catalog.names(),
        })?;
    Ok(Table {
        shared: Arc::clone(shared),
        route: Route {
            engine: Arc::clone(&shared.engine),
            attached: Arc::clone(attached),
            entity,
            transaction,
        },
    })
}

/// Returns the fields of the cache key, or of the primary key if the schema has no cache key.
pub(crate) fn cache_key_fields(schema: &Schema) -> Vec<usize> {
    let names = schema.cache_key_fields().iter();
    let fields: Vec<_> = names
        .filter_map(|name| Some(schema.field(name)?.0))
        .collect();
    if fields.is_empty() {
        schema.primary_key().to_vec()
    } else {
        fields
    }
}

/// Refuses a wrong number of cache key parts.
pub(crate) fn check_parts(schema: &Schema, given: usize) -> Result<(), Error> {
    let expected = match schema.cache_key_fields() {
        [] => schema.primary_key().len(),
        fields => fields.len(),
    };

    if given == expected {
        Ok(())
    } else {
        Err(Error::KeyParts {
            entity: schema.name().to_owned(),
            expected,
            given,
        })
    }
}

/// Refuses a value that is not of the field's kind.
pub(crate) fn check_kind(schema: &Schema, field: usize, value: &Value) -> Result<(), Error> {
    let Some(declared) = schema.fields().get(field) else {
        return Ok(());
    };

    if value.is(declared.kind()) {
        Ok(())
    } else {
        Err(Error::WrongKind {
            entity: schema.name().to_owned(),
            field: declared.name().to_owned(),
            message: format!("expected a {}", declared.kind().name()),
        })
    }
}
