//! The outbox: changes recorded by an application's own SQL, in its own transaction.
//!
//! A table with triggers does not need the outbox, because the triggers record every write. Use it
//! for values that no trigger sees as a row, such as an entity that is put together from several
//! tables, or for a table that may not have triggers. A node receives the changes of the entities
//! that it declares with `NodeBuilder::recorded_entity`.
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

/// Why a change was not recorded. The caller has to roll back the transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The database has no log, so no node would receive the change. Install the log first.
    #[error("the database has no log: run `tidings capture install`")]
    NoLog,
    /// The database failed, or the transaction had failed before.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// A transaction of sqlx in which changes can be recorded, or a connection that is in one.
pub trait Outbox: sealed::Sealed + Send {
    /// Writes the record of one row.
    #[doc(hidden)]
    fn write(&mut self, change: RowChange) -> BoxFuture<'_, Result<(), OutboxError>>;
}

pub(crate) mod sealed {
    /// Keeps other crates from implementing the trait: only this one knows the form of the log.
    pub trait Sealed {}
}

/// Records a change in the log, in the transaction that makes it. If the transaction commits, every
/// node receives the change; if not, no node does.
///
/// The caller supplies the row's predecessor. Lock the row when you read it for an update or a
/// delete; otherwise another transaction may have overwritten the predecessor that you record.
///
/// Not cancel safe: if the future is dropped, the record may be incomplete. Roll back then.
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
