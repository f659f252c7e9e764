//! The SQL of one table, built once when the store is attached.
//!
//! Names are quoted and values are always parameters. A list of any length is one parameter, so
//! that each statement has one text, which the driver prepares once per connection. A [`Dialect`]
//! supplies what differs between engines.

// Pages and counts of any shape.
mod shaped;

use std::{fmt, sync::Arc};

use sea_query::{
    Alias, DeleteStatement, Expr, ExprTrait as _, InsertStatement, Order, Query, SelectStatement,
    UpdateStatement,
};
use tidings_core::{Field, FieldKind, Schema};

pub(crate) use self::shaped::{count, page};
use crate::page::TagShape;

/// The text of a statement.
pub(crate) type Sql = Arc<str>;

/// A placeholder for parameters while a statement is built; the value itself is discarded.
const PARAMETER: i64 = 0;

/// The parts of a statement that differ between engines.
pub(crate) trait Dialect: fmt::Debug + Send + Sync {
    /// Returns the text of a statement.
    fn select(&self, statement: &SelectStatement) -> String;
    fn insert(&self, statement: &InsertStatement) -> String;
    fn update(&self, statement: &UpdateStatement) -> String;
    fn delete(&self, statement: &DeleteStatement) -> String;

    /// Returns a column as it is read.
    fn column(&self, field: &Field) -> Expr;

    /// Returns a parameter as it is stored in a column of a kind.
    fn parameter(&self, kind: FieldKind) -> Expr;

    /// Returns the condition that a column has the value of a parameter.
    fn equal(&self, field: &Field) -> Expr;

    /// Returns the condition that a column is one of a list, which is one parameter.
    fn one_of(&self, field: &Field) -> Expr;

    /// Returns the condition that several columns are together one of a list, which is
    /// [`Parameter::Keys`](crate::parameter::Parameter::Keys).
    fn one_of_keys(&self, fields: &[&Field]) -> Expr;

    /// Returns the condition that a set has tags, which are one parameter.
    fn tagged(&self, tags: Expr, shape: TagShape) -> Expr;

    /// Locks the rows until the transaction ends, if the engine locks rows.
    fn lock_rows(&self, statement: &mut SelectStatement);

    /// Returns the time by the database's clock, in whole Unix seconds: the same throughout a
    /// statement.
    fn now(&self) -> Expr;

    /// Returns how many seconds lie between now and a time in a column, with fractions.
    fn seconds_until(&self, column: Expr) -> Expr;
}

/// The statements of one table. Their columns are the schema's fields, in order.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Parameters: every field.
    pub(crate) insert: Sql,
    /// Parameters: every field but those of the primary key, then the primary key.
    pub(crate) update: Sql,
    /// Parameter: a list of primary keys.
    pub(crate) delete: Sql,
    /// Inserts several rows, and how many; parameters: every field of each.
    pub(crate) insert_many: (Sql, usize),
    /// One for each set of unique fields, in the order of the schema: the primary key, unique
    /// fields, fields that are unique together.
    pub(crate) unique: Vec<Unique>,
    /// For rows that expire.
    pub(crate) expired: Option<Expired>,
}

/// Selects expired rows.
#[derive(Debug)]
pub(crate) struct Expired {
    /// The first ones; parameter: their number.
    pub(crate) first: Sql,
    /// Those after a given one; parameters: its primary key, their number.
    pub(crate) next: Sql,
    /// One of them by its primary key; locks it.
    pub(crate) by_id: Sql,
    /// Those that another row clashes with; locks them.
    pub(crate) clashing: Vec<Clash>,
}

/// Selects the row with values of fields that are unique together, which are the parameters.
#[derive(Debug)]
pub(crate) struct Unique {
    pub(crate) fields: Vec<usize>,
    /// If it has not expired.
    pub(crate) plain: Sql,
    /// If it has not expired; locks it until the transaction ends.
    pub(crate) locking: Sql,
    /// Whether or not it has expired.
    pub(crate) other: Sql,
}

