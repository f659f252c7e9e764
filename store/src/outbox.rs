//! The outbox: changes recorded by an application's own SQL, in its own transaction.
//!
//! A table that is captured needs none of this: its triggers record every write. The outbox is for
//! what no trigger sees as a row of the entity, such as an entity that is put together from several
//! tables, or a table on which no trigger may be made. A node hears of what it declares by
//! `NodeBuilder::recorded_entity`.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] {
//! # use serde::{Deserialize, Serialize};
//! # use sqlx::{Connection as _, PgConnection};
//! use tidings_core::{CrudEvent, Entity};
//! use tidings_store::outbox;
//!
//! #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
//! #[entity(name = "prices", cache_key("product"))]
//! struct Price {
//!     #[entity(primary_key)]
//!     id: i64,
//!     #[entity(unique)]
//!     product: String,
//!     cents: i64,
//! }
//!
//! # async fn raise(connection: &mut PgConnection) -> Result<(), Box<dyn std::error::Error>> {
//! let mut transaction = connection.begin().await?;
//! let update = "update price_parts set cents = cents + 10 where id = 7";
//! sqlx::query(update).execute(&mut *transaction).await?;
//! let price = |cents| Price { id: 7, product: "tea".to_owned(), cents };
//! outbox::record(&mut transaction, &CrudEvent::updated(price(320), price(330))).await?;
//! transaction.commit().await?;
//! # Ok(()) }
//! # }
//! ```

use futures_util::future::BoxFuture;
use tidings_core::{CrudEvent, Entity, Operation};

use crate::RowChange;

/// Why a change was not recorded. The transaction is the caller's to roll back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The database has no log, so nothing would hear of the change: put it in place first.
    #[error("the database has no log: run `tidings capture install`")]
    NoLog,
    /// The database failed, or the transaction had failed before.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// A transaction that changes can be recorded in: one of sqlx's.
pub trait Outbox: sealed::Sealed + Send {
    /// Writes the record of one row.
    #[doc(hidden)]
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>>;
}

pub(crate) mod sealed {
    /// Only this crate knows the form of the log.
    pub trait Sealed {}
}

/// Records a change in the log, in the transaction that makes it: every node hears of it if that
/// commits, and none if it does not.
///
/// The row's predecessor is the caller's to know: an update or a delete whose row was not locked
/// when it was read may tell of a predecessor that another transaction has overwritten.
///
/// # Errors
///
/// See [`OutboxError`].
pub async fn record<E: Entity>(
    transaction: &mut impl Outbox,
    event: &CrudEvent<E>,
) -> Result<(), OutboxError> {
    let old_row = match event.operation {
        Operation::Update => event.old_entity.as_ref().map(Entity::to_row),
        Operation::Create | Operation::Delete => None,
    };
    let change = RowChange {
        schema: event.schema,
        operation: event.operation,
        row: event.entity.to_row(),
        old_row,
    };
    transaction.write(change).await
}
