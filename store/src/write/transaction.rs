//! What a write does inside its transaction: reads the true predecessor, checks, stores, and
//! collects each row that changed and each cache key that may hold one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidings_core::{
    Auto, Chain, Field, OnUpdate, PrimaryKey, Row, Schema, TimestampMicros, Value, Violations,
    clock::{Clock, Tick},
};

use crate::{
    engine::{Refused, Session, Sql, statements::Pages},
    error::Error,
    live::Live,
    parameter::{Owned, Parameter},
    write::{
        catalog::{Catalog, Stored},
        changes::{BufferedChanges, ChangeBuffer},
    },
};

/// How many primary keys go into one statement's list.
pub(crate) const CHUNK: usize = 500;

/// A savepoint around the statements that store many rows. If one of them is refused, they are
/// undone, and the rows are stored one by one.
const SAVEPOINT: &str = "SAVEPOINT tidings_rows";
const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT tidings_rows";
const RELEASE: &str = "RELEASE SAVEPOINT tidings_rows";

/// How a row is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    New,
    /// In place of its predecessor, with which it cannot clash.
    Over,
}

/// How long a transaction may be open, since others may wait for what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    clock: Arc<dyn Clock>,
    until: Tick,
    length: Duration,
}

impl Limit {
    /// Returns the limit of a transaction that begins now.
    pub(crate) fn starting(clock: &Arc<dyn Clock>, length: Duration) -> Self {
        Self {
            until: clock.now().plus(length),
            clock: Arc::clone(clock),
            length,
        }
    }

    /// Returns an error once the limit has passed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.clock.now() < self.until {
            Ok(())
        } else {
            Err(Error::TooLong { limit: self.length })
        }
    }

    /// Resolves at the limit.
    pub(crate) fn reached(&self) -> impl Future<Output = ()> + Send + use<> {
        self.clock.sleep_until(self.until)
    }
}

/// What a row was before it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before<'a> {
    /// A new row as given: no other row has the values that are generated for it.
    Given(&'a Row),
    /// The row that it replaces: no other row has the unique values that stay the same.
    Old(&'a Row),
}

impl Before<'_> {
    /// Returns whether another row may have the values of these fields.
    pub(crate) fn leaves_open(self, fields: &[usize], row: &Row, declared: &[Field]) -> bool {
        match self {
            Self::Given(given) => fields.iter().all(|&field| {
                let was_absent = given.0.get(field).is_none_or(Value::is_null);
                !(was_absent && declared[field].auto_value() == Some(Auto::Random))
            }),
            Self::Old(old) => fields.iter().any(|&field| old.0[field] != row.0[field]),
        }
    }
}

