//! Whether capture is in place: what the triggers are, beside what they should be.
//!
//! Looked at whenever the schema has moved. Each look takes a print of the triggers by where SQLite
//! keeps them, so that one that was dropped and made again tells.

use std::collections::BTreeMap;

use sqlx::{Row as _, SqliteConnection};
use tidings_core::Schema;

use super::{
    capture::{Target, captured},
    error::SqliteLogError,
    shape::{Named, shape_of},
    triggers::{is_newer, recorded_by},
};
use crate::logs::{
    keys::key_fields,
    prints::{Print, Prints},
};

/// Returns the state of capture of all entities that a node reads.
pub(super) async fn look(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<Prints, SqliteLogError> {
    let mut prints = Vec::new();
    for schema in schemas {
        let there = triggers_of(connection, schema.name()).await?;
        let in_place = is_in_place(connection, schema, &there).await?;
        let print = there
            .iter()
            .map(|(name, (row, sql))| format!("{row}:{name}:{sql}\n"))
            .collect();
        prints.push((schema.name().to_owned(), Print { in_place, print }));
    }

    Ok(prints.into_iter().collect())
}

/// Returns the triggers of an entity's table that are ours: where each is kept, and its text.
pub(super) async fn triggers_of(
    connection: &mut SqliteConnection,
    entity: &str,
) -> Result<BTreeMap<String, (i64, String)>, SqliteLogError> {
    let found = sqlx::query(
        "SELECT rowid, name, sql FROM sqlite_schema \
         WHERE type = 'trigger' AND tbl_name = ? AND name GLOB 'tidings:*'",
    )
    .bind(entity.to_owned())
    .fetch_all(connection)
    .await?;
    let read =
        |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get(1)?, (row.try_get(0)?, row.try_get(2)?)));
    found.iter().map(read).collect()
}

async fn is_in_place(
    connection: &mut SqliteConnection,
    schema: &'static Schema,
    there: &BTreeMap<String, (i64, String)>,
) -> Result<bool, SqliteLogError> {
    let Named::Table(shape) = shape_of(connection, schema.name()).await? else {
        return Ok(false);
    };

    let captured = captured(connection, schema).await?;
    let recorded = captured.as_ref().map(|(_, fields, _)| fields.clone());
    let Some(wanted) = Target::of(schema, shape, captured).triggers() else {
        // Fields that only a handler would miss are taken for their defaults.
        return Ok(recorded.is_some_and(|recorded| {
            let keys = key_fields(schema);
            let named = |field: &&str| recorded.iter().any(|name| name == field);
            there.len() == super::triggers::When::ALL.len() && keys.iter().all(named)
        }));
    };

    Ok(wanted.iter().all(|(name, wanted)| {
        there.get(name).is_some_and(|(_, sql)| {
            // A later program's triggers record at least what it has found recorded.
            sql == wanted || recorded_by(sql).is_some_and(|(version, _)| is_newer(version))
        })
    }))
}
