//! [`Shape`]: what the triggers of a table have to know about it.

use std::collections::BTreeMap;

use sqlx::{Row as _, SqliteConnection};

use super::{
    error::SqliteLogError,
    names::identifier,
    words::{condition_of, default_of},
};

/// An existing table.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Its columns, each with the default that replaces an absent value under `REPLACE`.
    pub(super) columns: BTreeMap<String, Option<String>>,
    /// Its unique constraints, each as the condition that a row `t` conflicts with `NEW`.
    conflicts: Vec<String>,
    /// The columns of each unique index.
    unique: Vec<Vec<String>>,
    /// Unique indexes over expressions, which triggers cannot check.
    pub(super) unseen: Vec<String>,
    /// Whether SQLite enforces the types of its columns, so that only texts can be long.
    pub(super) strict: bool,
}

/// What has the name of an entity.
#[derive(Clone, Debug)]
pub(super) enum Existing {
    Nothing,
    /// Something of this kind, whose changes no trigger can record.
    Other(&'static str),
    Table(Shape),
}

/// A unique index: its columns with their collations, `None` for an expression.
#[derive(Default)]
struct Index {
    partial: bool,
    /// The condition of a partial one.
    filter: Option<String>,
    columns: Vec<Option<(String, String)>>,
}

/// Returns what has this name: a table, something else, or nothing.
pub(super) async fn shape_of(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<Existing, SqliteLogError> {
    let found = sqlx::query(
        "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?",
    )
    .bind(table.to_owned())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else {
        return Ok(Existing::Nothing);
    };

    let kind: String = found.try_get(0)?;
    match kind.as_str() {
        "table" => {}
        "view" => return Ok(Existing::Other("a view")),
        _ => return Ok(Existing::Other("a virtual table")),
    }
    let (without_rowid, strict): (bool, bool) = (found.try_get(1)?, found.try_get(2)?);

    let columns = sqlx::query(
        "SELECT name, CASE WHEN \"notnull\" THEN dflt_value END, pk, upper(type) = 'INTEGER' \
         FROM pragma_table_xinfo(?)",
    )
    .bind(table.to_owned())
    .fetch_all(&mut *connection)
    .await?;
    let mut shape = Shape {
        columns: BTreeMap::new(),
        conflicts: Vec::new(),
        unique: Vec::new(),
        unseen: Vec::new(),
        strict,
    };
    let mut keys = Vec::new();
    for column in &columns {
        let (name, key): (String, i64) = (column.try_get(0)?, column.try_get(2)?);
        if key > 0 {
            keys.push((name.clone(), column.try_get::<bool, _>(3)?));
        }
        shape.columns.insert(name, column.try_get(1)?);
    }

    shape.add_rowid(&keys, without_rowid);
    shape.add_indexes(connection, table).await?;
    Ok(Existing::Table(shape))
}

impl Shape {
    /// Adds the row number: by the name of a column, or by one of three names that no column has.
    fn add_rowid(&mut self, keys: &[(String, bool)], without_rowid: bool) {
        if without_rowid {
            return;
        }
        if let [(key, true)] = keys {
            self.unique.push(vec![key.clone()]);
            self.conflicts.push(self.equal(key, None));
            return;
        }

        let names = ["rowid", "_rowid_", "oid"];
        let free = names.iter().find(|name| {
            let mut columns = self.columns.keys();
            !columns.any(|column| column.eq_ignore_ascii_case(name))
        });
        if let Some(name) = free {
            self.conflicts.push(format!("t.{name} = NEW.{name}"));
        }
    }

    async fn add_indexes(
        &mut self,
        connection: &mut SqliteConnection,
        table: &str,
    ) -> Result<(), SqliteLogError> {
        let found = sqlx::query(
            "SELECT l.name, x.name, x.coll, l.partial, m.sql FROM pragma_index_list(?) AS l \
             JOIN pragma_index_xinfo(l.name) AS x ON x.key = 1 \
             LEFT JOIN sqlite_schema AS m ON m.type = 'index' AND m.name = l.name \
             WHERE l.\"unique\" = 1 ORDER BY l.name, x.seqno",
        )
        .bind(table.to_owned())
        .fetch_all(connection)
        .await?;
        let mut indexes: BTreeMap<String, Index> = BTreeMap::new();

        for row in &found {
            let name: String = row.try_get(0)?;
            let (column, collation): (Option<String>, Option<String>) =
                (row.try_get(1)?, row.try_get(2)?);
            let index = indexes.entry(name).or_default();
            index.partial = row.try_get(3)?;

            if index.partial {
                let statement: Option<String> = row.try_get(4)?;
                index.filter = statement
                    .as_deref()
                    .and_then(condition_of)
                    .map(str::to_owned);
            }

            let column = column.map(|it| (it, collation.unwrap_or_default()));
            index.columns.push(column);
        }

        for (name, index) in indexes {
            let Index {
                partial,
                filter,
                columns,
            } = index;
            let Some(columns) = columns.into_iter().collect::<Option<Vec<_>>>() else {
                self.unseen.push(name);
                continue;
            };

            let equal = columns
                .iter()
                .map(|(column, collation)| self.equal(column, Some(collation)));

            // With the index's own condition. Without it, SQLite cannot use a partial index, and
            // reads the whole table at each write.
            let condition = equal
                .chain(filter.map(|filter| format!("({filter})")))
                .collect::<Vec<_>>()
                .join(" AND ");
            self.conflicts.push(format!("({condition})"));

            if !partial {
                let columns = columns.into_iter().map(|(column, _)| column);
                self.unique.push(columns.collect());
            }
        }

        Ok(())
    }

    /// Returns the condition that a column of `t` has the same value as `NEW` with its default.
    fn equal(&self, column: &str, collation: Option<&String>) -> String {
        let name = identifier(column);
        let new = match self.columns.get(column) {
            Some(Some(default)) => format!("coalesce(NEW.{name}, {})", default_of(default)),
            Some(None) | None => format!("NEW.{name}"),
        };
        let collate = collation.map(|it| format!(" COLLATE {}", identifier(it)));
        format!("t.{name} = {new}{}", collate.unwrap_or_default())
    }

    /// Returns whether columns identify a row: all or some of them are unique.
    pub(super) fn is_unique(&self, columns: &[&str]) -> bool {
        let names = |unique: &Vec<String>| unique.iter().all(|it| columns.contains(&it.as_str()));
        self.unique.iter().any(names)
    }

    /// Returns the condition under which a row `t` is in the way of `NEW`.
    pub(super) fn conflict(&self) -> String {
        if self.conflicts.is_empty() {
            return "0".to_owned();
        }
        self.conflicts.join(" OR ")
    }
}
