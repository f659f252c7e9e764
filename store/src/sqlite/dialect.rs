//! The dialect of statements for SQLite. A list is a JSON array, which `json_each` expands.

use sea_query::{
    Alias, DeleteStatement, Expr, ExprTrait as _, Func, InsertStatement, Query, SelectStatement,
    SqliteQueryBuilder, UpdateStatement,
};
use tidings_core::{Field, FieldKind};

use crate::{
    engine::{Dialect, statements::parameter},
    page::{TagMatch, TagShape},
};

/// SQLite's SQL.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Dialect for Sqlite {
    fn select(&self, statement: &SelectStatement) -> String {
        statement.build(SqliteQueryBuilder).0
    }

    fn insert(&self, statement: &InsertStatement) -> String {
        statement.build(SqliteQueryBuilder).0
    }

    fn update(&self, statement: &UpdateStatement) -> String {
        statement.build(SqliteQueryBuilder).0
    }

    fn delete(&self, statement: &DeleteStatement) -> String {
        statement.build(SqliteQueryBuilder).0
    }

    fn column(&self, field: &Field) -> Expr {
        Expr::col(Alias::new(field.name()))
    }

    fn parameter(&self, _: FieldKind) -> Expr {
        parameter()
    }

    fn equal(&self, field: &Field) -> Expr {
        self.column(field).eq(parameter())
    }

    fn one_of(&self, field: &Field) -> Expr {
        self.column(field).in_subquery(listed())
    }

    fn one_of_keys(&self, fields: &[&Field]) -> Expr {
        let columns = fields.iter().map(|field| self.column(field));
        let mut keys = Query::select();
        for place in 0..fields.len() {
            keys.expr(Expr::cust(format!("\"listed\".\"value\" ->> {place}")));
        }
        keys.from_function(Func::cust("json_each").arg(parameter()), "listed");
        Expr::tuple(columns).in_subquery(keys)
    }

    fn tagged(&self, tags: Expr, shape: TagShape) -> Expr {
        let own = Func::cust("json_each").arg(tags);
        match shape.matching {
            TagMatch::All => {
                let mut owned = Query::select();
                owned.column(("own", "value")).from_function(own, "own");
                let mut lacking = listed();
                lacking.and_where(Expr::col(("listed", "value")).not_in_subquery(owned));
                Expr::exists(lacking).not()
            }
            TagMatch::Any => {
                let mut matching = Query::select();
                matching
                    .column(("own", "value"))
                    .from_function(own, "own")
                    .and_where(Expr::col(("own", "value")).in_subquery(listed()));
                Expr::exists(matching)
            }
        }
    }

    // There is only one writer, so rows need no lock.
    fn lock_rows(&self, _: &mut SelectStatement) {}

    // The time is the host's.
    fn now(&self) -> Expr {
        Expr::cust("unixepoch()")
    }

    fn seconds_until(&self, column: Expr) -> Expr {
        column.sub(Expr::cust("unixepoch('subsec')"))
    }
}

/// Returns the values of a list that is one parameter.
fn listed() -> SelectStatement {
    let mut statement = Query::select();
    statement
        .column(("listed", "value"))
        .from_function(Func::cust("json_each").arg(parameter()), "listed");
    statement
}
