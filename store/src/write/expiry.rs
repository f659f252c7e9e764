//! Removes expired rows: on request, and if their unique values are in the way of a row.

use tidings_core::{PrimaryKey, Row};

use crate::{
    engine::statements::Clash,
    error::Error,
    method::Method,
    parameter::Parameter,
    selector::Selector,
    write::{
        operation::Operation,
        transaction::{Before, Transaction},
    },
};

/// Removes those of the rows with these primary keys that have expired.
#[derive(Clone, Debug)]
pub(crate) struct RemoveExpired {
    keys: Vec<PrimaryKey>,
}

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// This many rows were removed, not counting the rows that depended on them.
    Rows(u64),
    /// Another node is removing rows of the entity.
    Busy,
}

impl RemoveExpired {
    pub(crate) fn new(keys: Vec<PrimaryKey>) -> Self {
        Self { keys }
    }
}

impl Operation for RemoveExpired {
    type Output = Removal;

    const HOOKED: bool = false;

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::Delete, None, None)
    }

    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn run(self, transaction: &mut Transaction<'_>, entity: usize) -> Result<Removal, Error> {
        let stored = transaction.catalog.get(entity);
        let Some(expired) = &stored.statements.expired else {
            return Ok(Removal::Rows(0));
        };
        if !transaction.removes_alone(stored.schema.name()).await? {
            return Ok(Removal::Busy);
        }

        let mut removed = 0;
        for key in &self.keys {
            let key = stored.key(key).collect();
            let found = transaction.rows(stored, &expired.by_id, key).await?;
            // Deleted with another one of them, or renewed in the meantime.
            let Some(row) = found.into_iter().next() else {
                continue;
            };
            transaction.delete(entity, row).await?;
            removed += 1;
        }

        Ok(Removal::Rows(removed))
    }

    fn row(_: &Removal) -> Option<&Row> {
        None
    }
}

impl Transaction<'_> {
    /// Removes expired rows that have the unique values of a row about to be stored. Reads do not
    /// return them, so they must not be in its way.
    pub(crate) async fn remove_expired_conflicts(
        &mut self,
        entity: usize,
        row: &Row,
        before: Before<'_>,
    ) -> Result<(), Error> {
        let stored = self.catalog.get(entity);
        let Some(expired) = &stored.statements.expired else {
            return Ok(());
        };

        let fields = stored.schema.fields();
        let can_clash = |unique: &&Clash| {
            let set = unique.fields.iter().all(|&field| !row.0[field].is_null());
            set && before.leaves_open(&unique.fields, row, fields)
        };

        for unique in expired.clashing.iter().filter(can_clash) {
            let values = unique.fields.iter();
            let values = values.map(|&field| Parameter::of(&fields[field], &row.0[field]));
            let found = self.rows(stored, &unique.other, values.collect()).await?;
            let others = found.into_iter().filter(|other| match before {
                Before::Old(_) => !stored.schema.is_same_row(other, row),
                Before::Given(_) => true,
            });

            for old in others {
                // Boxed, because the delete of a row updates other rows, which may remove expired
                // rows in turn.
                match Box::pin(self.delete(entity, old)).await {
                    // If it cannot be deleted, the new row clashes with it.
                    Ok(()) | Err(Error::Restricted { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }

        Ok(())
    }
}
