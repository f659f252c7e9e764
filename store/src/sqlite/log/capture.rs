//! Puts the triggers of captured tables in place, and removes them.
//!
//! Installing is idempotent: it does not touch what is already in place. The triggers record the
//! union of the fields that their installers named. Only a migration removes a field, while no node
//! runs. Tables and triggers change in one transaction, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row as _, SqliteConnection};
use tidings_core::{FieldKind, Schema};

use super::{
    error::SqliteLogError,
    key::Key,
    names::{identifier, joined, side_table, split},
    shape::{Existing, Shape, shape_of},
    tables::{prepare, run, version},
    triggers::{Plan, When},
};
use crate::{
    logs::{keys::key_fields, status::Installed},
    migration::RecordedFields,
};

/// The table on which an entity is captured, and what is captured.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) schema: &'static Schema,
    pub(super) shape: Shape,
    /// `None` if no layout has these fields yet.
    layout: Option<i64>,
    fields: Vec<String>,
    keys: Vec<String>,
}

/// Installs in a write transaction, which the caller rolls back on an error.
pub(crate) async fn install_within(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
    recorded: RecordedFields,
) -> Result<Installed, SqliteLogError> {
    prepare(connection).await?;
    let mut differences = Vec::new();
    let mut installed = Installed::default();
    for schema in schemas {
        let target = wanted(connection, schema, recorded, &mut differences).await?;
        if let Some(target) = target
            && differences.is_empty()
        {
            capture(connection, target, &mut installed).await?;
        }
    }

    if differences.is_empty() {
        Ok(installed)
    } else {
        Err(SqliteLogError::Incompatible { differences })
    }
}

/// Returns whether any program has installed triggers that record writes.
pub(crate) async fn is_captured(connection: &mut SqliteConnection) -> Result<bool, SqliteLogError> {
    if version(connection).await?.is_none() {
        return Ok(false);
    }
    let any = sqlx::query("SELECT EXISTS (SELECT 1 FROM tidings_captures)");
    Ok(any.fetch_one(connection).await?.try_get(0)?)
}

