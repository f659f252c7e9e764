//! Tables: made from the schemas, and compared with those that are there.
//!
//! What is missing is added (tables, columns that may be absent, indexes). What is there is never
//! altered in a way that could lose a row or a value; where it does not fit, every difference is
//! reported and nothing is done at all. Indexes carry names that say what they are for, as in
//! `unique:acls(consumer,group)`; those with such a name that no schema asks for any more are
//! dropped.
//!
//! References are declared to SQLite without an action: cascades are done here, row by row, so that
//! each row has its event. A table that cascades by itself is refused: its rows would vanish
//! unheard.

use std::collections::BTreeMap;

use sea_query::{Alias, ColumnDef, ForeignKey, Index, SqliteQueryBuilder, Table};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, error::ErrorKind};
use tidings_core::{Field, Schema};

use crate::{
    engine::statements::uniques,
    error::Error,
    sqlite::{
        codes::failed,
        values::{column_type, literal},
    },
};

/// Makes or completes the tables; to be run in a transaction, which is rolled back on an error.
pub(crate) async fn lay_out(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<(), Error> {
    let differences = make(connection, schemas).await.map_err(failed)?;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Error::Incompatible { differences })
    }
}

/// Makes what is missing; returns what does not fit.
async fn make(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<Vec<String>, sqlx::Error> {
    let mut differences = Vec::new();
    for schema in schemas {
        match kind_of(connection, schema.name()).await?.as_deref() {
            None => run(connection, create_table(schema)).await?,
            Some("table") => complete(connection, schema, &mut differences).await?,
            Some(other) => {
                differences.push(format!("{} is a {other} and not a table", schema.name()));
                continue;
            }
        }
        if differences.is_empty() {
            index(connection, schema, &mut differences).await?;
        }
    }
    Ok(differences)
}

async fn kind_of(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query("SELECT type FROM sqlite_schema WHERE name = ? AND type <> 'index'")
        .bind(name.to_owned())
        .fetch_optional(connection)
        .await?;
    found.map(|row| row.try_get(0)).transpose()
}

fn create_table(schema: &Schema) -> String {
    let mut table = Table::create();
    table.table(Alias::new(schema.name())).extra("STRICT");
    for field in schema.fields() {
        table.col(column(field));
        if let Some(foreign) = field.reference() {
            table.foreign_key(
                ForeignKey::create()
                    .from(Alias::new(schema.name()), Alias::new(field.name()))
                    .to(
                        Alias::new(foreign.entity.as_str()),
                        Alias::new(foreign.key.as_str()),
                    ),
            );
        }
    }
    table.build(SqliteQueryBuilder)
}

fn column(field: &Field) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(field.name()));
    column.custom(Alias::new(column_type(field.kind())));
    if !field.is_optional() {
        column.not_null();
    }
    if let Some(default) = field.default_value().and_then(literal) {
        column.extra(format!("DEFAULT {default}"));
    }
    if field.is_primary_key() {
        column.primary_key();
    }
    column
}

fn add_column(schema: &Schema, field: &Field) -> String {
    let mut column = column(field);
    if let Some(foreign) = field.reference() {
        // `check_all` lets only a-z, 0-9 and _ into names.
        column.extra(format!(
            "REFERENCES \"{}\" (\"{}\")",
            foreign.entity, foreign.key
        ));
    }
    Table::alter()
        .table(Alias::new(schema.name()))
        .add_column(column)
        .build(SqliteQueryBuilder)
}

/// Whether a table with rows can be given the column.
fn is_addable(field: &Field) -> bool {
    let has_value = field.is_optional() || field.default_value().is_some();
    has_value && !field.is_primary_key()
}

/// A column that is there.
struct Column {
    declared: String,
    not_null: bool,
    has_default: bool,
    is_key: bool,
    is_generated: bool,
}

/// Adds the columns that a table lacks, and notes where it differs from its schema.
async fn complete(
    connection: &mut SqliteConnection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let table = schema.name();
    let mut columns = columns(connection, table).await?;
    let references = references(connection, table).await?;
    for field in schema.fields() {
        let name = field.name();
        let Some(column) = columns.remove(name) else {
            if is_addable(field) {
                run(connection, add_column(schema, field)).await?;
            } else {
                differences.push(format!(
                    "{table} lacks the column {name}, which is required"
                ));
            }
            continue;
        };
        let mut differs = |how: String| differences.push(format!("{table}.{name} {how}"));
        let (there, wanted) = (affinity(&column.declared), column_type(field.kind()));
        if there != wanted {
            differs(format!(
                "is declared {:?}, and {wanted} is needed",
                column.declared
            ));
        }
        if column.is_generated {
            differs("is generated".to_owned());
        }
        match (column.is_key, field.is_primary_key()) {
            (true, false) => differs("is (part of) the primary key, and should not be".to_owned()),
            (false, true) => differs("is not the primary key, and should be".to_owned()),
            _ => {}
        }
        if column.not_null && field.is_optional() {
            differs("is NOT NULL, and may be absent".to_owned());
        }
        if !column.not_null && !field.is_optional() && holds_null(connection, table, name).await? {
            differs("is required, and there are rows without it".to_owned());
        }
        let reference = references.get(name);
        let found = reference.map(|reference| (reference.to.0.as_str(), reference.to.1.as_str()));
        let wanted = field
            .reference()
            .map(|foreign| (foreign.entity.as_str(), foreign.key.as_str()));
        if let Some((parent, key)) = wanted
            && found != wanted
        {
            differs(format!("does not refer to {parent} ({key})"));
        }
        if let Some(action) = reference.and_then(|reference| reference.action.as_deref()) {
            differs(format!("has {action}, which would change rows unheard"));
        }
    }
    for (name, column) in columns {
        if column.not_null && !column.has_default && !column.is_generated {
            differences.push(format!(
                "{table}.{name} is NOT NULL without a default, and the schema does not know it"
            ));
        }
    }
    Ok(())
}

