//! Deletes more rows than are reported one by one, in bounded memory.
//!
//! A row is deleted before those that refer to it, and the commit checks references. So circles end
//! by themselves, and memory only holds the primary keys of one page for each level. Rows to which
//! no other rows can refer are deleted without being read.
//!
//! References to be cleared, and rows with `restrict`, are looked for at the end: then they are the
//! rows whose reference leads to a missing row, regardless of the path to that row. This reads
//! their whole table, so it is done only if there is such a row.

use std::collections::BTreeSet;

use tidings_core::{OnDelete, PrimaryKey, Row, Value};

use crate::{
    engine::Refused,
    error::Error,
    parameter::Parameter,
    write::{
        catalog::{Catalog, Child},
        transaction::{CHUNK, Transaction, full},
    },
};

/// How many unread rows one statement deletes: it must end within a call's time limit.
const SWEPT: usize = 5_000;

/// A parent, and the position of one of its children in the catalog.
type Edge = (usize, usize);

/// Deleted rows whose children are not all deleted yet.
struct Frame {
    entity: usize,
    ids: Vec<Value>,
    /// The next of the entity's children to process.
    child: usize,
}

impl Transaction<'_> {
    /// Deletes a row and the rows that cascade from it; reports only the entities.
    pub(crate) async fn sweep(&mut self, entity: usize, row: Row) -> Result<(), Error> {
        let catalog = self.catalog;
        self.changes.touch(catalog.get(entity).schema);
        self.defer_references().await?;
        self.delete_all(entity, &[&row]).await?;

        let mut at_the_end = BTreeSet::new();
        let mut frames = vec![Frame {
            entity,
            ids: Vec::from_iter(catalog.get(entity).reference(&row).cloned()),
            child: 0,
        }];

        while let Some(mut frame) = frames.pop() {
            let parent = frame.entity;
            let Some(child) = catalog.get(parent).children.get(frame.child) else {
                continue;
            };

            match child.on_delete {
                OnDelete::Restrict | OnDelete::SetNull => {
                    if self.is_referred_to(child, parent, &frame.ids).await? {
                        at_the_end.insert((parent, frame.child));
                    }
                    frame.child += 1;
                    frames.push(frame);
                }
                OnDelete::Cascade if catalog.get(child.entity).children.is_empty() => {
                    self.delete_leaves(child, parent, &frame.ids).await?;
                    frame.child += 1;
                    frames.push(frame);
                }
                OnDelete::Cascade => {
                    let page = self.delete_page(child, parent, &frame.ids).await?;
                    frame.child += usize::from(full(&page).is_none());
                    frames.push(frame);

                    if !page.is_empty() {
                        let stored = catalog.get(child.entity);
                        let ids = page.iter().filter_map(|row| stored.reference(row).cloned());
                        frames.push(Frame {
                            entity: child.entity,
                            ids: ids.collect(),
                            child: 0,
                        });
                    }
                }
            }
        }

        self.settle_orphans(&at_the_end).await
    }

    /// Returns whether a row refers to one of the deleted ones.
    async fn is_referred_to(
        &mut self,
        child: &Child,
        parent: usize,
        ids: &[Value],
    ) -> Result<bool, Error> {
        let catalog = self.catalog;
        let ids = catalog.get(parent).references(ids);
        let one = vec![ids, Parameter::Count(1)];
        let stored = catalog.get(child.entity);
        let found = self.rows(stored, &child.restricting, one).await?;
        Ok(!found.is_empty())
    }

    /// Deletes the rows that refer to deleted ones and to which no rows can refer.
    async fn delete_leaves(
        &mut self,
        child: &Child,
        parent: usize,
        ids: &[Value],
    ) -> Result<(), Error> {
        let catalog = self.catalog;
        loop {
            let ids = catalog.get(parent).references(ids);
            let some = vec![ids, Parameter::Count(SWEPT)];
            let deleted = self.change(&child.delete, some).await.map_err(unknown)?;
            if deleted == 0 {
                return Ok(());
            }
            self.changes.touch(catalog.get(child.entity).schema);
        }
    }

    /// Deletes and returns one page of the rows that refer to deleted ones.
    async fn delete_page(
        &mut self,
        child: &Child,
        parent: usize,
        ids: &[Value],
    ) -> Result<Vec<Row>, Error> {
        let catalog = self.catalog;
        let stored = catalog.get(child.entity);
        let parents = (catalog.get(parent), ids);
        let page = self.page(stored, &child.referring, parents, None).await?;
        if !page.is_empty() {
            let rows: Vec<_> = page.iter().collect();
            self.delete_all(child.entity, &rows).await?;
            self.changes.touch(stored.schema);
        }

        Ok(page)
    }

    /// Deletes rows by their primary keys.
    pub(crate) async fn delete_all(&mut self, entity: usize, rows: &[&Row]) -> Result<(), Error> {
        let stored = self.catalog.get(entity);
        for rows in rows.chunks(CHUNK) {
            let keys = stored.keys(rows.iter().copied());
            let deleted = self.change(&stored.statements.delete, vec![keys]);
            deleted.await.map_err(unknown)?;
        }
        Ok(())
    }

    /// Clears the references that lead to missing rows now, and refuses the delete if one must not.
    async fn settle_orphans(&mut self, edges: &BTreeSet<Edge>) -> Result<(), Error> {
        let catalog = self.catalog;
        for on_delete in [OnDelete::SetNull, OnDelete::Restrict] {
            for &(parent, place) in edges {
                let child = &catalog.get(parent).children[place];
                if child.on_delete != on_delete {
                    continue;
                }

                let mut after = None;
                loop {
                    let page = self.orphans(child, after).await?;
                    if on_delete == OnDelete::Restrict && !page.is_empty() {
                        return Err(restricted(catalog, parent, child));
                    }

                    let stored = catalog.get(child.entity);
                    after = full(&page).map(|last| stored.schema.key_of(last));
                    for row in page {
                        let mut new = row.clone();
                        new.0[child.field] = Value::Null;
                        self.update(child.entity, row, new).await?;
                    }

                    if after.is_none() {
                        break;
                    }
                }
            }
        }

        Ok(())
    }

    /// Returns one page of the rows that refer to a missing row.
    async fn orphans(
        &mut self,
        child: &Child,
        after: Option<PrimaryKey>,
    ) -> Result<Vec<Row>, Error> {
        let stored = self.catalog.get(child.entity);
        let mut parameters: Vec<_> = after.iter().flat_map(|key| stored.key(key)).collect();
        parameters.push(Parameter::Count(CHUNK));
        let sql = if after.is_some() {
            &child.orphaned.next
        } else {
            &child.orphaned.first
        };
        self.rows(stored, sql, parameters).await
    }
}

/// Returns the error for a row that would remain and refers to one that would be deleted.
pub(crate) fn restricted(catalog: &Catalog, parent: usize, child: &Child) -> Error {
    let stored = catalog.get(child.entity);
    Error::Restricted {
        entity: catalog.get(parent).schema.name().to_owned(),
        by: stored.schema.name().to_owned(),
        field: stored.schema.fields()[child.field].name().to_owned(),
    }
}

/// Returns the error for a table without a schema that refers to a deleted row.
fn unknown(refused: Refused) -> Error {
    match refused {
        Refused::Failed(error) => error,
        Refused::Unique(broken) | Refused::Reference(broken) => broken.error,
    }
}
