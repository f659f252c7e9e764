//! The outbox on PostgreSQL: a record as a trigger would write it.

use futures_util::future::{BoxFuture, FutureExt as _};
use sqlx::{PgConnection, Postgres, Row as _, Transaction};
use tidings_core::{Operation, Row, Schema};

use super::{
    decode::Image,
    error::PgLogError,
    values::{text_of, text_of_key},
};
use crate::{
    RowChange,
    outbox::{Outbox, OutboxError, sealed::Sealed},
};

impl Sealed for PgConnection {}
impl Sealed for Transaction<'_, Postgres> {}

impl Outbox for PgConnection {
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>> {
        async move { Ok(record(self, &change).await?) }.boxed()
    }
}

impl Outbox for Transaction<'_, Postgres> {
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>> {
        async move { Ok(record(self, &change).await?) }.boxed()
    }
}

impl From<PgLogError> for OutboxError {
    fn from(error: PgLogError) -> Self {
        match error {
            PgLogError::NotInstalled => Self::NoLog,
            PgLogError::Database(error) | PgLogError::Busy(error) => Self::Database(error),
            other => Self::Database(sqlx::Error::Configuration(Box::new(other))),
        }
    }
}

async fn record(connection: &mut PgConnection, change: &RowChange) -> Result<(), PgLogError> {
    let schema = change.schema;
    let layout = layout(connection, schema).await?;
    let image = |row: &Row| -> Image {
        let texts = row
            .0
            .iter()
            .map(|value| (!value.is_null()).then(|| text_of(value)));
        texts.collect()
    };

    let (kind, old, new) = match change.operation {
        Operation::Create => ("c", None, Some(image(&change.row))),
        Operation::Update => (
            "u",
            change.old_row.as_ref().map(image),
            Some(image(&change.row)),
        ),
        Operation::Delete => ("d", Some(image(&change.row)), None),
    };

    let key = text_of_key(&schema.key_of(&change.row));
    sqlx::query(
        "insert into tidings.log (kind, entity, layout, key, key_hash, old, new, origin, silent) \
         values ($1, $2, $3, $4, hashtextextended($4 collate \"C\", 0), $5, $6, \
           coalesce(current_setting('tidings.origin', true), ''), \
           coalesce(current_setting('tidings.no_event', true), '') = 'on')",
    )
    .bind(kind)
    .bind(schema.name())
    .bind(layout)
    .bind(key)
    .bind(old)
    .bind(new)
    // A named statement belongs to the session, which a pooler may lend to others.
    .persistent(false)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the layout of a schema's whole rows; creates it if there is none.
async fn layout(connection: &mut PgConnection, schema: &Schema) -> Result<i32, PgLogError> {
    let fields: Vec<&str> = schema.fields().iter().map(|field| field.name()).collect();
    let found =
        sqlx::query("select id from tidings.layouts where entity = $1 and fields = $2 and whole")
            .bind(schema.name())
            .bind(&fields)
            .persistent(false)
            .fetch_optional(&mut *connection)
            .await?;

    let row = match found {
        Some(row) => row,
        // If another transaction is creating it, this waits for that one and returns its layout.
        None => {
            sqlx::query(
                "insert into tidings.layouts (entity, fields, whole) values ($1, $2, true) \
                 on conflict (entity, fields, whole) do update set whole = excluded.whole returning id",
            )
            .bind(schema.name())
            .bind(&fields)
            .persistent(false)
            .fetch_one(connection)
            .await?
        }
    };
    Ok(row.try_get(0)?)
}
