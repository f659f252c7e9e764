//! Deletes a row, and deletes or changes the rows that depend on it.
//!
//! A delete first finds all rows that it affects, level by level, each once regardless of how many
//! paths lead to it (diamonds, cycles, rows that refer to themselves). Then it checks that no row
//! with `restrict` refers to one of them, unless that row is deleted too. Only then does it change
//! anything. It first clears references, each row with an update of its own; then it deletes and
//! announces rows, children before their parents. If rows refer to each other in a circle, the one
//! that was found last is deleted first.
//!
//! Rows are read in pages. If there are more of them than are reported one by one, the plan is
//! dropped, and the rows are deleted as in `sweep.rs`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tidings_core::{CacheKey, OnDelete, Row, Value};

use crate::{
    error::Error,
    parameter::Parameter,
    write::{
        catalog::{Catalog, Child},
        changes::{MAX_BYTES, MAX_ROWS, weight},
        sweep::restricted,
        transaction::{CHUNK, Transaction, full},
    },
};

/// The rows that a delete will affect.
#[derive(Default)]
struct Plan {
    /// Rows that will be deleted, in the order in which they were found: the requested row first.
    deleted: Vec<Touched>,
    /// The position of a row in `deleted`.
    positions: HashMap<CacheKey, usize>,
    /// Rows whose reference will be cleared, unless they will be deleted too.
    cleared: Vec<(Touched, Vec<usize>)>,
    cleared_positions: HashMap<CacheKey, usize>,
    bytes: usize,
}

/// The result of planning.
enum Planned {
    Whole(Plan),
    /// There are too many rows to report one by one. Holds the requested row.
    TooMany(Row),
}

struct Touched {
    entity: usize,
    identity: CacheKey,
    row: Row,
}

impl Transaction<'_> {
    /// Deletes a row and the rows that cascade from it.
    pub(crate) async fn delete(&mut self, entity: usize, row: Row) -> Result<(), Error> {
        let plan = match self.plan(entity, row).await? {
            Planned::Whole(plan) => plan,
            Planned::TooMany(row) => return self.sweep(entity, row).await,
        };
        self.refuse_restricted(&plan).await?;

        let Plan {
            deleted,
            positions,
            cleared,
            ..
        } = plan;

        for (touched, fields) in cleared {
            if positions.contains_key(&touched.identity) {
                continue;
            }
            let mut new = touched.row.clone();
            for field in fields {
                new.0[field] = Value::Null;
            }
            self.update(touched.entity, touched.row, new).await?;
        }

        if deleted.len() > 1 {
            // No order of statements works for rows that refer to each other, so the commit checks
            // the references.
            self.defer_references().await?;
        }
        for (entity, rows) in by_entity(&deleted) {
            self.delete_all(entity, &rows).await?;
        }

        let order = children_first(self.catalog, &deleted, &positions);
        let mut deleted: Vec<_> = deleted.into_iter().map(Some).collect();
        for index in order {
            if let Some(touched) = deleted[index].take() {
                let schema = self.catalog.get(touched.entity).schema;
                self.changes.deleted(schema, touched.row);
            }
        }

        Ok(())
    }

    /// Finds every row that will be deleted, or lose a reference, with a row.
    async fn plan(&mut self, entity: usize, row: Row) -> Result<Planned, Error> {
        let catalog = self.catalog;
        let mut plan = Plan::default();
        plan.add_deleted(catalog, entity, row);

        // Level by level: the children of the rows that were found in the last level.
        let mut expanded = 0;
        while expanded < plan.deleted.len() {
            let level: Vec<_> = referred(catalog, &plan.deleted[expanded..])
                .into_iter()
                .map(|(entity, ids)| (entity, ids.into_iter().cloned().collect::<Vec<_>>()))
                .collect();
            expanded = plan.deleted.len();

            for (parent, ids) in level {
                let children = catalog.get(parent).children.iter();
                for child in children.filter(|child| child.on_delete != OnDelete::Restrict) {
                    for ids in ids.chunks(CHUNK) {
                        self.plan_children(&mut plan, parent, child, ids).await?;
                        if plan.is_too_large() {
                            let first = plan.deleted.swap_remove(0);
                            return Ok(Planned::TooMany(first.row));
                        }
                    }
                }
            }
        }

        Ok(Planned::Whole(plan))
    }

    /// Adds the rows of one child entity that refer to these rows of its parent, page by page.
    /// Stops early if the plan is too large.
    async fn plan_children(
        &mut self,
        plan: &mut Plan,
        parent: usize,
        child: &Child,
        ids: &[Value],
    ) -> Result<(), Error> {
        let catalog = self.catalog;
        let stored = catalog.get(child.entity);
        let parents = (catalog.get(parent), ids);
        let mut after = None;

        loop {
            let page = self.page(stored, &child.referring, parents, after).await?;
            after = full(&page).map(|last| stored.schema.key_of(last));
            for row in page {
                match child.on_delete {
                    OnDelete::SetNull => plan.add_cleared(catalog, child, row),
                    _ => plan.add_deleted(catalog, child.entity, row),
                }
            }

            if after.is_none() || plan.is_too_large() {
                return Ok(());
            }
        }
    }

    /// Refuses the delete if a row that would remain refers to one that would be deleted.
    async fn refuse_restricted(&mut self, plan: &Plan) -> Result<(), Error> {
        let catalog = self.catalog;
        for (entity, ids) in referred(catalog, &plan.deleted) {
            let parent = catalog.get(entity);
            let restricting = parent.children.iter();
            for child in restricting.filter(|child| child.on_delete == OnDelete::Restrict) {
                let stored = catalog.get(child.entity);
                for ids in ids.chunks(CHUNK) {
                    let ids = parent.references(ids.iter().copied());

                    // One row more than the plan deletes is enough to find one that remains.
                    let rows = Parameter::Count(plan.deleted.len() + 1);
                    let found = self
                        .rows(stored, &child.restricting, vec![ids, rows])
                        .await?;
                    let stays = |row| !plan.positions.contains_key(&stored.identity(row));
                    if found.iter().any(stays) {
                        return Err(restricted(catalog, entity, child));
                    }
                }
            }
        }

        Ok(())
    }
}

