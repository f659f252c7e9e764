//! Reads existing tables.

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Row as _, postgres::PgRow};

use super::{
    ddl::Postgres,
    names::{identifier, literal},
};
use crate::{
    error::Error,
    layout::{
        Column, DdlDialect, Existing, ExistingIndex, Inspect, Reference, Table, ddl::is_ours,
    },
    postgres::{codes::failed, connection::Connection},
};

/// The tables of a database.
#[derive(Debug)]
pub(crate) struct Tables<'a>(pub(crate) &'a mut Connection);

impl Inspect for Tables<'_> {
    fn dialect(&self) -> &'static dyn DdlDialect {
        &Postgres
    }

    fn find<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Existing, Error>> {
        async move { find(self.0, name).await.map_err(failed) }.boxed()
    }

    fn along<'a>(
        &'a mut self,
        table: &'a str,
        column: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        async move { along(self.0, table, column).await.map_err(failed) }.boxed()
    }

    fn count<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        async move {
            let rows = self.0.ask(sql).await.map_err(failed)?;
            let counted = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0));
            counted.map(i64::unsigned_abs).map_err(failed)
        }
        .boxed()
    }

    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        async move {
            let ran = self.0.affect(sql).await;
            ran.map_err(|error| Error::statement(sql, failed(error)))
        }
        .boxed()
    }
}

