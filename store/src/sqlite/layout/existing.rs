//! Reads existing tables.

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    ddl::Sqlite,
    rules::{rules, words},
};
use crate::{
    error::Error,
    layout::{
        Column, DdlDialect, Existing, ExistingIndex, Inspect, Reference, Table,
        ddl::{identifier, is_ours},
    },
    sqlite::codes::failed,
};

/// The tables of a file.
#[derive(Debug)]
pub(crate) struct Tables<'a>(pub(crate) &'a mut SqliteConnection);

impl Inspect for Tables<'_> {
    fn dialect(&self) -> &'static dyn DdlDialect {
        &Sqlite
    }

    fn find<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Existing, Error>> {
        async move { find(self.0, name).await.map_err(failed) }.boxed()
    }

    // A rebuilt table keeps its indexes; rules that it would lose prevent the rebuild.
    fn along<'a>(
        &'a mut self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn count<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        async move {
            let counting = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *self.0);
            let counted = counting.await.and_then(|row| row.try_get::<i64, _>(0));
            counted.map(i64::unsigned_abs).map_err(failed)
        }
        .boxed()
    }

    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        async move {
            let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *self.0);
            let ran = ran.await.map(|done| done.rows_affected());
            ran.map_err(|error| Error::statement(sql, failed(error)))
        }
        .boxed()
    }
}

async fn find(connection: &mut SqliteConnection, name: &str) -> Result<Existing, sqlx::Error> {
    let found =
        sqlx::query("SELECT type, sql FROM sqlite_schema WHERE name = ? AND type <> 'index'")
            .bind(name.to_owned())
            .fetch_optional(&mut *connection)
            .await?;
    let Some(found) = found else {
        return Ok(Existing::Nothing);
    };

    let kind: String = found.try_get(0)?;
    if kind != "table" {
        return Ok(Existing::Other(kind));
    }

    let made: String = found.try_get(1)?;
    let mut table = Table {
        columns: columns(connection, name).await?,
        rules: rules(&made),
        ..Table::default()
    };
    let kind =
        sqlx::query("SELECT strict, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?")
            .bind(name.to_owned())
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(kind) = kind {
        table.strict = kind.try_get(0)?;
        let is_numbered = !kind.try_get::<bool, _>(1)?;
        table.number = is_numbered.then(|| number(&table.columns)).flatten();
    }

    let generated = table.columns.iter().filter(|(_, it)| it.is_generated);
    let generated = generated.map(|(name, _)| format!("the generated column {name}"));
    table.rules.extend(generated);
    keys(connection, name, &mut table).await?;
    references(connection, name, &mut table).await?;
    beside(connection, name, &made, &mut table).await?;
    Ok(Existing::Table(table))
}

/// Returns a name of the row number that no column uses.
fn number(columns: &BTreeMap<String, Column>) -> Option<&'static str> {
    let is_free = |name: &&str| !columns.keys().any(|it| it.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(is_free)
}

/// Adds a primary key of several columns to the rules: a rebuilt table has it only if the schema
/// has it.
async fn keys(
    connection: &mut SqliteConnection,
    name: &str,
    table: &mut Table,
) -> Result<(), sqlx::Error> {
    let sql = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk";
    let found = sqlx::query(sql).bind(name.to_owned());
    let found = found.fetch_all(connection).await?;
    let columns = found.iter().map(|row| row.try_get(0));
    let columns = columns.collect::<Result<Vec<String>, _>>()?;
    if columns.len() > 1 {
        let rule = format!("PRIMARY KEY ({})", columns.join(", "));
        table.rules.push(rule);
    }

    Ok(())
}

async fn columns(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<BTreeMap<String, Column>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT name, type, \"notnull\", dflt_value, pk > 0, hidden > 1 FROM pragma_table_xinfo(?)",
    )
    .bind(table.to_owned())
    .fetch_all(connection)
    .await?;
    let read = |row: &SqliteRow| {
        let default: Option<String> = row.try_get(3)?;
        let column = Column {
            declared: row.try_get(1)?,
            not_null: row.try_get(2)?,
            fills_itself: default.is_some(),
            default,
            is_key: row.try_get(4)?,
            is_generated: row.try_get(5)?,
            reference: None,
        };
        Ok((row.try_get(0)?, column))
    };
    found.iter().map(read).collect()
}