/// Finds the rows that another one clashes with.
#[derive(Debug)]
pub(crate) struct Clash {
    /// The fields that are unique together.
    pub(crate) fields: Vec<usize>,
    /// Parameters: those fields.
    pub(crate) other: Sql,
}

impl Statements {
    pub(crate) fn of(dialect: &dyn Dialect, schema: &Schema) -> Self {
        Self {
            insert: insert(dialect, schema),
            update: update(dialect, schema),
            delete: delete(dialect, schema),
            insert_many: insert_many(dialect, schema),
            unique: uniques(schema)
                .into_iter()
                .map(|fields| Unique::of(dialect, schema, fields))
                .collect(),
            expired: schema
                .expiry()
                .map(|expiry| Expired::of(dialect, schema, expiry)),
        }
    }

    /// Returns the statements that select the row with values of these fields, in any order; `None`
    /// if they are not unique together. The parameters are in the order of [`Unique::fields`].
    pub(crate) fn by_fields(
        &self,
        fields: impl IntoIterator<Item = usize> + Clone,
    ) -> Option<&Unique> {
        let is_it = |unique: &&Unique| {
            let asked = fields.clone().into_iter();
            let (mut known, mut count) = (true, 0);
            for field in asked {
                known &= unique.fields.contains(&field);
                count += 1;
            }
            known && count == unique.fields.len()
        };
        self.unique.iter().find(is_it)
    }
}

impl Unique {
    fn of(dialect: &dyn Dialect, schema: &Schema, fields: Vec<usize>) -> Self {
        let with_values = |mut statement: SelectStatement| {
            for &field in &fields {
                // Absent values never clash, and `=` never finds them.
                statement.and_where(dialect.equal(&schema.fields()[field]));
            }
            statement
        };
        let mut live = with_values(select_live(dialect, schema));
        let plain = dialect.select(&live).into();
        dialect.lock_rows(&mut live);

        let other = with_values(select(dialect, schema));
        Self {
            plain,
            locking: dialect.select(&live).into(),
            other: dialect.select(&other).into(),
            fields,
        }
    }
}

impl Expired {
    fn of(dialect: &dyn Dialect, schema: &Schema, expiry: usize) -> Self {
        let expired = || {
            let mut statement = select(dialect, schema);
            statement.and_where(Expr::col(column(schema, expiry)).lte(dialect.now()));
            statement
        };
        let page = |after: bool| {
            let mut statement = expired();
            if after {
                statement.and_where(beyond(dialect, schema));
            }
            order_by_key(&mut statement, schema);
            statement.limit(1);
            dialect.select(&statement).into()
        };
        let locking = |fields: &[usize]| {
            let mut statement = expired();
            for &field in fields {
                statement.and_where(dialect.equal(&schema.fields()[field]));
            }
            dialect.lock_rows(&mut statement);
            dialect.select(&statement).into()
        };
        let clashing = uniques(schema).into_iter().map(|fields| Clash {
            other: locking(&fields),
            fields,
        });
        Self {
            first: page(false),
            next: page(true),
            by_id: locking(schema.primary_key()),
            clashing: clashing.collect(),
        }
    }
}

/// Returns the sets of fields that are unique: the primary key, each unique field, each
/// `unique_together`.
pub(crate) fn uniques(schema: &Schema) -> Vec<Vec<usize>> {
    let several = (schema.single_key().is_none()).then(|| schema.primary_key().to_vec());
    let single = (0..schema.fields().len()).filter(|&index| schema.fields()[index].is_unique());
    let together = schema.unique_together().iter().map(|names| {
        names
            .iter()
            .filter_map(|name| Some(schema.field(name)?.0))
            .collect()
    });
    let single = single.map(|index| vec![index]);
    several.into_iter().chain(single).chain(together).collect()
}

/// Pages of rows in the order of their primary keys. The last parameter is the number of rows.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) first: Sql,
    /// Beyond a primary key, which is the parameter before the last.
    pub(crate) next: Sql,
}

