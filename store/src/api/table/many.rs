//! Many rows at a time: pages, counts, inserts.

use std::sync::LazyLock;

use tidings_core::{Field, Row, Schema, Value};

use super::Table;
use crate::{
    error::Error,
    live::Live,
    method::Method,
    page::{Page, PageQuery},
    selector::WriteOptions,
    write::operation::InsertMany,
};

/// The schema of the result of a count: a row of one field.
static COUNT: LazyLock<Schema> = LazyLock::new(|| {
    Schema::builder("count")
        .field(Field::of::<i64>("count"))
        .build()
});

impl Table {
    /// Inserts many rows, all of them or none, up to a hundred with one statement. Returns them as
    /// stored, in the given order. Hooks see one call, without rows.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); [`Error::Violations`] reports the first row that is wrong, and
    /// names its fields as in `[7].username`.
    pub fn insert_many(
        &self,
        rows: Vec<Row>,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send + 'static + use<> {
        self.route.write(Ok(InsertMany(rows)), options)
    }

    /// Lists rows, a page at a time.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSize`], [`Error::InvalidOffset`], [`Error::UnknownField`],
    /// [`Error::WrongKind`], [`Error::Hook`], or the database fails.
    pub fn page(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<Row>, Error>> + Send + 'static + use<> {
        let paged = self.paged(query);
        async move {
            let Page { data, offset } = paged.await?;
            let data = data.into_iter().map(|live| live.row).collect();
            Ok(Page { data, offset })
        }
    }

    /// Lists rows, each with the time that it has left.
    pub(crate) fn paged(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<Live<Row>>, Error>> + Send + 'static + use<> {
        let table = self.clone();
        async move {
            let stored = table.stored();
            let size = query.rows();
            let prepared = query.prepare(stored.schema)?;
            let call = table.call(Method::Page, None);
            let hooks = stored.hooks.current();
            hooks.before(&call)?;

            let sql = stored.page(&prepared.shape);
            let mut data = table.read_live(&sql, prepared.parameters()).await?;
            let is_last = data.len() <= size;
            data.truncate(size);
            let last = data.last().filter(|_| !is_last);
            let offset = last.map(|live| prepared.token(stored.schema, &live.row));
            hooks.after(&call);
            Ok(Page { data, offset })
        }
    }

    /// Counts the rows that a query selects, on all of its pages, whatever its size and offset.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub fn count(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static + use<> {
        let table = self.clone();
        async move {
            let stored = table.stored();
            let prepared = query.first().prepare(stored.schema)?;
            let call = table.call(Method::Count, None);
            let hooks = stored.hooks.current();
            hooks.before(&call)?;

            let sql = stored.count(&prepared.shape);
            let counted = table.read_as(&sql, &COUNT, prepared.conditions()).await?;
            hooks.after(&call);
            Ok(match counted.first().and_then(|live| live.row.0.first()) {
                Some(Value::Integer(count)) => u64::try_from(*count).unwrap_or(0),
                _ => 0,
            })
        }
    }

    /// Returns whether there is a row that a query selects.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub fn exists(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<bool, Error>> + Send + 'static + use<> {
        let page = self.page(query.first());
        async move { Ok(!page.await?.data.is_empty()) }
    }
}
