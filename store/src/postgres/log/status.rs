//! Reports which writes are not captured.

use sqlx::{PgConnection, Row as _};
use tidings_core::Schema;

use super::{
    error::PgLogError,
    function::{Event, Level},
    tables::version,
    tree::{Captured, TriggerSupport, find, tree},
};
use crate::logs::status::{Status, TableStatus};

/// Reports which writes are captured and which are not.
///
/// # Errors
///
/// See [`PgLogError`]. A missing table or log is part of the answer and not an error.
pub async fn status(
    connection: &mut PgConnection,
    schemas: &[&'static Schema],
) -> Result<Status, PgLogError> {
    let mut status = Status::default();
    let installed = version(connection).await?.is_some();
    for schema in schemas {
        let entity = schema.name();
        let missing = |problem: String| TableStatus {
            entity: entity.to_owned(),
            table: entity.to_owned(),
            problems: vec![problem],
        };
        let Some(root) = find(connection, entity).await? else {
            let problem = "there is no such table in the search path".to_owned();
            status.tables.push(missing(problem));
            continue;
        };

        if installed {
            let row = sqlx::query(
                "select coalesce(bool_or(notify), false) from tidings.captures where entity = $1",
            )
            .bind(entity)
            .fetch_one(&mut *connection)
            .await?;
            status.notify |= row.try_get::<bool, _>(0)?;
        }

        for table in tree(connection, root).await? {
            let problems = if installed {
                problems(connection, schema, &table).await?
            } else {
                vec!["every change: the log is not installed".to_owned()]
            };
            status.tables.push(TableStatus {
                entity: entity.to_owned(),
                table: table.name,
                problems,
            });
        }
    }

    Ok(status)
}

async fn problems(
    connection: &mut PgConnection,
    schema: &Schema,
    table: &Captured,
) -> Result<Vec<String>, PgLogError> {
    if let TriggerSupport::No(kind) = table.triggers {
        return Ok(vec![format!("every change: it is {kind}")]);
    }
    let mut problems = Vec::new();

    for event in Event::ALL {
        let level = event.level(table.level);
        let found = sqlx::query(
            "select t.tgenabled::text, t.tgtype & 1 = 1, \
               coalesce(string_to_array(substring(p.prosrc from '-- tidings [0-9]+: ([^\n]*)'), ','), '{}') \
             from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid \
             where t.tgrelid = $1::bigint::oid and t.tgname = $2 and p.pronamespace = 'tidings'::regnamespace",
        )
        .bind(table.relation)
        .bind(event.trigger())
        .fetch_optional(&mut *connection)
        .await?;

        let Some(found) = found else {
            problems.push(format!("{event}: the trigger is missing"));
            continue;
        };

        let (enabled, by_row): (String, bool) = (found.try_get(0)?, found.try_get(1)?);
        let fields: Vec<String> = found.try_get(2)?;

        match enabled.as_str() {
            "A" => {}
            "D" => problems.push(format!("{event}: the trigger is disabled")),
            _ => problems.push(format!(
                "{event} by sessions that replicate: the trigger is not enabled ALWAYS"
            )),
        }

        match (level, by_row) {
            (Level::Row, false) => problems.push(format!(
                "{event} by the subscription: it fires row triggers only"
            )),
            (Level::Statement, true) | (Level::Row, true) | (Level::Statement, false) => {}
        }

        let lacking = schema.fields().iter().map(|field| field.name());
        let lacking: Vec<_> = lacking
            .filter(|name| !fields.iter().any(|field| field == name))
            .collect();
        if !lacking.is_empty() && event != Event::Truncate {
            problems.push(format!("{event}: the fields {}", lacking.join(", ")));
        }
    }

    Ok(problems)
}
