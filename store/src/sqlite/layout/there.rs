//! Reads tables as they are in the database.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::words::Sqlite;
use crate::{
    error::Error,
    layout::{Column, Inspect, Named, Reference, Table, Words, words::is_ours},
    sqlite::codes::failed,
};

/// The tables of a file.
#[derive(Debug)]
pub(crate) struct Tables<'a>(pub(crate) &'a mut SqliteConnection);

impl Inspect for Tables<'_> {
    fn words(&self) -> &'static dyn Words {
        &Sqlite
    }

    fn named<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Named, Error>> {
        async move { named(self.0, name).await.map_err(failed) }.boxed()
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

async fn named(connection: &mut SqliteConnection, name: &str) -> Result<Named, sqlx::Error> {
    let found =
        sqlx::query("SELECT type, sql FROM sqlite_schema WHERE name = ? AND type <> 'index'")
            .bind(name.to_owned())
            .fetch_optional(&mut *connection)
            .await?;
    let Some(found) = found else {
        return Ok(Named::Nothing);
    };
    let kind: String = found.try_get(0)?;
    if kind != "table" {
        return Ok(Named::Other(kind));
    }

    let made: String = found.try_get(1)?;
    let mut table = Table {
        columns: columns(connection, name).await?,
        references: references(connection, name).await?,
        rules: rules(&made),
        ..Table::default()
    };
    let strict =
        sqlx::query("SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?")
            .bind(name.to_owned())
            .fetch_optional(&mut *connection)
            .await?;
    table.strict = strict.map_or(Ok(false), |row| row.try_get(0))?;
    beside(connection, name, &mut table).await?;
    Ok(Named::Table(table))
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
        };
        Ok((row.try_get(0)?, column))
    };
    found.iter().map(read).collect()
}

/// Returns the table's references of one column each, by that column.
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
    let read = |row: &SqliteRow| {
        let acts = |when: &str, action: String| {
            let harmless = matches!(action.as_str(), "NO ACTION" | "RESTRICT");
            (!harmless).then(|| format!("ON {when} {action}"))
        };
        let reference = Reference {
            name: None,
            table: row.try_get(1)?,
            key: row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
            action: acts("DELETE", row.try_get(3)?).or(acts("UPDATE", row.try_get(4)?)),
        };
        Ok((row.try_get(0)?, reference))
    };
    found.iter().map(read).collect()
}

/// Returns what is beside a table under a name of its own: indexes, triggers, rules of uniqueness.
async fn beside(
    connection: &mut SqliteConnection,
    name: &str,
    table: &mut Table,
) -> Result<(), sqlx::Error> {
    let indexes = sqlx::query(
        "SELECT l.name, l.origin, (SELECT group_concat(x.name) FROM pragma_index_info(l.name) AS x) \
         FROM pragma_index_list(?) AS l",
    )
    .bind(name.to_owned())
    .fetch_all(&mut *connection)
    .await?;
    let mut names = BTreeSet::new();
    for row in &indexes {
        let (index, origin): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if origin == "u" {
            let columns: Option<String> = row.try_get(2)?;
            table
                .rules
                .push(format!("UNIQUE ({})", columns.unwrap_or_default()));
        }
        names.insert(index);
    }
    table.indexes = names;

    let others = sqlx::query(
        "SELECT name, sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL \
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

/// Returns what a table's own statement says beyond types, defaults, keys and references.
fn rules(made: &str) -> Vec<String> {
    const RULES: [&str; 4] = ["CHECK", "COLLATE", "GENERATED", "AUTOINCREMENT"];
    let bare = unquoted(made).to_ascii_uppercase();
    let words: BTreeSet<_> = bare
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .collect();
    let rules = RULES.iter().filter(|rule| words.contains(**rule));
    rules
        .map(|rule| format!("a rule of its own ({rule})"))
        .collect()
}

/// Returns a statement without its names and texts in quotes.
fn unquoted(sql: &str) -> String {
    let mut bare = String::new();
    let mut quote = None;
    for letter in sql.chars() {
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(letter),
            (None, '[') => quote = Some(']'),
            (None, letter) => bare.push(letter),
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_where_they_are_no_names_and_no_texts() {
        let made = "CREATE TABLE t (a TEXT DEFAULT 'CHECK it''s', \"collate\" INTEGER) STRICT";
        assert_eq!(rules(made), [""; 0]);
        let made = "create table t (a text check (a <> ''), b text collate nocase)";
        assert_eq!(
            rules(made),
            ["a rule of its own (CHECK)", "a rule of its own (COLLATE)"]
        );
    }
}
