//! Tables: made from the schemas, and compared with those that are there.
//!
//! As on SQLite: what is missing is added, what is there is never altered in a way that could lose
//! a row or a value, and where it does not fit, every difference is reported and nothing is done at
//! all. Indexes carry names that say what they are for, as in `unique:acls(consumer,group)`; those
//! with such a name that no schema asks for any more are dropped.
//!
//! References are declared without an action: cascades are done here, row by row, so that each row
//! has its event. They can be deferred, for rows that refer to each other in a circle. Text that is
//! unique is compared byte by byte, as SQLite does, and not by a language's rules.

mod names;

use std::collections::{BTreeMap, HashMap};

use sqlx::{Row as _, postgres::PgRow};
use tidings_core::{Field, FieldKind, Schema};

use self::names::{identifier, index_name, literal};
use crate::{
    engine::statements::uniques,
    error::Error,
    postgres::{
        codes::{UNIQUE_VIOLATION, code, failed},
        connection::Connection,
        values::{column_type, fits, literal as literal_of},
    },
};

/// What the names of our indexes begin with.
const PURPOSES: [&str; 4] = ["unique:", "foreign:", "key:", "expiry:"];

/// Makes or completes the tables; to be run in a transaction, which is rolled back on an error.
pub(crate) async fn lay_out(
    connection: &mut Connection,
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
    connection: &mut Connection,
    schemas: &[&'static Schema],
) -> Result<Vec<String>, sqlx::Error> {
    let mut differences = Vec::new();
    for schema in schemas {
        match kind_of(connection, schema.name()).await?.as_deref() {
            None => connection.run(&create_table(schema)).await?,
            Some("table") => complete(connection, schema, &mut differences).await?,
            Some(other) => {
                differences.push(format!("{} is a {other} and not a table", schema.name()));
            }
        }
    }

    // Once all tables are there: a reference may lead to any of them.
    if differences.is_empty() {
        for schema in schemas {
            refer(connection, schema, &mut differences).await?;
            index(connection, schema, &mut differences).await?;
        }
    }
    Ok(differences)
}

async fn kind_of(connection: &mut Connection, table: &str) -> Result<Option<String>, sqlx::Error> {
    let sql = format!(
        "SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' \
         WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'relation of another kind' END \
         FROM pg_class WHERE oid = to_regclass({})",
        literal(&identifier(table))
    );
    let rows = connection.ask(&sql).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

fn create_table(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(column);
    let columns: Vec<_> = columns.collect();
    format!(
        "CREATE TABLE {} ({})",
        identifier(schema.name()),
        columns.join(", ")
    )
}

fn column(field: &Field) -> String {
    let mut column = format!("{} {}", identifier(field.name()), column_type(field.kind()));
    if field.kind() == FieldKind::Text {
        column.push_str(" COLLATE \"C\"");
    }
    if !field.is_optional() {
        column.push_str(" NOT NULL");
    }
    if let Some(default) = field.default_value().and_then(literal_of) {
        column.push_str(" DEFAULT ");
        column.push_str(&default);
    }
    if field.is_primary_key() {
        column.push_str(" PRIMARY KEY");
    }
    column
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
    connection: &mut Connection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let table = schema.name();
    let mut columns = columns(connection, table).await?;
    for field in schema.fields() {
        let name = field.name();
        let Some(there) = columns.remove(name) else {
            if is_addable(field) {
                let table = identifier(table);
                let added = format!("ALTER TABLE {table} ADD COLUMN {}", column(field));
                connection.run(&added).await?;
            } else {
                differences.push(format!(
                    "{table} lacks the column {name}, which is required"
                ));
            }
            continue;
        };

        let mut differs = |how: String| differences.push(format!("{table}.{name} {how}"));
        if !fits(field, &there.declared) {
            differs(format!(
                "is declared {:?}, and {} is needed",
                there.declared,
                column_type(field.kind())
            ));
        }
        if there.is_generated {
            differs("is generated".to_owned());
        }
        match (there.is_key, field.is_primary_key()) {
            (true, false) => differs("is (part of) the primary key, and should not be".to_owned()),
            (false, true) => differs("is not the primary key, and should be".to_owned()),
            _ => {}
        }
        if there.not_null && field.is_optional() {
            differs("is NOT NULL, and may be absent".to_owned());
        }
        if !there.not_null && !field.is_optional() && holds_null(connection, table, name).await? {
            differs("is required, and there are rows without it".to_owned());
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
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, Column>, sqlx::Error> {
    let sql = format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
         a.atthasdef AND a.attgenerated = '' OR a.attidentity <> '', \
         coalesce(a.attnum = ANY (k.conkey), false), a.attgenerated <> '' OR a.attidentity = 'a' \
         FROM pg_attribute a LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p' \
         WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped",
        literal(&identifier(table))
    );
    let read = |row: &PgRow| {
        let column = Column {
            declared: row.try_get(1)?,
            not_null: row.try_get(2)?,
            has_default: row.try_get(3)?,
            is_key: row.try_get(4)?,
            is_generated: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, column))
    };
    connection.ask(&sql).await?.iter().map(read).collect()
}

async fn holds_null(
    connection: &mut Connection,
    table: &str,
    column: &str,
) -> Result<bool, sqlx::Error> {
    let (table, column) = (identifier(table), identifier(column));
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} IS NULL)");
    let rows = connection.ask(&sql).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}

/// A reference that is there, and what it does by itself.
struct Reference {
    table: String,
    key: String,
    action: Option<String>,
}

/// Declares the references that a table lacks, and notes where those there are differ from its
/// schema.
async fn refer(
    connection: &mut Connection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let there = references(connection, schema.name()).await?;
    for field in schema.fields() {
        let reference = there.get(field.name());
        let mut differs =
            |how: String| differences.push(format!("{}.{} {how}", schema.name(), field.name()));
        if let Some(action) = reference.and_then(|reference| reference.action.as_deref()) {
            differs(format!("has {action}, which would change rows unheard"));
        }
        let Some(wanted) = field.reference() else {
            continue;
        };
        match reference {
            Some(found) if (&found.table, &found.key) == (&wanted.entity, &wanted.key) => {}
            Some(_) => differs(format!(
                "does not refer to {} ({})",
                wanted.entity, wanted.key
            )),
            None => {
                let sql = format!(
                    "SAVEPOINT reference; ALTER TABLE {} ADD FOREIGN KEY ({}) REFERENCES {} ({}) \
                     DEFERRABLE INITIALLY IMMEDIATE; RELEASE SAVEPOINT reference",
                    identifier(schema.name()),
                    identifier(field.name()),
                    identifier(&wanted.entity),
                    identifier(&wanted.key)
                );
                if let Err(error) = connection.run(&sql).await {
                    if code(&error).is_none() {
                        return Err(error);
                    }
                    connection.run("ROLLBACK TO SAVEPOINT reference").await?;
                    differs(format!(
                        "cannot refer to {} ({}): {error}",
                        wanted.entity, wanted.key
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The table's references of one column each, by that column.
async fn references(
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, Reference>, sqlx::Error> {
    let sql = format!(
        "SELECT f.attname::text, p.relname::text, k.attname::text, c.confdeltype::text, c.confupdtype::text \
         FROM pg_constraint c JOIN pg_class p ON p.oid = c.confrelid \
         JOIN pg_attribute f ON f.attrelid = c.conrelid AND f.attnum = c.conkey[1] \
         JOIN pg_attribute k ON k.attrelid = c.confrelid AND k.attnum = c.confkey[1] \
         WHERE c.contype = 'f' AND c.conrelid = to_regclass({}) AND cardinality(c.conkey) = 1",
        literal(&identifier(table))
    );
    let acts = |when: &str, action: String| {
        let action = match action.as_str() {
            "c" => "CASCADE",
            "n" => "SET NULL",
            "d" => "SET DEFAULT",
            // `a` is no action, `r` restrict.
            _ => return None,
        };
        Some(format!("ON {when} {action}"))
    };
    let read = |row: &PgRow| {
        let reference = Reference {
            table: row.try_get(1)?,
            key: row.try_get(2)?,
            action: acts("DELETE", row.try_get(3)?).or(acts("UPDATE", row.try_get(4)?)),
        };
        Ok((row.try_get(0)?, reference))
    };
    connection.ask(&sql).await?.iter().map(read).collect()
}

/// Makes the indexes that a schema asks for, and drops those of ours that it does not.
async fn index(
    connection: &mut Connection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let wanted = indexes(schema);
    let sql = format!(
        "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
         WHERE x.indrelid = to_regclass({})",
        literal(&identifier(schema.name()))
    );
    let there = connection.ask(&sql).await?;
    let there = there.iter().map(|row| row.try_get(0));
    let there: Vec<String> = there.collect::<Result<_, sqlx::Error>>()?;

    for name in &there {
        let ours = PURPOSES.iter().any(|purpose| name.starts_with(purpose));
        if ours && !wanted.contains_key(name) {
            let drop = format!("DROP INDEX {}", identifier(name));
            connection.run(&drop).await?;
        }
    }
    for (name, index) in wanted {
        if there.contains(&name) {
            continue;
        }
        let sql = format!("SAVEPOINT index; {index}; RELEASE SAVEPOINT index");
        match connection.run(&sql).await {
            Ok(()) => {}
            Err(error) if code(&error).as_deref() == Some(UNIQUE_VIOLATION) => {
                connection.run("ROLLBACK TO SAVEPOINT index").await?;
                differences.push(format!("rows of {} clash under {name}", schema.name()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The indexes of a schema by name: for what is unique, for what refers (nested lists and cascades
/// must not scan), and for a cache key of several fields.
fn indexes(schema: &Schema) -> BTreeMap<String, String> {
    let mut indexes = BTreeMap::new();
    let mut add = |purpose: &str, fields: &[&str], unique: &str| {
        let name = index_name(purpose, schema.name(), fields);
        let columns: Vec<_> = fields.iter().map(|field| identifier(field)).collect();
        let index = format!(
            "CREATE {unique}INDEX {} ON {} ({})",
            identifier(&name),
            identifier(schema.name()),
            columns.join(", ")
        );
        indexes.insert(name, index);
    };

    let primary_key = schema.fields()[schema.primary_key()].name();
    let uniques = uniques(schema).into_iter().map(|fields| {
        let fields = fields.into_iter();
        fields
            .map(|field| schema.fields()[field].name())
            .collect::<Vec<_>>()
    });
    let uniques: Vec<_> = uniques.collect();
    for fields in uniques.iter().filter(|fields| **fields != [primary_key]) {
        add("unique", fields, "UNIQUE ");
    }

    let referring = schema.fields().iter();
    for field in referring.filter(|field| field.reference().is_some()) {
        // With the primary key behind it, so that a nested list comes out in order.
        add("foreign", &[field.name(), primary_key], "");
    }

    if let Some(expiry) = schema.expiry() {
        add("expiry", &[schema.fields()[expiry].name()], "");
    }

    for cache_key in schema.cache_keys() {
        let cache_key: Vec<_> = cache_key.iter().map(String::as_str).collect();
        if cache_key.len() > 1 && !uniques.contains(&cache_key) {
            add("key", &cache_key, "");
        }
    }
    indexes
}

/// The columns of all unique indexes and references of the tables, by the names of table and
/// constraint.
pub(crate) async fn constraints(
    connection: &mut Connection,
    schemas: &[&'static Schema],
) -> Result<HashMap<(String, String), Vec<String>>, Error> {
    let tables = schemas.iter().map(|schema| {
        let table = literal(&identifier(schema.name()));
        format!("to_regclass({table})")
    });
    let tables: Vec<_> = tables.collect();
    if tables.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "WITH found (relation, name, keys) AS (\
           SELECT x.indrelid, i.relname, x.indkey::int2[] FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
             WHERE x.indisunique \
           UNION ALL SELECT conrelid, conname, conkey FROM pg_constraint WHERE contype = 'f') \
         SELECT t.relname::text, f.name::text, a.attname::text FROM found f JOIN pg_class t ON t.oid = f.relation \
         CROSS JOIN unnest(f.keys) WITH ORDINALITY AS k (number, place) \
         JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = k.number \
         WHERE f.relation = ANY (ARRAY[{}]::oid[]) ORDER BY 1, 2, k.place",
        tables.join(", ")
    );
    let rows = connection.ask(&sql).await.map_err(failed)?;

    let mut constraints = HashMap::<_, Vec<String>>::new();
    for row in &rows {
        let read = |index| row.try_get::<String, _>(index).map_err(failed);
        constraints
            .entry((read(0)?, read(1)?))
            .or_default()
            .push(read(2)?);
    }
    Ok(constraints)
}