async fn find(connection: &mut Connection, name: &str) -> Result<Existing, sqlx::Error> {
    let kind = kind_of(connection, name).await?;
    match kind.as_deref() {
        None => return Ok(Existing::Nothing),
        Some("table") => {}
        Some(other) => return Ok(Existing::Other(other.to_owned())),
    }

    Ok(Existing::Table(Table {
        columns: columns(connection, name).await?,
        references: references(connection, name).await?,
        indexes: indexes(connection, name).await?,
        strict: true,
        ..Table::default()
    }))
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

async fn columns(
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, Column>, sqlx::Error> {
    let sql = format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
         CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, a.attidentity <> '', \
         coalesce(a.attnum = ANY (k.conkey), false), a.attgenerated <> '' OR a.attidentity = 'a' \
         FROM pg_attribute a LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p' \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped",
        literal(&identifier(table))
    );
    let read = |row: &PgRow| {
        let default: Option<String> = row.try_get(3)?;
        let column = Column {
            declared: row.try_get(1)?,
            not_null: row.try_get(2)?,
            fills_itself: default.is_some() || row.try_get(4)?,
            default,
            is_key: row.try_get(5)?,
            is_generated: row.try_get(6)?,
            reference: None,
        };
        Ok((row.try_get(0)?, column))
    };
    connection.ask(&sql).await?.iter().map(read).collect()
}

/// Reads the indexes. The progress of another role's session is hidden. A session that creates an
/// index holds a lock on the table while the index is not valid.
async fn indexes(
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, ExistingIndex>, sqlx::Error> {
    let sql = format!(
        "SELECT i.relname::text, x.indisunique, x.indisvalid AND x.indimmediate AND x.indpred IS NULL \
           AND x.indexprs IS NULL AND m.amname = 'btree' \
           AND coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false) = false \
           AND NOT EXISTS (SELECT FROM generate_series(0, x.indnkeyatts - 1) AS n (place) \
             JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[n.place] \
             JOIN pg_opclass o ON o.oid = x.indclass[n.place] \
             WHERE NOT o.opcdefault OR x.indcollation[n.place] <> a.attcollation), \
         ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (number, place) \
         JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number \
         WHERE k.place <= x.indnkeyatts ORDER BY k.place), \
         EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.oid \
           OR p.relid IS NULL AND NOT x.indisvalid AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = p.pid \
             AND l.locktype = 'relation' AND l.relation = x.indrelid AND l.mode = 'ShareUpdateExclusiveLock' \
             AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))), \
         (SELECT min(c.conname::text) FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x')) \
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam WHERE x.indrelid = to_regclass({})",
        literal(&identifier(table))
    );
    let read = |row: &PgRow| {
        let index = ExistingIndex {
            unique: row.try_get(1)?,
            is_whole: row.try_get(2)?,
            fields: row.try_get(3)?,
            is_being_made: row.try_get(4)?,
            constraint: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, index))
    };
    connection.ask(&sql).await?.iter().map(read).collect()
}

/// Returns the table's references that have one column, by that column. The copies that a reference
/// to a partitioned table has for each partition are left out.
async fn references(
    connection: &mut Connection,
    table: &str,
) -> Result<BTreeMap<String, Vec<Reference>>, sqlx::Error> {
    let sql = format!(
        "SELECT f.attname::text, CASE WHEN p.oid = to_regclass(quote_ident(p.relname)) THEN p.relname::text \
         ELSE p.relnamespace::regnamespace || '.' || p.relname END, \
         k.attname::text, c.confdeltype::text, c.confupdtype::text, c.conname::text, c.convalidated \
         FROM pg_constraint c JOIN pg_class p ON p.oid = c.confrelid \
         JOIN pg_attribute f ON f.attrelid = c.conrelid AND f.attnum = c.conkey[1] \
         JOIN pg_attribute k ON k.attrelid = c.confrelid AND k.attnum = c.confkey[1] \
         WHERE c.contype = 'f' AND c.conrelid = to_regclass({}) AND cardinality(c.conkey) = 1 \
         AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.oid = c.conparentid AND o.conrelid = c.conrelid) \
         ORDER BY c.oid",
        literal(&identifier(table))
    );
    let action_of = |when: &str, action: String| {
        let action = match action.as_str() {
            "c" => "CASCADE",
            "n" => "SET NULL",
            "d" => "SET DEFAULT",
            // `a` is no action, `r` restrict.
            _ => return None,
        };
        Some(format!("ON {when} {action}"))
    };
    let read = |row: &PgRow| -> Result<(String, Reference), sqlx::Error> {
        let reference = Reference {
            name: row.try_get(5)?,
            table: row.try_get(1)?,
            key: row.try_get(2)?,
            is_checked: row.try_get(6)?,
            action: action_of("DELETE", row.try_get(3)?).or(action_of("UPDATE", row.try_get(4)?)),
        };
        Ok((row.try_get(0)?, reference))
    };
    let mut references = BTreeMap::<String, Vec<Reference>>::new();
    for row in &connection.ask(&sql).await? {
        let (column, reference) = read(row)?;
        references.entry(column).or_default().push(reference);
    }

    Ok(references)
}

/// Returns what is dropped with a column of a table and of its partitions. Leaves out the column's
/// own default and sequence, our indexes, and rules on this column alone: NOT NULL and its
/// reference. What a partition inherits is listed once, for the parent.
async fn along(
    connection: &mut Connection,
    table: &str,
    column: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!(
        "SELECT DISTINCT 'the ' || it.type || ' ' || it.identity, coalesce(i.relname::text, '') \
         FROM (WITH RECURSIVE parts (oid) AS (SELECT to_regclass({})::oid UNION \
           SELECT n.inhrelid FROM pg_inherits n JOIN parts p ON n.inhparent = p.oid) SELECT oid FROM parts) AS t \
         JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid \
           AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') \
         CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS it \
         LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND d.objsubid = 0 \
         LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid \
         LEFT JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid \
         WHERE a.attname = {} AND v.adnum IS DISTINCT FROM a.attnum \
           AND i.relkind IS DISTINCT FROM 'S' AND c.contype IS DISTINCT FROM 'n' \
           AND NOT EXISTS (SELECT FROM pg_inherits n WHERE n.inhrelid = i.oid) \
           AND c.conislocal IS DISTINCT FROM false AND coalesce(c.conparentid, 0) = 0 \
           AND NOT coalesce(c.contype = 'f' AND c.conkey = ARRAY[a.attnum], false) ORDER BY 1",
        literal(&identifier(table)),
        literal(column)
    );
    let mut along = Vec::new();
    for row in &connection.ask(&sql).await? {
        let index: String = row.try_get(1)?;
        if !is_ours(&index) {
            along.push(row.try_get(0)?);
        }
    }

    Ok(along)
}
