//! Reads, creates and changes the tables of PostgreSQL.
//!
//! References are declared without an action, and can be deferred, for rows that refer to each
//! other in a circle. Text is compared byte by byte, as on SQLite, and not by the rules of a
//! language.

// Names in statements.
mod names;

// Statements that create and change tables.
mod ddl;

// Existing tables.
mod existing;

use std::collections::HashMap;

use sqlx::Row as _;
use tidings_core::Schema;

pub(super) use self::existing::Tables;
use self::names::{identifier, literal};
use crate::{
    error::Error,
    layout::complete,
    postgres::{codes::failed, connection::Connection},
};

/// Creates or completes the tables. Call it in a transaction that is rolled back on an error.
pub(crate) async fn lay_out(
    connection: &mut Connection,
    schemas: &[&'static Schema],
) -> Result<(), Error> {
    complete(&mut Tables(connection), schemas).await
}

/// Returns the columns of all unique indexes and references of the tables, by the names of table
/// and constraint.
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