/// Reads the table's references: those of one column by that column, and the others as rules.
async fn references(
    connection: &mut SqliteConnection,
    name: &str,
    table: &mut Table,
) -> Result<(), sqlx::Error> {
    let found = sqlx::query(
        "SELECT id, \"from\", \"table\", \"to\", on_delete, on_update, \
         coalesce(\"to\", (SELECT name FROM pragma_table_xinfo(\"table\") WHERE pk = 1)) \
         FROM pragma_foreign_key_list(?) ORDER BY id, seq",
    )
    .bind(name.to_owned())
    .fetch_all(connection)
    .await?;
    let mut keys: BTreeMap<i64, Vec<&SqliteRow>> = BTreeMap::new();
    for row in &found {
        keys.entry(row.try_get(0)?).or_default().push(row);
    }

    for rows in keys.values() {
        let columns = rows.iter().map(|row| row.try_get(1));
        let columns = columns.collect::<Result<Vec<String>, _>>()?;
        let is_first = !columns.iter().any(|it| table.references.contains_key(it));
        match (&rows[..], &columns[..]) {
            ([row], [column]) if is_first => {
                let reference = reference(row)?;
                if let Some(existing) = table.columns.get_mut(column) {
                    existing.reference = Some(clause(row)?);
                }
                table.references.insert(column.clone(), vec![reference]);
            }
            _ => {
                let parent: String = rows[0].try_get(2)?;
                let columns = columns.join(", ");
                let rule = format!("FOREIGN KEY ({columns}) REFERENCES {parent}");
                table.rules.push(rule);
            }
        }
    }

    Ok(())
}

fn reference(row: &SqliteRow) -> Result<Reference, sqlx::Error> {
    let action_of = |when: &str, action: String| {
        let harmless = matches!(action.as_str(), "NO ACTION" | "RESTRICT");
        (!harmless).then(|| format!("ON {when} {action}"))
    };
    Ok(Reference {
        name: None,
        table: row.try_get(2)?,
        key: row.try_get::<Option<_>, _>(6)?.unwrap_or_default(),
        is_checked: true,
        action: action_of("DELETE", row.try_get(4)?).or(action_of("UPDATE", row.try_get(5)?)),
    })
}

/// Returns the clause of a reference in the definition of its column.
fn clause(row: &SqliteRow) -> Result<String, sqlx::Error> {
    let (parent, key): (String, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
    let mut clause = format!("REFERENCES {}", identifier(&parent));
    if let Some(key) = key {
        clause.push_str(&format!(" ({})", identifier(&key)));
    }

    for (when, action) in [("DELETE", 4), ("UPDATE", 5)] {
        let action: String = row.try_get(action)?;
        if action != "NO ACTION" {
            clause.push_str(&format!(" ON {when} {action}"));
        }
    }
    Ok(clause)
}

/// Reads what belongs to a table under a name of its own: indexes, triggers, unique constraints.
async fn beside(
    connection: &mut SqliteConnection,
    name: &str,
    made: &str,
    table: &mut Table,
) -> Result<(), sqlx::Error> {
    // By default an index compares as its columns do, and those compare bytes.
    let may_compare_otherwise = words(made).iter().any(|word| word == "COLLATE");

    // The name of an expression is null.
    let indexes = sqlx::query(
        "SELECT l.name, l.origin, l.\"unique\", l.partial, \
         (SELECT json_group_array(x.name) FROM pragma_index_info(l.name) AS x), \
         EXISTS (SELECT 1 FROM pragma_index_xinfo(l.name) AS x WHERE x.key AND upper(x.coll) <> 'BINARY') \
         FROM pragma_index_list(?) AS l",
    )
    .bind(name.to_owned())
    .fetch_all(&mut *connection)
    .await?;
    for row in &indexes {
        let (index, origin): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let is_partial: bool = row.try_get(3)?;
        let fields: String = row.try_get(4)?;
        let fields: Vec<Option<String>> = serde_json::from_str(&fields).unwrap_or_default();
        let existing = ExistingIndex {
            unique: row.try_get(2)?,
            is_whole: !is_partial
                && fields.iter().all(Option::is_some)
                && (may_compare_otherwise || !row.try_get::<bool, _>(5)?),
            is_being_made: false,
            constraint: None,
            fields: fields.into_iter().flatten().collect(),
        };
        if origin == "u" {
            let rule = format!("UNIQUE ({})", existing.fields.join(","));
            table.rules.push(rule);
        }

        table.indexes.insert(index, existing);
    }

    let others = sqlx::query(
        "SELECT name, sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL \
         AND (type = 'index' OR type = 'trigger' AND name NOT GLOB 'tidings:*') ORDER BY type, name",
    )
    .bind(name.to_owned())
    .fetch_all(connection)
    .await?;
    for row in &others {
        let name: String = row.try_get(0)?;
        if !is_ours(&name) {
            table.others.push(row.try_get(1)?);
        }
    }

    Ok(())
}
