//! Pages and counts of any shape: filters, ranges, tags, orders.

use sea_query::{Alias, Expr, ExprTrait as _, NullOrdering, Order, Query, SelectStatement};
use tidings_core::Schema;

use super::{Dialect, Sql, beyond as beyond_key, column, is_live, order_by_key, select_live};
use crate::page::{After, Condition, Direction, Ordered, Shape};

/// Selects a page; parameters: those of the filter and the tags, the row to start after (if any),
/// the number of rows.
pub(crate) fn page(dialect: &dyn Dialect, schema: &Schema, shape: &Shape) -> Sql {
    let mut statement = select_live(dialect, schema);
    restrict(&mut statement, dialect, schema, shape);

    let by = shape
        .order
        .map(|order| (order, &schema.fields()[order.field]));
    match (shape.after, by) {
        (After::Nothing, _) => {}
        (_, None) => {
            statement.and_where(beyond_key(dialect, schema));
        }
        (after, Some((order, _))) => {
            statement.and_where(beyond(dialect, schema, order, after));
        }
    }

    if let Some((order, field)) = by {
        let (direction, nulls) = match order.direction {
            Direction::Ascending => (Order::Asc, NullOrdering::First),
            Direction::Descending => (Order::Desc, NullOrdering::Last),
        };
        let column = (Alias::new(schema.name()), column(schema, order.field));

        if field.is_optional() {
            statement.order_by_with_nulls(column, direction, nulls);
        } else {
            statement.order_by(column, direction);
        }
    }

    order_by_key(&mut statement, schema);
    statement.limit(1);
    dialect.select(&statement).into()
}

/// Counts the rows of a shape; parameters: those of the filter and the tags.
pub(crate) fn count(dialect: &dyn Dialect, schema: &Schema, shape: &Shape) -> Sql {
    let mut statement = Query::select();
    statement
        .expr(Expr::cust("count(*)"))
        .from(Alias::new(schema.name()));
    if let Some(expiry) = schema.expiry() {
        statement.and_where(is_live(dialect, schema, expiry));
    }
    restrict(&mut statement, dialect, schema, shape);
    dialect.select(&statement).into()
}

/// Adds the conditions of a shape.
fn restrict(
    statement: &mut SelectStatement,
    dialect: &dyn Dialect,
    schema: &Schema,
    shape: &Shape,
) {
    for &(index, condition) in &shape.filter {
        let field = &schema.fields()[index];
        let own = Expr::col(column(schema, index));
        let bound = dialect.parameter(field.kind());
        statement.and_where(match condition {
            Condition::Value => dialect.equal(field),
            Condition::Absent => own.is_null(),
            Condition::AtLeast => own.gte(bound),
            Condition::Above => own.gt(bound),
            Condition::AtMost => own.lte(bound),
            Condition::Below => own.lt(bound),
        });
    }

    if let Some(tags) = shape.tags {
        let own = Expr::col(column(schema, tags.field));
        statement.and_where(dialect.tagged(own, tags));
    }
}

/// Returns the condition that a row comes after a given one in an order. Its parameters are the
/// given row's value, twice, unless it is absent, and its primary key. Absent values come first in
/// ascending order, and last in descending order.
fn beyond(dialect: &dyn Dialect, schema: &Schema, order: Ordered, after: After) -> Expr {
    let field = &schema.fields()[order.field];
    let own = || Expr::col(Alias::new(field.name()));
    let value = || dialect.parameter(field.kind());
    let later = beyond_key(dialect, schema);

    match (after, order.direction) {
        (After::Absent, Direction::Ascending) => own().is_null().and(later).or(own().is_not_null()),
        (After::Absent, Direction::Descending) => own().is_null().and(later),
        (After::Nothing | After::Value, Direction::Ascending) => {
            own().gte(value()).and(own().gt(value()).or(later))
        }
        (After::Nothing | After::Value, Direction::Descending) => {
            let beyond = own().lte(value()).and(own().lt(value()).or(later));
            if field.is_optional() {
                beyond.or(own().is_null())
            } else {
                beyond
            }
        }
    }
}
