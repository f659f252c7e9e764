//! What a write does inside its transaction: reads the true predecessor, checks, stores, and notes each row
//! that changed and each cache key that may hold one.

use std::collections::HashSet;

use sqlx::{SqliteConnection, error::ErrorKind};
use tidings_core::{Auto, CacheKey, Field, Operation, Patch, Row, Timestamp, Value, Violations};

use crate::{
    Error, RowChange, Selector, Upserted,
    sqlite::connection::{change, rows},
    sqlite::statements::Sql,
    sqlite::values::{arguments, bind, decode, list},
    write::catalog::{Catalog, Stored},
};

/// How many primary keys go into one statement's list.
pub(crate) const CHUNK: usize = 500;

/// What a write is to do.
pub(crate) enum Write {
    Insert(Row),
    Update { selector: Selector, edit: Edit },
    Upsert { selector: Selector, row: Patch },
    Delete { selector: Selector },
}

/// How an update makes the new row of the old one.
pub(crate) enum Edit {
    Patch(Patch),
    With(Box<dyn FnOnce(Row) -> Result<Row, Error> + Send>),
}

/// The row that a write was about, as it is now (a deleted one: as it was last); none if there is none.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) row: Option<Row>,
    pub(crate) upserted: Option<Upserted>,
}

/// An open transaction and what it has changed so far.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) connection: &'a mut SqliteConnection,
    now: Timestamp,
    changes: Vec<RowChange>,
    evict: Vec<CacheKey>,
    /// What `evict` holds.
    evicted: HashSet<CacheKey>,
}

