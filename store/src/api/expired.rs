//! Removes expired rows.
//!
//! A pass reads the primary keys of expired rows, then deletes the rows like any other delete: with
//! the rows that depend on them, an event for each, and the evictions. The database's clock
//! decides, and decides again in the transaction that deletes. If several nodes share a database,
//! one of them works on an entity at a time; the others skip it.
//!
//! If another row refers to an expired row and forbids its delete, the row stays, but reads do not
//! return it. No hook runs, because no caller asked for the delete.

use tidings_core::{Chain, PrimaryKey};

use crate::{
    api::table::Table,
    error::Error,
    parameter::Parameter,
    selector::WriteOptions,
    write::expiry::{Removal, RemoveExpired},
};

/// The maximum number of rows that one transaction removes.
const BATCH: usize = 100;

/// The result of a pass over an entity's expired rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleared {
    /// Removed rows, not counting rows that depended on them.
    pub removed: u64,
    /// Expired rows that could not be removed.
    pub kept: u64,
    /// Whether another node is working on the entity, so that this pass left the rest to it.
    pub busy: bool,
}

impl Table {
    /// Removes expired rows. Does nothing for an entity whose rows do not expire.
    ///
    /// # Errors
    ///
    /// The database fails. Rows that were already removed stay removed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops after the batch that is being removed.
    pub fn remove_expired(
        &self,
    ) -> impl Future<Output = Result<Cleared, Error>> + Send + 'static + use<> {
        let table = self.clone();
        async move {
            let mut cleared = Cleared::default();
            let mut last = None;
            loop {
                let keys = table.expired(last.as_ref()).await?;
                let Some(end) = keys.last().cloned() else {
                    return Ok(cleared);
                };

                let is_last = keys.len() < BATCH;
                if table.remove_batch(keys, &mut cleared).await? == Removal::Busy {
                    cleared.busy = true;
                    return Ok(cleared);
                }
                if is_last {
                    return Ok(cleared);
                }

                last = Some(end);
            }
        }
    }

    /// Removes a batch in one transaction. If one of its rows cannot be removed, removes each row
    /// in a transaction of its own.
    async fn remove_batch(
        &self,
        keys: Vec<PrimaryKey>,
        cleared: &mut Cleared,
    ) -> Result<Removal, Error> {
        let options = WriteOptions::default();
        let whole = RemoveExpired::new(keys.clone());
        match self.route.write(Ok(whole), options).await {
            Ok(removal) => return Ok(count(removal, cleared)),
            Err(error) if error.is_of_the_database() || matches!(error, Error::Closed) => {
                return Err(error);
            }
            Err(_) => {}
        }

        for key in keys {
            let single = RemoveExpired::new(vec![key]);
            match self.route.write(Ok(single), options).await {
                Ok(removal) if count(removal, cleared) == Removal::Busy => {
                    return Ok(Removal::Busy);
                }
                Ok(_) => {}
                Err(error) if error.is_of_the_database() || matches!(error, Error::Closed) => {
                    return Err(error);
                }
                Err(error) => {
                    cleared.kept += 1;
                    let entity = self.schema().name();
                    tracing::debug!(entity, error = %Chain(&error), "an expired row cannot be removed");
                }
            }
        }

        Ok(Removal::Rows(0))
    }

    /// Reads the primary keys of expired rows, after a given one.
    async fn expired(&self, after: Option<&PrimaryKey>) -> Result<Vec<PrimaryKey>, Error> {
        let stored = self.stored();
        let Some(expired) = &stored.statements.expired else {
            return Ok(Vec::new());
        };

        let mut parameters: Vec<_> = after.into_iter().flat_map(|key| stored.key(key)).collect();
        parameters.push(Parameter::Count(BATCH));
        let sql = match after {
            None => &expired.first,
            Some(_) => &expired.next,
        };
        let rows = self.read(sql, parameters).await?;
        Ok(rows.iter().map(|row| stored.schema.key_of(row)).collect())
    }
}

fn count(removal: Removal, cleared: &mut Cleared) -> Removal {
    if let Removal::Rows(rows) = removal {
        cleared.removed += rows;
    }
    removal
}