/// An open transaction, with its changes so far.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) catalog: &'a Catalog,
    session: &'a mut dyn Session,
    now: TimestampMicros,
    limit: Limit,
    pub(crate) changes: ChangeBuffer,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        session: &'a mut dyn Session,
        now: TimestampMicros,
        limit: Limit,
    ) -> Self {
        Self {
            catalog,
            session,
            now,
            limit,
            changes: ChangeBuffer::default(),
        }
    }

    /// Returns the changes and the keys to evict.
    pub(crate) fn finish(self) -> BufferedChanges {
        self.changes.finish()
    }

    /// Reads and locks the row with these values of fields that are unique together.
    pub(crate) async fn by_key(
        &mut self,
        entity: usize,
        key: &[(usize, Value)],
    ) -> Result<Option<Row>, Error> {
        let stored = self.catalog.get(entity);
        let Some(unique) = stored
            .statements
            .by_fields(key.iter().map(|(field, _)| *field))
        else {
            return Ok(None);
        };
        let values = stored.parameters(key);
        Ok(self.rows(stored, &unique.locking, values).await?.pop())
    }

    /// Runs a statement that reads rows of an entity, or counts them.
    pub(crate) async fn read(
        &mut self,
        sql: &Sql,
        schema: &'static Schema,
        parameters: &[Owned],
    ) -> Result<Vec<Live<Row>>, Error> {
        self.limit.check()?;
        let parameters = parameters.iter().map(Owned::as_parameter).collect();
        self.session.read(sql, schema, parameters).await
    }

    /// Stores new rows, many with one statement. Returns them with their generated values.
    pub(crate) async fn insert_many(
        &mut self,
        entity: usize,
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, Error> {
        let stored = self.catalog.get(entity);
        let mut complete = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let given = stored.statements.expired.as_ref().map(|_| row.clone());
            let row = stored.schema.complete_insert(row, self.now);
            let row = row.map_err(|violations| of_row(stored, index, violations))?;
            if let Some(given) = given {
                self.remove_expired_conflicts(entity, &row, Before::Given(&given))
                    .await?;
            }
            complete.push(row);
        }

        if complete.is_empty() {
            return Ok(complete);
        }

        self.session.run(SAVEPOINT).await?;
        let (sql, most) = &stored.statements.insert_many;
        for rows in complete.chunks(*most) {
            let refused = if rows.len() == *most {
                let values = rows.iter().flat_map(|row| stored.values(row)).collect();
                self.change(sql, values).await.err()
            } else {
                self.insert_each(stored, rows).await
            };

            match refused {
                None => {}
                Some(Refused::Failed(error)) => return Err(error),
                // Stored one after the other, the refused row returns its reason.
                Some(Refused::Unique(broken) | Refused::Reference(broken)) => {
                    self.session.run(ROLLBACK_TO).await?;
                    for row in &complete {
                        self.store_new(stored, row).await?;
                    }
                    // The conflicting row is gone by now.
                    tracing::debug!(error = %Chain(&broken.error), "many rows were stored one by one");
                    break;
                }
            }
        }

        self.session.run(RELEASE).await?;
        for row in &complete {
            self.changes.created(stored.schema, row);
        }

        Ok(complete)
    }

    /// Stores rows one by one; returns the reason if one is refused.
    async fn insert_each(&mut self, stored: &Stored, rows: &[Row]) -> Option<Refused> {
        for row in rows {
            let values = stored.values(row).collect();
            if let Err(refused) = self.change(&stored.statements.insert, values).await {
                return Some(refused);
            }
        }
        None
    }

    /// Stores a complete row as a new one.
    async fn store_new(&mut self, stored: &Stored, row: &Row) -> Result<(), Error> {
        let values = stored.values(row).collect();
        match self.change(&stored.statements.insert, values).await {
            Ok(_) => Ok(()),
            Err(refused) => Err(self.explain(stored, row, Place::New, refused).await),
        }
    }

    /// Stores a new row. Returns it with its generated values.
    pub(crate) async fn insert(&mut self, entity: usize, row: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let given = stored.statements.expired.as_ref().map(|_| row.clone());
        let row = stored
            .schema
            .complete_insert(row, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        if let Some(given) = given {
            self.remove_expired_conflicts(entity, &row, Before::Given(&given))
                .await?;
        }

        self.store_new(stored, &row).await?;
        self.changes.created(stored.schema, &row);
        Ok(row)
    }

    /// Stores a row in place of its predecessor. An update that changes no value is an update too.
    pub(crate) async fn update(
        &mut self,
        entity: usize,
        old: Row,
        mut new: Row,
    ) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        stored.schema.count_up(&old, &mut new);
        let new = stored
            .schema
            .complete_update(new, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        self.store_over(entity, old, new).await
    }

    /// Stores a row in place of its predecessor, with generated values for absent fields, as for a
    /// new row.
    pub(crate) async fn replace(
        &mut self,
        entity: usize,
        old: Row,
        new: Row,
    ) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let mut new = stored
            .schema
            .complete_insert(new, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        stored.schema.count_up(&old, &mut new);
        self.store_over(entity, old, new).await
    }

    /// Stores a complete row in place of its predecessor, whose primary key it must keep.
    async fn store_over(&mut self, entity: usize, old: Row, new: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let schema = stored.schema;
        let kept = schema.check_kept(&old, &new);
        kept.map_err(|violations| Error::violations(schema.name(), violations))?;
        self.remove_expired_conflicts(entity, &new, Before::Old(&old))
            .await?;

        let fields = schema.fields().iter().zip(&new.0);
        let others = fields.filter(|(field, _)| !field.is_primary_key());
        let mut values: Vec<_> = others
            .map(|(field, value)| Parameter::of(field, value))
            .collect();
        values.extend(stored.key_of(&new));

        let updated = self.change(&stored.statements.update, values);
        if let Err(refused) = updated.await {
            return Err(self.explain(stored, &new, Place::Over, refused).await);
        }

        self.changes.updated(schema, old, &new);
        self.evict_children(entity, &new).await?;
        Ok(new)
    }

    /// Evicts the rows that are evicted with an updated parent, to any depth.
    async fn evict_children(&mut self, entity: usize, row: &Row) -> Result<(), Error> {
        let catalog = self.catalog;
        let mut seen = HashSet::from([catalog.get(entity).identity(row)]);
        let referred = catalog.get(entity).reference(row).cloned();
        let mut parents = vec![(entity, Vec::from_iter(referred))];
        while let Some((parent, ids)) = parents.pop() {
            let children = catalog.get(parent).children.iter();
            for child in children.filter(|child| child.on_update == OnUpdate::Evict) {
                let stored = catalog.get(child.entity);
                let mut next = Vec::new();
                for ids in ids.chunks(CHUNK) {
                    let mut after = None;
                    loop {
                        let pages = &child.touched;
                        let rows = self.page(stored, pages, (catalog.get(parent), ids), after);
                        let rows = rows.await?;
                        after = full(&rows).map(|last| stored.schema.key_of(last));

                        for row in rows {
                            if seen.insert(stored.identity(&row)) {
                                self.changes.evict(stored.schema, &row);
                                next.extend(stored.reference(&row).cloned());
                            }
                        }

                        // Then the whole entity is purged in any case.
                        if self.changes.is_overflown() {
                            self.changes.touch(stored.schema);
                            return Ok(());
                        }
                        if after.is_none() {
                            break;
                        }
                    }
                }

                if !next.is_empty() {
                    parents.push((child.entity, next));
                }
            }
        }

        Ok(())
    }

    /// Returns one page of the rows that refer to one of a list of rows of their parent, in the
    /// order of their primary keys, after a given key.
    pub(crate) async fn page(
        &mut self,
        stored: &Stored,
        pages: &Pages,
        (parent, ids): (&Stored, &[Value]),
        after: Option<PrimaryKey>,
    ) -> Result<Vec<Row>, Error> {
        let mut parameters = vec![parent.references(ids)];
        parameters.extend(after.iter().flat_map(|key| stored.key(key)));
        parameters.push(Parameter::Count(CHUNK));
        let sql = if after.is_some() {
            &pages.next
        } else {
            &pages.first
        };
        self.rows(stored, sql, parameters).await
    }

    /// Returns the rows that a statement selects from an entity's table.
    pub(crate) async fn rows(
        &mut self,
        stored: &Stored,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<Row>, Error> {
        self.limit.check()?;
        self.session.rows(sql, stored.schema, parameters).await
    }

    /// Runs a statement that changes rows. Returns their number.
    pub(crate) async fn change(
        &mut self,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<u64, Refused> {
        self.limit.check()?;
        self.session.change(sql, parameters).await
    }

    /// Returns whether no other node is removing expired rows from a table.
    pub(crate) async fn removes_alone(&mut self, table: &str) -> Result<bool, Error> {
        self.session.removes_alone(table).await
    }

    /// Defers the check of references to the commit.
    pub(crate) async fn defer_references(&mut self) -> Result<(), Error> {
        self.session.defer_references().await
    }
}

/// Returns the last row of a full page: there may be more after it.
pub(crate) fn full(page: &[Row]) -> Option<&Row> {
    page.last().filter(|_| page.len() >= CHUNK)
}

/// Returns the error for the violations of one of several rows.
fn of_row(stored: &Stored, index: usize, violations: Violations) -> Error {
    let mut named = Violations::default();
    for violation in violations.0 {
        let field = format!("[{index}].{}", violation.field);
        named.add(field, violation.rule, violation.message);
    }
    Error::violations(stored.schema.name(), named)
}
