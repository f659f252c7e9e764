//! What a write does inside its transaction: reads the true predecessor, checks, stores, and notes
//! each row that changed and each cache key that may hold one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidings_core::{
    Auto, Field, Row, TimestampMicros, Value,
    clock::{Clock, Tick},
};

use crate::{
    engine::{Broken, Constraint, Refused, Session, Sql, statements::Pages},
    error::Error,
    parameter::Parameter,
    write::{
        catalog::{Catalog, Stored},
        notes::{Noted, Notes},
    },
};

/// How many primary keys go into one statement's list.
pub(crate) const CHUNK: usize = 500;

/// Where a row is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    New,
    /// Over its predecessor, with which it cannot clash.
    Over,
}

/// How long a transaction may be open: others may wait for what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    clock: Arc<dyn Clock>,
    until: Tick,
    length: Duration,
}

impl Limit {
    /// Of a transaction that begins now.
    pub(crate) fn starting(clock: &Arc<dyn Clock>, length: Duration) -> Self {
        Self {
            until: clock.now().plus(length),
            clock: Arc::clone(clock),
            length,
        }
    }

    /// Refuses to go on beyond the limit.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.clock.now() < self.until {
            Ok(())
        } else {
            Err(self.exceeded())
        }
    }

    pub(crate) fn exceeded(&self) -> Error {
        Error::TooLong { limit: self.length }
    }
}

