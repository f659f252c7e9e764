//! The dialect of statements for PostgreSQL.
//!
//! Sets and JSON are sent and received as text, and the statement casts them. So floats, NUL
//! escapes and the order of members are preserved.

use sea_query::{
    Alias, DeleteStatement, Expr, ExprTrait as _, Func, InsertStatement, LockType,
    PostgresQueryBuilder, Query, SelectStatement, UpdateStatement, extension::postgres::PgFunc,
};
use tidings_core::{Field, FieldKind};

use crate::{
    engine::{Dialect, statements::parameter},
    page::{TagMatch, TagShape},
};

/// PostgreSQL's SQL.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Dialect for Postgres {
    fn select(&self, statement: &SelectStatement) -> String {
        statement.build(PostgresQueryBuilder).0
    }

    fn insert(&self, statement: &InsertStatement) -> String {
        statement.build(PostgresQueryBuilder).0
    }

    fn update(&self, statement: &UpdateStatement) -> String {
        statement.build(PostgresQueryBuilder).0
    }

    fn delete(&self, statement: &DeleteStatement) -> String {
        statement.build(PostgresQueryBuilder).0
    }

    fn column(&self, field: &Field) -> Expr {
        let column = Expr::col(Alias::new(field.name()));
        match field.kind() {
            FieldKind::Set
            | FieldKind::List
            | FieldKind::Map
            | FieldKind::Json
            | FieldKind::Unsigned => column.cast_as("text"),
            _ => column,
        }
    }

    fn parameter(&self, kind: FieldKind) -> Expr {
        match kind {
            FieldKind::Set => parameter().cast_as("jsonb"),
            FieldKind::List | FieldKind::Map | FieldKind::Json => parameter().cast_as("json"),
            FieldKind::Unsigned => parameter().cast_as("numeric"),
            _ => parameter(),
        }
    }

    fn equal(&self, field: &Field) -> Expr {
        let column = Expr::col(Alias::new(field.name()));
        match field.kind() {
            // The type `json` has no equality operator.
            FieldKind::List | FieldKind::Map | FieldKind::Json => {
                column.cast_as("jsonb").eq(parameter().cast_as("jsonb"))
            }
            kind => column.eq(self.parameter(kind)),
        }
    }

    fn one_of(&self, field: &Field) -> Expr {
        let column = Expr::col(Alias::new(field.name()));
        let list = match field.kind() {
            FieldKind::Unsigned => parameter().cast_as("numeric[]"),
            _ => parameter(),
        };
        column.eq(PgFunc::any(list))
    }

    fn one_of_keys(&self, fields: &[&Field]) -> Expr {
        let columns = fields
            .iter()
            .map(|field| Expr::col(Alias::new(field.name())));

        // One array for each field; `unnest` combines them to rows.
        let lists = fields.iter().map(|field| match field.kind() {
            FieldKind::Unsigned => parameter().cast_as("numeric[]"),
            _ => parameter(),
        });
        let mut keys = Query::select();
        keys.expr(Expr::cust("*"))
            .from_function(Func::cust("unnest").args(lists), "listed");

        Expr::tuple(columns).in_subquery(keys)
    }

    fn tagged(&self, tags: Expr, shape: TagShape) -> Expr {
        let function = match shape.matching {
            TagMatch::All => "jsonb_exists_all",
            TagMatch::Any => "jsonb_exists_any",
        };
        let none = Expr::cust("'[]'::jsonb");
        let tags = Func::coalesce([tags, none]);
        Func::cust(function).arg(tags).arg(parameter()).into()
    }

    fn lock_rows(&self, statement: &mut SelectStatement) {
        statement.lock(LockType::Update);
    }

    fn now(&self) -> Expr {
        Expr::cust("floor(extract(epoch FROM statement_timestamp()))::bigint")
    }

    fn seconds_until(&self, column: Expr) -> Expr {
        let now = Expr::cust("extract(epoch FROM statement_timestamp())");
        column.sub(now).cast_as("double precision")
    }
}
