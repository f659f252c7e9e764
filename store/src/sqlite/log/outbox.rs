//! The outbox on SQLite: a record as a trigger would write it.

use futures_util::future::{BoxFuture, FutureExt as _};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, Transaction};
use tidings_core::{FieldKind, Operation, Row, Value};

use super::{
    capture::{layout, side},
    error::SqliteLogError,
    key,
    names::{identifier, side_table},
    tables::version,
};
use crate::{
    RowChange,
    outbox::{Outbox, OutboxError, sealed::Sealed},
    parameter::Parameter,
    sqlite::values::arguments,
};

impl Sealed for SqliteConnection {}
impl Sealed for Transaction<'_, Sqlite> {}

impl Outbox for SqliteConnection {
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>> {
        async move { Ok(record(self, &change).await?) }.boxed()
    }
}

impl Outbox for Transaction<'_, Sqlite> {
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>> {
        async move { Ok(record(self, &change).await?) }.boxed()
    }
}

impl From<SqliteLogError> for OutboxError {
    fn from(error: SqliteLogError) -> Self {
        match error {
            SqliteLogError::NotInstalled => Self::NoLog,
            SqliteLogError::Database(error) | SqliteLogError::Busy(error) => Self::Database(error),
            other => Self::Database(sqlx::Error::Configuration(Box::new(other))),
        }
    }
}

async fn record(
    connection: &mut SqliteConnection,
    change: &RowChange,
) -> Result<(), SqliteLogError> {
    if version(connection).await?.is_none() {
        return Err(SqliteLogError::NotInstalled);
    }

    let schema = change.schema;
    let entity = schema.name();
    let names = schema.fields().iter().map(|field| field.name().to_owned());
    let names: Vec<String> = names.collect();
    // All fields count as keys, so that a row is recorded whole, however long it is.
    let layout = layout(connection, entity, &names, &names).await?;
    side(connection, entity, &names).await?;

    let (kind, old, new) = match change.operation {
        Operation::Create => ("c", None, Some(&change.row)),
        Operation::Update => ("u", change.old_row.as_ref(), Some(&change.row)),
        Operation::Delete => ("d", Some(&change.row), None),
    };
    let (kind, entity_name) = (Value::from(kind.to_owned()), Value::from(entity.to_owned()));
    let id = schema.key_of(&change.row);
    let record = [
        Parameter::One(FieldKind::Text, &kind),
        Parameter::One(FieldKind::Text, &entity_name),
        Parameter::Count(usize::try_from(layout).unwrap_or(0)),
    ];
    let record = arguments(record.into_iter().chain(key::parameters(schema, &id)))?;
    let key = key::written(id.parts().iter().map(|_| "?".to_owned()));
    let insert = format!(
        "INSERT INTO tidings_log (kind, entity, layout, key, size) VALUES (?, ?, ?, {key}, 0)"
    );
    let written = sqlx::query_with(AssertSqlSafe(insert), record)
        .execute(&mut *connection)
        .await?;

    let images = [("old", old), ("new", new)];
    let images = images
        .iter()
        .filter_map(|(name, row)| Some((*name, (*row)?)));
    let images: Vec<(&str, &Row)> = images.collect();
    let columns: String = images
        .iter()
        .flat_map(|(image, _)| {
            let column =
                move |name: &String| format!(", {}", identifier(&format!("{image}_{name}")));
            names.iter().map(column)
        })
        .collect();
    let number = written.last_insert_rowid();
    let places = ", ?".repeat(names.len() * images.len());
    let sql = format!(
        "INSERT INTO {} (id{columns}) VALUES ({number}{places})",
        side_table(entity)
    );
    let values = images.iter().flat_map(|(_, row)| {
        let fields = schema.fields().iter().zip(&row.0);
        fields.map(|(field, value)| Parameter::of(field, value))
    });
    sqlx::query_with(AssertSqlSafe(sql), arguments(values)?)
        .execute(connection)
        .await?;

    Ok(())
}
