//! Reports which writes are not captured.

use sqlx::SqliteConnection;
use tidings_core::Schema;

use super::{
    error::SqliteLogError,
    shape::{Existing, shape_of},
    tables::version,
    triggers::{When, recorded_by},
    watch::{check, triggers_of},
};
use crate::logs::status::{Status, TableStatus};

/// Reports which writes are captured and which are not.
pub(super) async fn status(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
) -> Result<Status, SqliteLogError> {
    let mut status = Status::default();
    let installed = version(connection).await?.is_some();
    for schema in schemas {
        let entity = schema.name();
        let problems = match shape_of(connection, entity).await? {
            Existing::Nothing => vec!["there is no such table".to_owned()],
            Existing::Other(kind) => vec![format!("every change: it is {kind}")],
            Existing::Table(_) if !installed => {
                vec!["every change: the log is not installed".to_owned()]
            }
            Existing::Table(_) => problems(connection, schema).await?,
        };
        status.tables.push(TableStatus {
            entity: entity.to_owned(),
            table: entity.to_owned(),
            problems,
        });
    }

    Ok(status)
}

async fn problems(
    connection: &mut SqliteConnection,
    schema: &'static Schema,
) -> Result<Vec<String>, SqliteLogError> {
    let existing = triggers_of(connection, schema.name()).await?;
    let mut problems = Vec::new();
    for when in When::ALL {
        let name = when.trigger(schema.name());
        let Some((_, sql)) = existing.get(&name) else {
            problems.push(format!("{}: the trigger {name} is missing", when.misses()));
            continue;
        };

        let recorded = recorded_by(sql)
            .map(|(_, fields)| fields)
            .unwrap_or_default();
        let lacking: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name())
            .filter(|name| !recorded.iter().any(|field| field == name))
            .collect();

        if !lacking.is_empty() {
            problems.push(format!(
                "{}: the fields {}",
                when.misses(),
                lacking.join(", ")
            ));
        }
    }

    let states = check(connection, &[schema]).await?;
    if problems.is_empty() && states.missing().next().is_some() {
        problems.push(
            "some writes: the table or a trigger was altered since the installation".to_owned(),
        );
    }
    Ok(problems)
}