impl Pages {
    fn of(
        dialect: &dyn Dialect,
        schema: &Schema,
        mut statement: SelectStatement,
        locking: Locking,
    ) -> Self {
        order_by_key(&mut statement, schema);
        statement.limit(1);
        let mut next = statement.clone();
        next.and_where(beyond(dialect, schema));

        let write = |mut statement: SelectStatement| {
            if locking == Locking::Rows {
                dialect.lock_rows(&mut statement);
            }
            dialect.select(&statement).into()
        };
        Self {
            first: write(statement),
            next: write(next),
        }
    }
}

/// Whether a statement locks what it selects until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locking {
    Rows,
    None,
}

/// Selects and locks the rows whose field is one of a list, which is the first parameter.
pub(crate) fn rows_referring(dialect: &dyn Dialect, schema: &Schema, field: usize) -> Pages {
    let statement = referring(dialect, schema, field);
    Pages::of(dialect, schema, statement, Locking::Rows)
}

/// Selects the rows whose field is one of a list, which is the first parameter.
pub(crate) fn rows_touched(dialect: &dyn Dialect, schema: &Schema, field: usize) -> Pages {
    let statement = referring(dialect, schema, field);
    Pages::of(dialect, schema, statement, Locking::None)
}

/// Selects and locks the rows whose field names a row that the parent's table does not have.
pub(crate) fn rows_orphaned(
    dialect: &dyn Dialect,
    schema: &Schema,
    field: usize,
    parent: &Schema,
) -> Pages {
    let alias = Alias::new("tidings_parent");
    let own = (Alias::new(schema.name()), column(schema, field));
    let mut parents = Query::select();
    parents
        .expr(Expr::cust("1"))
        .from_as(Alias::new(parent.name()), alias.clone())
        .and_where(Expr::col((alias, referred(parent))).eq(Expr::col(own)));

    let mut statement = select(dialect, schema);
    statement
        .and_where(Expr::col(column(schema, field)).is_not_null())
        .and_where(Expr::exists(parents).not());
    Pages::of(dialect, schema, statement, Locking::Rows)
}

/// Deletes some of the rows whose field is one of a list; parameters: the list, their number.
pub(crate) fn delete_referring(dialect: &dyn Dialect, schema: &Schema, field: usize) -> Sql {
    let mut some = Query::select();
    some.columns(primary_key(schema))
        .from(Alias::new(schema.name()))
        .and_where(dialect.one_of(&schema.fields()[field]))
        .limit(1);

    let mut statement = DeleteStatement::new();
    statement
        .from_table(Alias::new(schema.name()))
        .and_where(key_columns(schema).in_subquery(some));
    dialect.delete(&statement).into()
}

/// Selects some of the rows whose field is one of a list, without locking them; parameters: the
/// list, their number.
pub(crate) fn rows_restricting(dialect: &dyn Dialect, schema: &Schema, field: usize) -> Sql {
    let mut statement = referring(dialect, schema, field);
    statement.limit(1);
    dialect.select(&statement).into()
}

fn referring(dialect: &dyn Dialect, schema: &Schema, field: usize) -> SelectStatement {
    let mut statement = select(dialect, schema);
    statement.and_where(dialect.one_of(&schema.fields()[field]));
    statement
}

fn select(dialect: &dyn Dialect, schema: &Schema) -> SelectStatement {
    let mut statement = Query::select();
    statement.from(Alias::new(schema.name()));
    for field in schema.fields() {
        statement.expr(dialect.column(field));
    }
    statement
}

/// Selects rows that have not expired. If rows of the schema can expire, the time that each has
/// left follows its own columns.
fn select_live(dialect: &dyn Dialect, schema: &Schema) -> SelectStatement {
    let mut statement = select(dialect, schema);
    if let Some(expiry) = schema.expiry() {
        let left = dialect.seconds_until(Expr::col(column(schema, expiry)));
        statement.expr(left);
        statement.and_where(is_live(dialect, schema, expiry));
    }
    statement
}

/// Returns the condition that a row has not expired.
fn is_live(dialect: &dyn Dialect, schema: &Schema, expiry: usize) -> Expr {
    let expires = || Expr::col(column(schema, expiry));
    expires().is_null().or(expires().gt(dialect.now()))
}