impl Plan {
    fn is_too_large(&self) -> bool {
        self.deleted.len() + self.cleared.len() > MAX_ROWS || self.bytes > MAX_BYTES
    }

    fn add_deleted(&mut self, catalog: &Catalog, entity: usize, row: Row) {
        let identity = catalog.get(entity).identity(&row);
        if self.positions.contains_key(&identity) {
            return;
        }

        self.bytes += weight(&row);
        self.positions.insert(identity.clone(), self.deleted.len());
        self.deleted.push(Touched {
            entity,
            identity,
            row,
        });
    }

    fn add_cleared(&mut self, catalog: &Catalog, child: &Child, row: Row) {
        let identity = catalog.get(child.entity).identity(&row);
        if let Some(&known) = self.cleared_positions.get(&identity) {
            let fields = &mut self.cleared[known].1;
            if !fields.contains(&child.field) {
                fields.push(child.field);
            }
            return;
        }

        self.bytes += weight(&row);
        self.cleared_positions
            .insert(identity.clone(), self.cleared.len());
        let touched = Touched {
            entity: child.entity,
            identity,
            row,
        };
        self.cleared.push((touched, vec![child.field]));
    }
}

/// Returns rows by entity.
fn by_entity(rows: &[Touched]) -> BTreeMap<usize, Vec<&Row>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for touched in rows {
        all.entry(touched.entity).or_default().push(&touched.row);
    }
    all
}

/// Returns the values by which other rows can refer to these rows, by entity.
fn referred<'a>(catalog: &Catalog, rows: &'a [Touched]) -> BTreeMap<usize, Vec<&'a Value>> {
    let mut ids = BTreeMap::<_, Vec<_>>::new();
    for touched in rows {
        let id = catalog.get(touched.entity).reference(&touched.row);
        ids.entry(touched.entity).or_default().extend(id);
    }
    ids
}

/// Returns the order in which rows are announced: each row after all rows that refer to it, as far
/// as there is such an order.
fn children_first(
    catalog: &Catalog,
    deleted: &[Touched],
    positions: &HashMap<CacheKey, usize>,
) -> Vec<usize> {
    let mut parents = vec![Vec::new(); deleted.len()];
    let mut waiting_for = vec![0_usize; deleted.len()];
    for (index, touched) in deleted.iter().enumerate() {
        for reference in &catalog.get(touched.entity).parents {
            let parent = catalog.get(reference.entity).schema.name();
            let identity = CacheKey::primary(parent, &touched.row.0[reference.field]);
            if let Some(&parent) = positions.get(&identity)
                && parent != index
            {
                parents[index].push(parent);
                waiting_for[parent] += 1;
            }
        }
    }

    let mut ready: VecDeque<_> = (0..deleted.len())
        .filter(|&row| waiting_for[row] == 0)
        .collect();
    let mut placed = vec![false; deleted.len()];
    let mut order = Vec::with_capacity(deleted.len());
    let mut last = deleted.len();

    while order.len() < deleted.len() {
        let Some(next) = ready.pop_front() else {
            // Only circles are left: break one.
            last -= 1;
            if !placed[last] {
                ready.push_back(last);
            }
            continue;
        };
        if std::mem::replace(&mut placed[next], true) {
            continue;
        }
        order.push(next);

        for &parent in &parents[next] {
            waiting_for[parent] -= 1;
            if waiting_for[parent] == 0 {
                ready.push_back(parent);
            }
        }
    }

    order
}