/// Removes the triggers of every entity, in a write transaction. The log and its epoch stay.
/// Returns the tables that had triggers.
pub(super) async fn remove_within(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, SqliteLogError> {
    if version(connection).await?.is_none() {
        return Ok(Vec::new());
    }

    let found = sqlx::query(
        "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'tidings:*'",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tables = BTreeSet::new();
    for row in &found {
        let name: String = row.try_get(0)?;
        run(connection, format!("DROP TRIGGER {}", identifier(&name))).await?;
        tables.insert(row.try_get::<String, _>(1)?);
    }

    // The log, too, tells its readers that nothing is recorded any more.
    let sql = "INSERT INTO tidings_log (kind, entity) SELECT 't', entity FROM tidings_captures; \
                DELETE FROM tidings_captures";
    run(connection, sql.to_owned()).await?;
    Ok(tables.into_iter().collect())
}

/// Returns what an entity's triggers should record. If its table cannot be captured, returns `None`
/// and adds a line for each reason.
async fn wanted(
    connection: &mut SqliteConnection,
    schema: &'static Schema,
    recorded: RecordedFields,
    differences: &mut Vec<String>,
) -> Result<Option<Target>, SqliteLogError> {
    let entity = schema.name();
    let shape = match shape_of(connection, entity).await? {
        Existing::Table(shape) => shape,
        Existing::Nothing => {
            differences.push(format!("there is no table {entity}"));
            return Ok(None);
        }
        Existing::Other(kind) => {
            differences.push(format!(
                "{entity} is {kind}, whose changes no trigger can record"
            ));
            return Ok(None);
        }
    };
    let before = differences.len();

    for field in schema.fields() {
        if !shape.columns.contains_key(field.name()) {
            differences.push(format!("{entity} lacks the column {}", field.name()));
        }
    }

    let key = Key::of(schema);
    if !shape.is_unique(key.names()) {
        differences.push(match key.names() {
            [key] => format!("{entity}.{key} does not name one row: it is not unique"),
            names => format!(
                "{} of {entity} do not name one row: they are not unique together",
                names.join(", ")
            ),
        });
    }

    for index in &shape.unseen {
        differences.push(format!(
            "rows of {entity} that REPLACE removes over the index {index} would be missed: it is over an expression"
        ));
    }

    if differences.len() > before {
        return Ok(None);
    }
    let captured = match recorded {
        RecordedFields::SchemasAndEarlier => captured(connection, schema).await?,
        RecordedFields::SchemasOnly => None,
    };
    Ok(Some(Target::of(schema, shape, captured)))
}

/// Returns what is captured of an entity, as stored in the log; `None` if it is not captured.
pub(super) async fn captured(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<Option<(i64, Vec<String>, Vec<String>)>, SqliteLogError> {
    let found = sqlx::query(
        "SELECT l.id, l.fields, l.keys FROM tidings_captures AS c JOIN tidings_layouts AS l ON l.id = c.layout \
         WHERE c.entity = ?",
    )
    .bind(schema.name())
    .fetch_optional(connection)
    .await?;
    let Some(row) = found else {
        return Ok(None);
    };

    let (fields, keys): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Some((row.try_get(0)?, split(&fields), split(&keys))))
}

impl Target {
    /// Combines the captured fields with those of the schema, as far as the table has their
    /// columns.
    pub(super) fn of(
        schema: &'static Schema,
        shape: Shape,
        captured: Option<(i64, Vec<String>, Vec<String>)>,
    ) -> Self {
        let (layout, fields, keys) = match captured {
            Some((layout, fields, keys)) => (Some(layout), fields, keys),
            None => (None, Vec::new(), Vec::new()),
        };
        let union = |known: &[String], wanted: Vec<&str>| -> Vec<String> {
            let mut seen = BTreeSet::new();
            let all = known.iter().map(String::as_str).chain(wanted);
            all.filter(|name| shape.columns.contains_key(*name) && seen.insert((*name).to_owned()))
                .map(str::to_owned)
                .collect()
        };
        let all = schema.fields().iter().map(|field| field.name()).collect();
        let (wanted_fields, wanted_keys) = (union(&fields, all), union(&keys, key_fields(schema)));

        // A layout never changes, because records refer to it by its number.
        let same = wanted_fields == fields && wanted_keys == keys;
        Self {
            schema,
            layout: layout.filter(|_| same),
            fields: wanted_fields,
            keys: wanted_keys,
            shape,
        }
    }

    /// Returns the statements that create its triggers, by the triggers' names; `None` if there is
    /// no layout yet.
    pub(super) fn triggers(&self) -> Option<BTreeMap<String, String>> {
        let layout = self.layout?;
        let may_be_long = |name: &&String| {
            let field = self.schema.field(name.as_str());
            !self.shape.strict
                || field.is_none_or(|(_, field)| {
                    matches!(
                        field.kind(),
                        FieldKind::Text
                            | FieldKind::Bytes
                            | FieldKind::Set
                            | FieldKind::List
                            | FieldKind::Map
                            | FieldKind::Json
                    )
                })
        };
        let texts: Vec<String> = self.fields.iter().filter(may_be_long).cloned().collect();
        let plan = Plan {
            entity: self.schema.name(),
            key: Key::of(self.schema),
            layout,
            fields: &self.fields,
            keys: &self.keys,
            texts: &texts,
            shape: &self.shape,
        };
        let made = When::ALL.map(|when| (when.trigger(plan.entity), plan.create(when)));
        Some(made.into_iter().collect())
    }
}

/// Creates or replaces what an entity needs and what is missing or different.
async fn capture(
    connection: &mut SqliteConnection,
    mut target: Target,
    installed: &mut Installed,
) -> Result<(), SqliteLogError> {
    let entity = target.schema.name();
    if target.layout.is_none() {
        target.layout = Some(layout(connection, entity, &target.fields, &target.keys).await?);
        side(connection, entity, &target.fields).await?;
        sqlx::query("INSERT OR REPLACE INTO tidings_captures (entity, layout) VALUES (?, ?)")
            .bind(entity)
            .bind(target.layout)
            .execute(&mut *connection)
            .await?;
    }

    let mut changed = false;
    for (name, sql) in target.triggers().unwrap_or_default() {
        let existing =
            sqlx::query("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?")
                .bind(name.clone())
                .fetch_optional(&mut *connection)
                .await?;
        let existing: Option<String> = existing.map(|row| row.try_get(0)).transpose()?;
        if existing.as_ref() == Some(&sql) {
            continue;
        }

        let drop = format!("DROP TRIGGER IF EXISTS {}", identifier(&name));
        run(connection, drop).await?;
        run(connection, sql).await?;
        changed = true;
    }

    if !changed {
        installed.unchanged.push(entity.to_owned());
        return Ok(());
    }

    // Writes that were made while a trigger was missing have no record, and notes are useless now.
    sqlx::query("UPDATE tidings_log SET kind = 'o' WHERE kind = 'n' AND entity = ?")
        .bind(entity)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO tidings_log (kind, entity) VALUES ('t', ?)")
        .bind(entity)
        .execute(connection)
        .await?;
    installed.changed.push(entity.to_owned());

    Ok(())
}

/// Returns the number of a layout; creates it if there is none.
pub(super) async fn layout(
    connection: &mut SqliteConnection,
    entity: &str,
    fields: &[String],
    keys: &[String],
) -> Result<i64, SqliteLogError> {
    sqlx::query("INSERT OR IGNORE INTO tidings_layouts (entity, fields, keys) VALUES (?, ?, ?)")
        .bind(entity)
        .bind(joined(fields))
        .bind(joined(keys))
        .execute(&mut *connection)
        .await?;

    let row =
        sqlx::query("SELECT id FROM tidings_layouts WHERE entity = ? AND fields = ? AND keys = ?")
            .bind(entity)
            .bind(joined(fields))
            .bind(joined(keys))
            .fetch_one(connection)
            .await?;
    Ok(row.try_get(0)?)
}

/// Creates or completes the side table of an entity. Its columns have no type, so that values are
/// not converted.
pub(super) async fn side(
    connection: &mut SqliteConnection,
    entity: &str,
    fields: &[String],
) -> Result<(), SqliteLogError> {
    let side = side_table(entity);
    let make = format!("CREATE TABLE IF NOT EXISTS {side} (id INTEGER PRIMARY KEY)");
    run(connection, make).await?;

    let existing = sqlx::query("SELECT name FROM pragma_table_xinfo(?)")
        .bind(format!("tidings_log:{entity}"))
        .fetch_all(&mut *connection)
        .await?;
    let existing = existing.iter().map(|row| row.try_get::<String, _>(0));
    let existing: BTreeSet<String> = existing.collect::<Result<_, _>>()?;
    for field in fields {
        for image in ["old", "new"] {
            let column = format!("{image}_{field}");
            if !existing.contains(&column) {
                let add = format!("ALTER TABLE {side} ADD COLUMN {}", identifier(&column));
                run(connection, add).await?;
            }
        }
    }

    Ok(())
}