/// What a selector leads to.
enum Found {
    Row(Row),
    Nothing,
    /// A row whose field of this index is not as the selector demands.
    Elsewhere(usize),
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        connection: &'a mut SqliteConnection,
        now: Timestamp,
    ) -> Self {
        Self {
            catalog,
            connection,
            now,
            changes: Vec::new(),
            evict: Vec::new(),
            evicted: HashSet::new(),
        }
    }

    /// Does a write on an entity.
    pub(crate) async fn run(&mut self, entity: usize, write: Write) -> Result<Written, Error> {
        let mut written = Written::default();
        match write {
            Write::Insert(row) => written.row = Some(self.insert(entity, row).await?),
            Write::Update { selector, edit } => {
                if let Found::Row(old) = self.find(entity, &selector).await? {
                    let new = match edit {
                        Edit::Patch(patch) => old.patched(&patch),
                        Edit::With(edit) => edit(old.clone())?,
                    };
                    written.row = Some(self.update(entity, old, new).await?);
                }
            }
            Write::Upsert { selector, row } => {
                let (row, upserted) = self.upsert(entity, &selector, &row).await?;
                written.row = Some(row);
                written.upserted = Some(upserted);
            }
            Write::Delete { selector } => {
                if let Found::Row(row) = self.find(entity, &selector).await? {
                    self.delete(entity, row.clone()).await?;
                    written.row = Some(row);
                }
            }
        }
        Ok(written)
    }

    /// What was changed and what is to be evicted.
    pub(crate) fn into_changes(self) -> (Vec<RowChange>, Vec<CacheKey>) {
        (self.changes, self.evict)
    }

    async fn find(&mut self, entity: usize, selector: &Selector) -> Result<Found, Error> {
        let stored = self.catalog.get(entity);
        let Some(sql) = stored.statements.by_field(selector.field) else {
            return Ok(Found::Nothing);
        };
        if selector.value.is_null() {
            return Ok(Found::Nothing);
        }
        let mut found = self.rows(stored, sql, [&selector.value]).await?;
        Ok(match found.pop() {
            None => Found::Nothing,
            Some(row) => match mismatch(selector, &row) {
                None => Found::Row(row),
                Some(field) => Found::Elsewhere(field),
            },
        })
    }

    async fn insert(&mut self, entity: usize, row: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let row = stored
            .schema
            .complete_insert(row, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        let inserted = change(
            self.connection,
            &stored.statements.insert,
            arguments(&row.0)?,
        );
        if let Err(error) = inserted.await {
            return Err(self.explain(stored, &row, false, error).await);
        }
        self.evict_row(stored, &row);
        self.changes.push(RowChange {
            schema: stored.schema,
            operation: Operation::Create,
            row: row.clone(),
            old_row: None,
        });
        Ok(row)
    }

    /// Stores a row over its predecessor. One that changes nothing is an update like any other.
    pub(crate) async fn update(&mut self, entity: usize, old: Row, new: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let new = stored
            .schema
            .complete_update(new, self.now)
            .map_err(|violations| Error::violations(stored.schema.name(), violations))?;
        self.replace(entity, old, new).await
    }

    async fn upsert(
        &mut self,
        entity: usize,
        selector: &Selector,
        given: &Patch,
    ) -> Result<(Row, Upserted), Error> {
        let stored = self.catalog.get(entity);
        let schema = stored.schema;
        let old = match self.find(entity, selector).await? {
            Found::Row(old) => Some(old),
            Found::Nothing => None,
            Found::Elsewhere(field) => {
                return Err(Error::Condition {
                    entity: schema.name().to_owned(),
                    field: schema.fields()[field].name().to_owned(),
                });
            }
        };
        let mut row = Row::empty(schema);
        if let Some(old) = &old {
            for (index, field) in schema.fields().iter().enumerate() {
                if is_kept(field) {
                    row.0[index].clone_from(&old.0[index]);
                }
            }
        }
        for (index, value) in &given.0 {
            if let (Some(field), Some(slot)) = (schema.fields().get(*index), row.0.get_mut(*index))
                && !(is_kept(field) && value.is_null())
            {
                slot.clone_from(value);
            }
        }
        for (index, value) in selector
            .and
            .iter()
            .chain([&(selector.field, selector.value.clone())])
        {
            row.0[*index].clone_from(value);
        }
        let Some(old) = old else {
            return Ok((self.insert(entity, row).await?, Upserted::Created));
        };
        let row = schema
            .complete_insert(row, self.now)
            .map_err(|violations| Error::violations(schema.name(), violations))?;
        Ok((self.replace(entity, old, row).await?, Upserted::Replaced))
    }

    /// Stores a complete row over its predecessor, whose primary key it must keep.
    async fn replace(&mut self, entity: usize, old: Row, new: Row) -> Result<Row, Error> {
        let stored = self.catalog.get(entity);
        let schema = stored.schema;
        if stored.id(&old) != stored.id(&new) {
            let mut violations = Violations::default();
            let id = &schema.fields()[schema.primary_key()];
            violations.add(id.name(), "the primary key cannot be changed");
            return Err(Error::violations(schema.name(), violations));
        }
        let mut values = arguments(
            new.0
                .iter()
                .zip(schema.fields())
                .filter(|(_, field)| !field.is_primary_key())
                .map(|(value, _)| value),
        )?;
        bind(&mut values, stored.id(&new))?;
        let updated = change(self.connection, &stored.statements.update, values);
        if let Err(error) = updated.await {
            return Err(self.explain(stored, &new, true, error).await);
        }
        self.evict_row(stored, &old);
        self.evict_row(stored, &new);
        self.evict_children(entity, &new).await?;
        self.changes.push(RowChange {
            schema,
            operation: Operation::Update,
            row: new.clone(),
            old_row: Some(old),
        });
        Ok(new)
    }

    /// Notes that a row was deleted.
    pub(crate) fn deleted(&mut self, entity: usize, row: Row) {
        let stored = self.catalog.get(entity);
        self.evict_row(stored, &row);
        self.changes.push(RowChange {
            schema: stored.schema,
            operation: Operation::Delete,
            row,
            old_row: None,
        });
    }

    fn evict_row(&mut self, stored: &Stored, row: &Row) {
        for key in stored.schema.cache_keys_of(row) {
            if self.evicted.insert(key.clone()) {
                self.evict.push(key);
            }
        }
    }

    /// Evicts the rows that an update of their parent takes along, to any depth.
    async fn evict_children(&mut self, entity: usize, row: &Row) -> Result<(), Error> {
        let mut seen = HashSet::from([self.catalog.get(entity).identity(row)]);
        let mut parents = vec![(entity, vec![self.catalog.get(entity).id(row).clone()])];
        while let Some((parent, ids)) = parents.pop() {
            let children = self.catalog.get(parent).children.iter();
            for child in children.filter(|child| child.evict_on_update) {
                let stored = self.catalog.get(child.entity);
                let mut next = Vec::new();
                for ids in ids.chunks(CHUNK) {
                    for row in self.rows(stored, &child.referring, [&list(ids)]).await? {
                        if seen.insert(stored.identity(&row)) {
                            self.evict_row(stored, &row);
                            next.push(stored.id(&row).clone());
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

    /// The rows that a statement selects from an entity's table.
    pub(crate) async fn rows(
        &mut self,
        stored: &Stored,
        sql: &Sql,
        parameters: impl IntoIterator<Item = &Value>,
    ) -> Result<Vec<Row>, Error> {
        let found = rows(self.connection, sql, arguments(parameters)?).await?;
        let decoded = found.iter().map(|row| decode(stored.schema, row));
        Ok(decoded.collect::<Result<_, _>>()?)
    }

    /// Says which constraint a row broke. A statement that fails leaves its transaction as it was, so the
    /// row that is in the way, or the one that is missing, can be looked for.
    async fn explain(
        &mut self,
        stored: &Stored,
        row: &Row,
        is_update: bool,
        error: sqlx::Error,
    ) -> Error {
        let explained = match error.as_database_error().map(|error| error.kind()) {
            Some(ErrorKind::UniqueViolation) => self.clash(stored, row, is_update).await,
            Some(ErrorKind::ForeignKeyViolation) => self.missing(stored, row).await,
            _ => Ok(None),
        };
        match explained {
            Ok(Some(explained)) | Err(explained) => explained,
            // A constraint that the schema does not know of.
            Ok(None) => error.into(),
        }
    }

    async fn clash(
        &mut self,
        stored: &Stored,
        row: &Row,
        is_update: bool,
    ) -> Result<Option<Error>, Error> {
        let own = if is_update {
            stored.id(row)
        } else {
            &Value::Null
        };
        for unique in &stored.statements.unique {
            let values: Vec<_> = unique.fields.iter().map(|&field| &row.0[field]).collect();
            let parameters = values.iter().copied().chain([own]);
            if !self
                .rows(stored, &unique.other, parameters)
                .await?
                .is_empty()
            {
                let names = unique.fields.iter();
                return Ok(Some(Error::Unique {
                    entity: stored.schema.name().to_owned(),
                    fields: names
                        .map(|&field| stored.schema.fields()[field].name().to_owned())
                        .collect(),
                    values: values.into_iter().cloned().collect(),
                }));
            }
        }
        Ok(None)
    }

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
            if !itself && self.rows(parent, by_id, [value]).await?.is_empty() {
                return Ok(Some(Error::ForeignKey {
                    entity: stored.schema.name().to_owned(),
                    field: stored.schema.fields()[reference.field].name().to_owned(),
                    references: parent.schema.name().to_owned(),
                    value: value.clone(),
                }));
            }
        }
        Ok(None)
    }
}

/// The first of a selector's further conditions that a row does not meet.
pub(crate) fn mismatch(selector: &Selector, row: &Row) -> Option<usize> {
    let mut conditions = selector.and.iter();
    conditions
        .find(|(field, value)| row.0.get(*field) != Some(value))
        .map(|(field, _)| *field)
}

/// Whether a replaced row hands its value on where none is given.
fn is_kept(field: &Field) -> bool {
    field.is_primary_key() || field.auto_value() == Some(Auto::CreateTime)
}