fn insert(dialect: &dyn Dialect, schema: &Schema) -> Sql {
    let fields = schema.fields().iter();
    let values = fields.clone().map(|field| dialect.parameter(field.kind()));
    let mut statement = InsertStatement::new();
    statement
        .into_table(Alias::new(schema.name()))
        .columns(fields.map(|field| Alias::new(field.name())))
        .values_panic(values);
    dialect.insert(&statement).into()
}

fn insert_many(dialect: &dyn Dialect, schema: &Schema) -> (Sql, usize) {
    let fields = schema.fields();
    // Statements have room for 32,766 parameters on SQLite and 65,535 on PostgreSQL.
    let rows = (8_000 / fields.len().max(1)).clamp(1, 100);
    let mut statement = InsertStatement::new();
    statement
        .into_table(Alias::new(schema.name()))
        .columns(fields.iter().map(|field| Alias::new(field.name())));

    for _ in 0..rows {
        let values = fields.iter().map(|field| dialect.parameter(field.kind()));
        statement.values_panic(values);
    }

    (dialect.insert(&statement).into(), rows)
}

fn update(dialect: &dyn Dialect, schema: &Schema) -> Sql {
    let mut statement = UpdateStatement::new();
    statement.table(Alias::new(schema.name()));

    for field in schema
        .fields()
        .iter()
        .filter(|field| !field.is_primary_key())
    {
        statement.value(Alias::new(field.name()), dialect.parameter(field.kind()));
    }

    if schema.fields().len() == schema.primary_key().len() {
        // SQL has no update of nothing.
        for key in primary_key(schema) {
            statement.value(key.clone(), Expr::col(key));
        }
    }

    for key in schema.primary_key_fields() {
        statement.and_where(dialect.equal(key));
    }
    dialect.update(&statement).into()
}

fn delete(dialect: &dyn Dialect, schema: &Schema) -> Sql {
    let mut statement = DeleteStatement::new();
    let key: Vec<_> = schema.primary_key_fields().collect();
    statement
        .from_table(Alias::new(schema.name()))
        .and_where(match key[..] {
            [key] => dialect.one_of(key),
            _ => dialect.one_of_keys(&key),
        });
    dialect.delete(&statement).into()
}

/// Returns a parameter without a cast.
pub(crate) fn parameter() -> Expr {
    Expr::val(PARAMETER)
}

/// Orders rows by the whole primary key, as it is stored. A column's bare name would mean the
/// column as it is read, which may be text.
fn order_by_key(statement: &mut SelectStatement, schema: &Schema) {
    for key in primary_key(schema) {
        statement.order_by((Alias::new(schema.name()), key), Order::Asc);
    }
}

/// Returns the condition that a row lies beyond the one whose primary key is the parameters,
/// compared part by part, in order.
fn beyond(dialect: &dyn Dialect, schema: &Schema) -> Expr {
    let mut last = schema
        .primary_key_fields()
        .map(|field| dialect.parameter(field.kind()));
    let is_single = schema.single_key().is_some();
    match last.next() {
        Some(last) if is_single => key_columns(schema).gt(last),
        first => key_columns(schema).gt(Expr::tuple(first.into_iter().chain(last))),
    }
}

/// Returns the primary key: its column, or a tuple of its columns.
fn key_columns(schema: &Schema) -> Expr {
    let mut columns = primary_key(schema).map(Expr::col);
    let is_single = schema.single_key().is_some();
    match columns.next() {
        Some(column) if is_single => column,
        first => Expr::tuple(first.into_iter().chain(columns)),
    }
}

/// Returns the column that other tables refer to: the primary key, which is then one field.
fn referred(schema: &Schema) -> Alias {
    column(schema, schema.single_key().unwrap_or_default())
}

/// Returns the columns of the primary key, in their order.
fn primary_key(schema: &Schema) -> impl Iterator<Item = Alias> {
    let fields = schema.primary_key().iter();
    fields.map(|field| column(schema, *field))
}

fn column(schema: &Schema, field: usize) -> Alias {
    Alias::new(schema.fields()[field].name())
}