async fn columns(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<BTreeMap<String, Column>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk > 0, hidden > 1 FROM pragma_table_xinfo(?)",
    )
    .bind(table.to_owned())
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let column = Column {
            declared: row.try_get(1)?,
            not_null: row.try_get(2)?,
            has_default: row.try_get(3)?,
            is_key: row.try_get(4)?,
            is_generated: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, column))
    };
    found.iter().map(read).collect()
}

/// A reference that is there, and what it does by itself.
struct Reference {
    to: (String, String),
    action: Option<String>,
}

/// The table's references of one column each, by that column.
async fn references(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<BTreeMap<String, Reference>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT \"from\", \"table\", coalesce(\"to\", (SELECT name FROM pragma_table_xinfo(\"table\") WHERE pk = 1)), \
         on_delete, on_update FROM pragma_foreign_key_list(?) AS list \
         WHERE (SELECT count(*) FROM pragma_foreign_key_list(?) WHERE id = list.id) = 1",
    )
    .bind(table.to_owned())
    .bind(table.to_owned())
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let acts = |when: &str, action: String| {
            let harmless = matches!(action.as_str(), "NO ACTION" | "RESTRICT");
            (!harmless).then(|| format!("ON {when} {action}"))
        };
        let reference = Reference {
            to: (
                row.try_get(1)?,
                row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
            ),
            action: acts("DELETE", row.try_get(3)?).or(acts("UPDATE", row.try_get(4)?)),
        };
        Ok((row.try_get(0)?, reference))
    };
    found.iter().map(read).collect()
}

async fn holds_null(
    connection: &mut SqliteConnection,
    table: &str,
    column: &str,
) -> Result<bool, sqlx::Error> {
    // `check_all` lets only a-z, 0-9 and _ into names.
    let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE \"{column}\" IS NULL)");
    let row = sqlx::query(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    row.try_get(0)
}

/// What a declared type comes to, by SQLite's own rules; `NUMERIC` and `BLOB` fit no field.
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        "INTEGER"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "TEXT"
    } else if has("BLOB") || declared.is_empty() {
        "BLOB"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "REAL"
    } else {
        "NUMERIC"
    }
}

/// Makes the indexes that a schema asks for, and drops those of ours that it does not.
async fn index(
    connection: &mut SqliteConnection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let wanted = indexes(schema);
    let there = sqlx::query("SELECT name FROM pragma_index_list(?)")
        .bind(schema.name().to_owned())
        .fetch_all(&mut *connection)
        .await?;
    for row in there {
        let name: String = row.try_get(0)?;
        let ours = ["unique:", "foreign:", "key:", "expiry:"]
            .iter()
            .any(|use_| name.starts_with(use_));
        if ours && !wanted.contains_key(&name) {
            let drop = Index::drop().name(name).build(SqliteQueryBuilder);
            run(connection, drop).await?;
        }
    }
    for (name, index) in wanted {
        match run(connection, index).await {
            Ok(()) => {}
            Err(error) if is_unique_violation(&error) => {
                differences.push(format!("rows of {} clash under {name}", schema.name()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.kind() == ErrorKind::UniqueViolation)
}

/// The indexes of a schema by name: for what is unique, for what refers (nested lists and cascades
/// must not scan), and for a cache key of several fields.
fn indexes(schema: &Schema) -> BTreeMap<String, String> {
    let mut indexes = BTreeMap::new();
    let mut add = |purpose: &str, fields: &[&str], unique: bool| {
        let table = schema.name();
        let name = format!("{purpose}:{table}({})", fields.join(","));
        let mut index = Index::create();
        index
            .name(name.as_str())
            .table(Alias::new(table))
            .if_not_exists();
        for field in fields {
            index.col(Alias::new(*field));
        }
        if unique {
            index.unique();
        }
        indexes.insert(name, index.build(SqliteQueryBuilder));
    };
    let primary_key = schema.fields()[schema.primary_key()].name();
    let uniques: Vec<Vec<_>> = uniques(schema)
        .into_iter()
        .map(|fields| {
            fields
                .into_iter()
                .map(|field| schema.fields()[field].name())
                .collect()
        })
        .collect();
    for fields in uniques.iter().filter(|fields| **fields != [primary_key]) {
        add("unique", fields, true);
    }
    for field in schema
        .fields()
        .iter()
        .filter(|field| field.reference().is_some())
    {
        // With the primary key behind it, so that a nested list comes out in order.
        add("foreign", &[field.name(), primary_key], false);
    }
    if let Some(expiry) = schema.expiry() {
        add("expiry", &[schema.fields()[expiry].name()], false);
    }
    for cache_key in schema.cache_keys() {
        let cache_key: Vec<_> = cache_key.iter().map(String::as_str).collect();
        if cache_key.len() > 1 && !uniques.contains(&cache_key) {
            add("key", &cache_key, false);
        }
    }
    indexes
}

async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests;