/// What is known of a row before it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before<'a> {
    /// A new row as it was asked for: what was made for it is no other row's.
    Given(&'a Row),
    /// The row that it is stored over: what stays the same is no other row's.
    Old(&'a Row),
}

impl Before<'_> {
    /// Whether another row may have the values of these fields.
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

/// An open transaction and what it has changed so far.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) catalog: &'a Catalog,
    session: &'a mut dyn Session,
    now: TimestampMicros,
    limit: Limit,
    pub(crate) notes: Notes,
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
            notes: Notes::default(),
        }
    }

    /// What was changed and what is to be evicted.
    pub(crate) fn finish(self) -> Noted {
        self.notes.finish()
    }

    /// Reads the row with a value of a unique field, and holds it.
    pub(crate) async fn by_field(
        &mut self,
        entity: usize,
        field: usize,
        value: &Value,
    ) -> Result<Option<Row>, Error> {
        let stored = self.catalog.get(entity);
        let Some(sql) = stored.statements.by_field_holding(field) else {
            return Ok(None);
        };
        let value = Parameter::of(&stored.schema.fields()[field], value);
        Ok(self.rows(stored, sql, vec![value]).await?.pop())
    }

    /// Stores a new row and returns it with what was made for it.
    pub(crate) async fn insert(&mut self, entity: usize, row: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let given = stored.statements.expired.as_ref().map(|_| row.clone());
        let row = stored
            .schema
            .complete_insert(row, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        if let Some(given) = given {
            self.make_way(entity, &row, Before::Given(&given)).await?;
        }
        let fields = stored.schema.fields().iter();
        let values = fields.zip(&row.0);
        let values = values.map(|(field, value)| Parameter::of(field, value));
        let inserted = self.change(&stored.statements.insert, values.collect());
        if let Err(refused) = inserted.await {
            return Err(self.explain(stored, &row, Place::New, refused).await);
        }
        self.notes.created(stored.schema, &row);
        Ok(row)
    }

    /// Stores a row over its predecessor. One that changes nothing is an update like any other.
    pub(crate) async fn update(&mut self, entity: usize, old: Row, new: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let new = stored
            .schema
            .complete_update(new, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        self.store_over(entity, old, new).await
    }

    /// Stores a row in the place of its predecessor: what it lacks is made, as for a new one.
    pub(crate) async fn replace(
        &mut self,
        entity: usize,
        old: Row,
        new: Row,
    ) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let new = stored
            .schema
            .complete_insert(new, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        self.store_over(entity, old, new).await
    }

    /// Stores a complete row over its predecessor, whose primary key it must keep.
    async fn store_over(&mut self, entity: usize, old: Row, new: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let schema = stored.schema;
        let kept = schema.check_kept(&old, &new);
        kept.map_err(|violations| Error::violations(schema.name(), violations))?;
        self.make_way(entity, &new, Before::Old(&old)).await?;
        let fields = schema.fields().iter().zip(&new.0);
        let others = fields.filter(|(field, _)| !field.is_primary_key());
        let mut values: Vec<_> = others
            .map(|(field, value)| Parameter::of(field, value))
            .collect();
        values.push(Parameter::of(stored.key(), stored.id(&new)));
        let updated = self.change(&stored.statements.update, values);
        if let Err(refused) = updated.await {
            return Err(self.explain(stored, &new, Place::Over, refused).await);
        }
        self.notes.updated(schema, old, &new);
        self.evict_children(entity, &new).await?;
        Ok(new)
    }

    /// Evicts the rows that an update of their parent takes along, to any depth.
    async fn evict_children(&mut self, entity: usize, row: &Row) -> Result<(), Error> {
        let catalog = self.catalog;
        let mut seen = HashSet::from([catalog.get(entity).identity(row)]);
        let mut parents = vec![(entity, vec![catalog.get(entity).id(row).clone()])];
        while let Some((parent, ids)) = parents.pop() {
            let children = catalog.get(parent).children.iter();
            for child in children.filter(|child| child.evict_on_update) {
                let stored = catalog.get(child.entity);
                let mut next = Vec::new();
                for ids in ids.chunks(CHUNK) {
                    let mut after = None;
                    loop {
                        let pages = &child.touched;
                        let rows = self.page(stored, pages, (catalog.get(parent), ids), after);
                        let rows = rows.await?;
                        after = full(&rows).map(|last| stored.id(last).clone());
                        for row in rows {
                            if seen.insert(stored.identity(&row)) {
                                self.notes.evict(stored.schema, &row);
                                next.push(stored.id(&row).clone());
                            }
                        }
                        // What is cached of any entity is given up then.
                        if self.notes.is_overflown() {
                            self.notes.touch(stored.schema);
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

    /// One page of the rows that refer to one of a list of rows of their parent, in the order of
    /// their primary keys, beyond one of these.
    pub(crate) async fn page(
        &mut self,
        stored: &Stored,
        pages: &Pages,
        (parent, ids): (&Stored, &[Value]),
        after: Option<Value>,
    ) -> Result<Vec<Row>, Error> {
        let mut parameters = vec![Parameter::list(parent.key(), ids)];
        parameters.extend(after.iter().map(|id| Parameter::of(stored.key(), id)));
        parameters.push(Parameter::Count(CHUNK));
        let sql = if after.is_some() {
            &pages.next
        } else {
            &pages.first
        };
        self.rows(stored, sql, parameters).await
    }

    /// The rows that a statement selects from an entity's table.
    pub(crate) async fn rows(
        &mut self,
        stored: &Stored,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<Row>, Error> {
        self.limit.check()?;
        self.session.rows(sql, stored.schema, parameters).await
    }

    /// Runs a statement that changes rows; returns their number.
    pub(crate) async fn change(
        &mut self,
        sql: &Sql,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<u64, Refused> {
        self.limit.check()?;
        self.session.change(sql, parameters).await
    }

    /// Whether no other node is removing rows past their time from a table.
    pub(crate) async fn removes_alone(&mut self, table: &str) -> Result<bool, Error> {
        self.session.removes_alone(table).await
    }

    /// Lets the commit check references.
    pub(crate) async fn defer_references(&mut self) -> Result<(), Error> {
        self.session.defer_references().await
    }

    /// Says which constraint a row broke.
    async fn explain(
        &mut self,
        stored: &Stored,
        row: &Row,
        place: Place,
        refused: Refused,
    ) -> Error {
        let (explained, error) = match refused {
            Refused::Failed(error) => return error,
            Refused::Unique(Broken { by, error }) => {
                let explained = match by {
                    Constraint::Unnamed => self.clash(stored, row, place).await,
                    Constraint::Over(columns) => Ok(clash_over(stored, row, &columns)),
                    Constraint::Unknown => Ok(None),
                };
                (explained, error)
            }
            Refused::Reference(Broken { by, error }) => {
                let explained = match by {
                    Constraint::Unnamed => self.missing(stored, row).await,
                    Constraint::Over(columns) => Ok(self.missing_over(stored, row, &columns)),
                    Constraint::Unknown => Ok(None),
                };
                (explained, error)
            }
        };
        match explained {
            Ok(Some(explained)) | Err(explained) => explained,
            // A constraint that the schema does not know of.
            Ok(None) => error,
        }
    }

    /// Looks for the row that is in the way.
    async fn clash(
        &mut self,
        stored: &Stored,
        row: &Row,
        place: Place,
    ) -> Result<Option<Error>, Error> {
        for unique in &stored.statements.unique {
            let fields = unique.fields.iter();
            let values =
                fields.map(|&field| Parameter::of(&stored.schema.fields()[field], &row.0[field]));
            let found = self.rows(stored, &unique.other, values.collect()).await?;
            let own = place == Place::Over;
            if found
                .iter()
                .any(|other| !own || stored.id(other) != stored.id(row))
            {
                return Ok(Some(unique_violation(stored, row, &unique.fields)));
            }
        }
        Ok(None)
    }

    /// Looks for the reference that leads nowhere.
    async fn missing(&mut self, stored: &Stored, row: &Row) -> Result<Option<Error>, Error> {
        for reference in &stored.parents {
            let value = &row.0[reference.field];
            let parent = self.catalog.get(reference.entity);
            let by_id = parent.statements.by_field(parent.schema.primary_key());
            let Some(by_id) = by_id.filter(|_| !value.is_null()) else {
                continue;
            };
            // A row may refer to itself, and is not there yet.
            let itself = std::ptr::eq(parent, stored) && stored.id(row) == value;
            if itself {
                continue;
            }
            let id = Parameter::of(parent.key(), value);
            if self.rows(parent, by_id, vec![id]).await?.is_empty() {
                return Ok(Some(foreign_violation(
                    stored,
                    parent,
                    row,
                    reference.field,
                )));
            }
        }
        Ok(None)
    }

    /// The error for a reference of which the database named the column.
    fn missing_over(&self, stored: &Stored, row: &Row, columns: &[String]) -> Option<Error> {
        let [column] = columns else {
            return None;
        };
        let (field, _) = stored.schema.field(column)?;
        let mut parents = stored.parents.iter();
        let reference = parents.find(|reference| reference.field == field)?;
        let parent = self.catalog.get(reference.entity);
        Some(foreign_violation(stored, parent, row, field))
    }
}

/// The last row of a page that is full: there may be more behind it.
pub(crate) fn full(page: &[Row]) -> Option<&Row> {
    page.last().filter(|_| page.len() >= CHUNK)
}

/// The error for a unique constraint of which the database named the columns.
fn clash_over(stored: &Stored, row: &Row, columns: &[String]) -> Option<Error> {
    let fields = columns
        .iter()
        .map(|column| Some(stored.schema.field(column)?.0));
    let fields = fields.collect::<Option<Vec<_>>>()?;
    // In the order of the schema, whatever the index's is.
    let mut known = stored.statements.unique.iter();
    let declared = known.find(|unique| {
        unique.fields.len() == fields.len() && unique.fields.iter().all(|it| fields.contains(it))
    });
    let fields = declared.map_or(&fields, |unique| &unique.fields);
    Some(unique_violation(stored, row, fields))
}

fn unique_violation(stored: &Stored, row: &Row, fields: &[usize]) -> Error {
    let names = fields
        .iter()
        .map(|&field| stored.schema.fields()[field].name().to_owned());
    Error::Unique {
        entity: stored.schema.name().to_owned(),
        fields: names.collect(),
        // Masked where they are secrets: errors are logged.
        values: fields
            .iter()
            .map(|&field| stored.schema.fields()[field].shown(&row.0[field]))
            .collect(),
    }
}

fn foreign_violation(stored: &Stored, parent: &Stored, row: &Row, field: usize) -> Error {
    Error::ForeignKey {
        entity: stored.schema.name().to_owned(),
        field: stored.schema.fields()[field].name().to_owned(),
        references: parent.schema.name().to_owned(),
        value: stored.schema.fields()[field].shown(&row.0[field]),
    }
}
