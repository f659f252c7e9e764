//! The SQL of one table, built once when the store is attached.
//!
//! Names are quoted and values are always parameters. A list of any length is one parameter, a JSON array, so
//! that each statement has one text, which the driver prepares once per connection.

use std::sync::Arc;

use sea_query::{
    Alias, DeleteStatement, Expr, ExprTrait as _, Func, InsertStatement, Order, Query,
    SelectStatement, SqliteQueryBuilder, UpdateStatement,
};
use tidings_core::Schema;

use crate::page::Shape;

/// The text of a statement.
pub(crate) type Sql = Arc<str>;

/// Stands for a parameter while a statement is built; the value itself is thrown away.
const PARAMETER: i64 = 0;

/// The statements of one table. Their columns are the schema's fields, in order.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Parameters: every field.
    pub(crate) insert: Sql,
    /// Parameters: every field but the primary key, then the primary key.
    pub(crate) update: Sql,
    /// Parameter: a list of primary keys.
    pub(crate) delete: Sql,
    /// For each unique field, the row with a value of it.
    by_field: Vec<Option<Sql>>,
    /// Parameters: the fields of the cache key, the number of rows. None where the primary key makes it.
    pub(crate) by_cache_key: Option<Sql>,
    /// What must not be there twice, in the order of the schema: the primary key, unique fields, sets of them.
    pub(crate) unique: Vec<Unique>,
}

/// Finds the row that a refused one clashes with.
#[derive(Debug)]
pub(crate) struct Unique {
    /// The fields that are unique together.
    pub(crate) fields: Vec<usize>,
    /// Parameters: those fields, then the primary key of the refused row if it is an update.
    pub(crate) other: Sql,
}

impl Statements {
    pub(crate) fn of(schema: &Schema) -> Self {
        let fields = schema.fields();
        let by_field = fields
            .iter()
            .map(|field| {
                field
                    .is_unique()
                    .then(|| text(select(schema).and_where(is(field.name()))))
            })
            .collect();
        let cache_key = schema.cache_key_fields();
        let by_cache_key = (!cache_key.is_empty()).then(|| {
            let mut statement = select(schema);
            for name in cache_key {
                statement.and_where(is(name));
            }
            statement.order_by(primary_key(schema), Order::Asc).limit(1);
            text(&statement)
        });
        Self {
            insert: insert(schema),
            update: update(schema),
            delete: delete(schema),
            by_field,
            by_cache_key,
            unique: uniques(schema)
                .into_iter()
                .map(|fields| Unique::of(schema, fields))
                .collect(),
        }
    }

    /// Selects the row with a value of a unique field; none if the field is not unique or not there.
    pub(crate) fn by_field(&self, field: usize) -> Option<&Sql> {
        self.by_field.get(field)?.as_ref()
    }
}

impl Unique {
    fn of(schema: &Schema, fields: Vec<usize>) -> Self {
        let mut statement = select(schema);
        for &field in &fields {
            // `=` and not `IS`: absent values never clash.
            statement.and_where(Expr::col(column(schema, field)).eq(PARAMETER));
        }
        statement.and_where(Expr::col(primary_key(schema)).is_not(PARAMETER));
        Self {
            fields,
            other: text(&statement),
        }
    }
}

/// The sets of fields that are unique: the primary key, each unique field, each `unique_together`.
pub(crate) fn uniques(schema: &Schema) -> Vec<Vec<usize>> {
    let single = (0..schema.fields().len()).filter(|&index| schema.fields()[index].is_unique());
    let together = schema.unique_together().iter().map(|names| {
        names
            .iter()
            .filter_map(|name| Some(schema.field(name)?.0))
            .collect()
    });
    single.map(|index| vec![index]).chain(together).collect()
}

/// Selects the rows whose field is one of a list.
pub(crate) fn rows_referring(schema: &Schema, field: usize) -> Sql {
    let column = Expr::col(column(schema, field));
    text(select(schema).and_where(column.in_subquery(listed())))
}

/// Selects a page; parameters: the filter's values, the tags, their number (if all of them are asked for),
/// the primary key to start after (if any), the number of rows.
pub(crate) fn page(schema: &Schema, shape: &Shape) -> Sql {
    let mut statement = select(schema);
    for &field in &shape.filter {
        statement.and_where(is(schema.fields()[field].name()));
    }
    if let Some(tags) = shape.tags {
        let own = Func::cust("json_each").arg(Expr::col(column(schema, tags.field)));
        let mut matching = Query::select();
        matching
            .from_function(own, "own")
            .and_where(Expr::col(("own", "value")).in_subquery(listed()));
        if tags.all {
            // A set holds a text once, so that counting them needs no DISTINCT.
            matching.expr(Func::count(Expr::col(("own", "value"))));
            statement.and_where(Expr::from(matching).eq(PARAMETER));
        } else {
            matching.column(("own", "value"));
            statement.and_where(Expr::exists(matching));
        }
    }
    if shape.after {
        statement.and_where(Expr::col(primary_key(schema)).gt(PARAMETER));
    }
    statement.order_by(primary_key(schema), Order::Asc).limit(1);
    text(&statement)
}

fn select(schema: &Schema) -> SelectStatement {
    let mut statement = Query::select();
    statement
        .columns(schema.fields().iter().map(|field| Alias::new(field.name())))
        .from(Alias::new(schema.name()));
    statement
}

fn insert(schema: &Schema) -> Sql {
    let mut statement = InsertStatement::new();
    statement
        .into_table(Alias::new(schema.name()))
        .columns(schema.fields().iter().map(|field| Alias::new(field.name())))
        .values_panic(schema.fields().iter().map(|_| Expr::val(PARAMETER)));
    statement.build(SqliteQueryBuilder).0.into()
}

fn update(schema: &Schema) -> Sql {
    let mut statement = UpdateStatement::new();
    statement.table(Alias::new(schema.name()));
    for field in schema
        .fields()
        .iter()
        .filter(|field| !field.is_primary_key())
    {
        statement.value(Alias::new(field.name()), Expr::val(PARAMETER));
    }
    if schema.fields().len() == 1 {
        // SQL has no update of nothing.
        statement.value(primary_key(schema), Expr::col(primary_key(schema)));
    }
    statement.and_where(Expr::col(primary_key(schema)).eq(PARAMETER));
    statement.build(SqliteQueryBuilder).0.into()
}

fn delete(schema: &Schema) -> Sql {
    let mut statement = DeleteStatement::new();
    statement
        .from_table(Alias::new(schema.name()))
        .and_where(Expr::col(primary_key(schema)).in_subquery(listed()));
    statement.build(SqliteQueryBuilder).0.into()
}

/// The values of a list that is one parameter.
fn listed() -> SelectStatement {
    let mut statement = Query::select();
    statement
        .column(("listed", "value"))
        .from_function(Func::cust("json_each").arg(Expr::val(PARAMETER)), "listed");
    statement
}

/// The field has a value, or none: `IS` says both, and uses an index.
fn is(field: &str) -> Expr {
    Expr::col(Alias::new(field)).is(PARAMETER)
}

fn primary_key(schema: &Schema) -> Alias {
    column(schema, schema.primary_key())
}

fn column(schema: &Schema, field: usize) -> Alias {
    Alias::new(schema.fields()[field].name())
}

fn text(statement: &SelectStatement) -> Sql {
    statement.build(SqliteQueryBuilder).0.into()
}
