//! Checks whether capture is in place: compares the triggers with what they should be.
//!
//! The check runs whenever the schema has changed. Each check takes a fingerprint of the triggers
//! that includes where SQLite stores them, so that it shows if one was dropped and created again.

use std::collections::BTreeMap;

use sqlx::{Row as _, SqliteConnection};
use tidings_core::Schema;

use super::{
    capture::{Target, captured},
    error::SqliteLogError,
    shape::{Existing, shape_of},
    triggers::{is_newer, recorded_by},
};
use crate::logs::{
    capture::{CaptureState, CaptureStates},
    keys::key_fields,
};

/// Returns the state of capture of all entities that a node reads.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<CaptureStates, SqliteLogError> {
    let mut states = Vec::new();
    for schema in schemas {
        let existing = triggers_of(connection, schema.name()).await?;
        let in_place = is_in_place(connection, schema, &existing).await?;
        let fingerprint = existing
            .iter()
            .map(|(name, (row, sql))| format!("{row}:{name}:{sql}\n"))
            .collect();
        states.push((
            schema.name().to_owned(),
            CaptureState {
                in_place,
                fingerprint,
            },
        ));
    }

    Ok(states.into_iter().collect())
}

/// Returns our triggers on an entity's table: where each is stored, and its text.
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
    existing: &BTreeMap<String, (i64, String)>,
) -> Result<bool, SqliteLogError> {
    let Existing::Table(shape) = shape_of(connection, schema.name()).await? else {
        return Ok(false);
    };

    let captured = captured(connection, schema).await?;
    let recorded = captured.as_ref().map(|(_, fields, _)| fields.clone());
    let Some(wanted) = Target::of(schema, shape, captured).triggers() else {
        // If only fields that are no keys are missing, capture counts as in place: handlers get
        // their defaults.
        return Ok(recorded.is_some_and(|recorded| {
            let keys = key_fields(schema);
            let named = |field: &&str| recorded.iter().any(|name| name == field);
            existing.len() == super::triggers::When::ALL.len() && keys.iter().all(named)
        }));
    };

    Ok(wanted.iter().all(|(name, wanted)| {
        existing.get(name).is_some_and(|(_, sql)| {
            // The triggers of a newer program record at least the fields that it found recorded.
            sql == wanted || recorded_by(sql).is_some_and(|(version, _)| is_newer(version))
        })
    }))
}
