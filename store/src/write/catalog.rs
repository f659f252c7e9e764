//! The entities of an attached store: their statements, and the references between them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tidings_core::{CacheKey, Field, OnDelete, OnUpdate, PrimaryKey, Row, Schema, Value};

use crate::{
    engine::{
        Dialect, Sql,
        statements::{self, Pages, Statements},
    },
    hook::Hooks,
    page::Shape,
    parameter::Parameter,
};

/// How many different statements for pages are kept; further ones are built for each call.
const PAGES_KEPT: usize = 64;

/// The attached entities.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    entities: Vec<Stored>,
    by_name: HashMap<&'static str, usize>,
}

/// One entity.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) schema: &'static Schema,
    dialect: &'static dyn Dialect,
    pub(crate) statements: Statements,
    pub(crate) parents: Vec<Parent>,
    pub(crate) children: Vec<Child>,
    pub(crate) hooks: Hooks,
    pages: Mutex<HashMap<(Selected, Shape), Sql>>,
}

/// What a statement of a shape returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Selected {
    Rows,
    Count,
}

/// A reference of this entity to another, or to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    pub(crate) field: usize,
    pub(crate) entity: usize,
}

/// A reference of another entity, or of the same one, to this.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) entity: usize,
    pub(crate) field: usize,
    pub(crate) on_delete: OnDelete,
    pub(crate) on_update: OnUpdate,
    /// The rows that refer to one of a list of this entity's primary keys, locked until the
    /// transaction ends.
    pub(crate) referring: Pages,
    /// The same rows, not locked.
    pub(crate) touched: Pages,
    /// The rows that refer to a missing row of this entity.
    pub(crate) orphaned: Pages,
    /// Deletes some of the rows that refer to one of a list; parameters: the list, their number.
    pub(crate) delete: Sql,
    /// Some of these rows, not locked; parameters: the list, the number of rows.
    pub(crate) restricting: Sql,
}

impl Catalog {
    /// Makes the catalog of schemas that `check_all` has passed.
    pub(crate) fn of(dialect: &'static dyn Dialect, schemas: &[&'static Schema]) -> Self {
        let by_name: HashMap<_, _> = schemas
            .iter()
            .enumerate()
            .map(|(index, schema)| (schema.name(), index))
            .collect();
        let stored = schemas.iter().map(|schema| Stored::of(dialect, schema));
        let mut entities: Vec<_> = stored.collect();

        for (index, schema) in schemas.iter().enumerate() {
            for (field, declared) in schema.fields().iter().enumerate() {
                let Some(foreign) = declared.reference() else {
                    continue;
                };
                let Some(&parent) = by_name.get(foreign.entity.as_str()) else {
                    continue;
                };

                entities[index].parents.push(Parent {
                    field,
                    entity: parent,
                });
                entities[parent].children.push(Child {
                    entity: index,
                    field,
                    on_delete: foreign.on_delete,
                    on_update: foreign.on_update,
                    referring: statements::rows_referring(dialect, schema, field),
                    touched: statements::rows_touched(dialect, schema, field),
                    orphaned: statements::rows_orphaned(dialect, schema, field, schemas[parent]),
                    delete: statements::delete_referring(dialect, schema, field),
                    restricting: statements::rows_restricting(dialect, schema, field),
                });
            }
        }

        Self { entities, by_name }
    }

    pub(crate) fn get(&self, entity: usize) -> &Stored {
        &self.entities[entity]
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.entities
            .iter()
            .map(|entity| entity.schema.name().to_owned())
            .collect()
    }
}

impl Stored {
    fn of(dialect: &'static dyn Dialect, schema: &'static Schema) -> Self {
        Self {
            schema,
            dialect,
            statements: Statements::of(dialect, schema),
            parents: Vec::new(),
            children: Vec::new(),
            hooks: Hooks::default(),
            pages: Mutex::default(),
        }
    }

    /// Returns the field that other entities refer to: the primary key, if it is one field.
    pub(crate) fn referred(&self) -> Option<&'static Field> {
        let field = self.schema.single_key()?;
        Some(&self.schema.fields()[field])
    }

    /// Returns the value by which other rows can refer to this one; `None` if the primary key is
    /// several fields.
    pub(crate) fn reference<'a>(&self, row: &'a Row) -> Option<&'a Value> {
        row.0.get(self.schema.single_key()?)
    }

    /// Returns the parameter for a list of rows that others can refer to.
    pub(crate) fn references<'a>(&self, ids: impl IntoIterator<Item = &'a Value>) -> Parameter<'a> {
        match self.referred() {
            Some(field) => Parameter::list(field, ids),
            // Nothing refers to a key of several fields.
            None => Parameter::Texts(&[]),
        }
    }

    /// Returns the parameters for a row's primary key, one for each part.
    pub(crate) fn key_of<'a>(&self, row: &'a Row) -> impl Iterator<Item = Parameter<'a>> {
        let fields = self.schema.primary_key().iter();
        fields.map(|&field| Parameter::of(&self.schema.fields()[field], &row.0[field]))
    }

    /// Returns the parameters for a primary key, one for each part.
    pub(crate) fn key<'a>(&self, key: &'a PrimaryKey) -> impl Iterator<Item = Parameter<'a>> {
        let fields = self.schema.primary_key_fields();
        fields
            .zip(key.parts())
            .map(|(field, part)| Parameter::of(field, part))
    }

    /// Returns the parameter for a list of primary keys, for [`Statements::delete`].
    pub(crate) fn keys<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a Row> + Clone,
    ) -> Parameter<'a> {
        let list = |&field: &usize| {
            let rows = rows.clone().into_iter();
            let values: Vec<_> = rows.filter_map(|row| row.0.get(field)).collect();
            (self.schema.fields()[field].kind(), values)
        };

        match self.schema.primary_key() {
            [field] => {
                let (kind, values) = list(field);
                Parameter::Many(kind, values)
            }
            fields => Parameter::Keys(fields.iter().map(list).collect()),
        }
    }

    /// Returns the parameters for the values of a row.
    pub(crate) fn values<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = Parameter<'a>> {
        let fields = self.schema.fields().iter();
        fields
            .zip(&row.0)
            .map(|(field, value)| Parameter::of(field, value))
    }

    /// Returns the parameters for values of fields.
    pub(crate) fn parameters<'a>(&self, values: &'a [(usize, Value)]) -> Vec<Parameter<'a>> {
        let fields = self.schema.fields();
        let values = values.iter();
        values
            .map(|(field, value)| Parameter::of(&fields[*field], value))
            .collect()
    }

    /// Returns a key that identifies the row among the rows of all entities.
    pub(crate) fn identity(&self, row: &Row) -> CacheKey {
        self.schema.primary_cache_key(row)
    }

    /// Returns the statement for pages of a shape.
    pub(crate) fn page(&self, shape: &Shape) -> Sql {
        self.shaped(Selected::Rows, shape, || {
            statements::page(self.dialect, self.schema, shape)
        })
    }

    /// Returns the statement that counts the rows of a shape.
    pub(crate) fn count(&self, shape: &Shape) -> Sql {
        self.shaped(Selected::Count, shape, || {
            statements::count(self.dialect, self.schema, shape)
        })
    }

    fn shaped(&self, selected: Selected, shape: &Shape, write: impl FnOnce() -> Sql) -> Sql {
        let shape = (selected, shape.clone());
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sql) = pages.get(&shape) {
            return Sql::clone(sql);
        }

        let sql = write();
        if pages.len() < PAGES_KEPT {
            pages.insert(shape, Sql::clone(&sql));
        }

        sql
    }
}
