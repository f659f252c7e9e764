//! What a write does inside its transaction: reads the true predecessor, checks, stores, and notes each row
//! that changed and each cache key that may hold one.

use std::collections::HashSet;

use sqlx::{SqliteConnection, error::ErrorKind};
use tidings_core::{CacheKey, Operation, Row, Timestamp, Value, Violations};

use crate::{
    error::Error,
    sink::RowChange,
    sqlite::connection::{change, rows},
    sqlite::statements::Sql,
    sqlite::values::{arguments, bind, decode, list},
    write::catalog::{Catalog, Stored},
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

    /// What was changed and what is to be evicted.
    pub(crate) fn into_changes(self) -> (Vec<RowChange>, Vec<CacheKey>) {
        (self.changes, self.evict)
    }

    /// Reads the row with a value of a unique field.
    pub(crate) async fn by_field(
        &mut self,
        entity: usize,
        field: usize,
        value: &Value,
    ) -> Result<Option<Row>, Error> {
        let stored = self.catalog.get(entity);
        let Some(sql) = stored.statements.by_field(field) else {
            return Ok(None);
        };
        Ok(self.rows(stored, sql, [value]).await?.pop())
    }

    /// Stores a new row and returns it with what was made for it.
    pub(crate) async fn insert(&mut self, entity: usize, row: Row) -> Result<Row, Error> {
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
            return Err(self.explain(stored, &row, Place::New, error).await);
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
            return Err(self.explain(stored, &new, Place::Over, error).await);
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
        place: Place,
        error: sqlx::Error,
    ) -> Error {
        let explained = match error.as_database_error().map(|error| error.kind()) {
            Some(ErrorKind::UniqueViolation) => self.clash(stored, row, place).await,
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
        place: Place,
    ) -> Result<Option<Error>, Error> {
        let own = match place {
            Place::Over => stored.id(row),
            Place::New => &Value::Null,
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
