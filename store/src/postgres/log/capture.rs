//! Puts the triggers of captured tables in place, and removes them.
//!
//! Installing is idempotent: it does not touch what is already in place, so a second call takes no
//! lock that a writer would wait for. The functions record the union of the fields that their
//! installers named. Only a migration removes a field, while no node runs. Tables, functions and
//! triggers change in one transaction, or not at all.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tidings_core::Schema;

use super::{
    columns::{Columns, columns_of},
    error::PgLogError,
    function::{Event, Key, Layout, Level, Plan, Push},
    tables::{NODE_LOCK, lock, prepare, run},
    tree::{Captured, TriggerSupport, find, tree},
};
use crate::{
    logs::{keys::key_fields, status::Installed},
    migration::RecordedFields,
};

/// The options of an installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstallOptions {
    /// How readers learn of writes by other programs.
    pub wake: Wake,
}

/// How readers learn of writes by other programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// As before; by their poll if nothing else was set.
    #[default]
    AsBefore,
    /// By polling.
    Poll,
    /// By `NOTIFY` in the writer's transaction, unless prepared transactions are in use.
    ///
    /// `PREPARE TRANSACTION` then fails after such a write, and commits go through one lock: up to
    /// half of them per second are lost.
    Notify,
    /// The same, even if prepared transactions are in use.
    NotifyAtAnyPrice,
}

/// Installs the triggers for the tables of the schemas, and the log if need be.
///
/// # Errors
///
/// A table is missing, lacks a column or cannot have triggers (all such faults are reported at
/// once); another program holds a table for more than 5 s; `NOTIFY` was requested and is refused.
/// Then nothing was changed.
pub async fn install(
    connection: &mut PgConnection,
    schemas: &[&'static Schema],
    options: InstallOptions,
) -> Result<Installed, PgLogError> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    let recorded = RecordedFields::SchemasAndEarlier;
    let installed = install_within(&mut transaction, schemas, options, recorded).await?;
    // A pooler may lend this session to others next.
    transaction.clear_cached_statements().await?;
    transaction.commit().await?;
    Ok(installed)
}

/// Installs in a transaction that the caller has begun, and that the caller rolls back on an error.
/// The caller already has its turn (see [`lock`]), and has set how long to wait for locks.
pub(crate) async fn install_within(
    connection: &mut PgConnection,
    schemas: &[&'static Schema],
    options: InstallOptions,
    recorded: RecordedFields,
) -> Result<Installed, PgLogError> {
    if options.wake == Wake::Notify && uses_prepared_transactions(connection).await? {
        return Err(PgLogError::Refused {
            reason: "prepared transactions are in use (max_prepared_transactions is above 0), and PREPARE \
                     TRANSACTION would fail after every captured write: leave NOTIFY out, or force it"
                .to_owned(),
        });
    }
    prepare(connection).await?;

    let mut differences = Vec::new();
    let mut installed = Installed::default();
    for schema in schemas {
        let target = target(connection, schema, &mut differences).await?;
        if let Some(mut target) = target
            && differences.is_empty()
        {
            if let (RecordedFields::SchemasOnly, Some(before)) = (recorded, &mut target.before) {
                before.fields.clear();
                before.keys.clear();
            }
            capture(connection, schema, target, options.wake, &mut installed).await?;
        }
    }

    if !differences.is_empty() {
        return Err(PgLogError::Incompatible { differences });
    }

    Ok(installed)
}

/// Removes the triggers and functions of every entity. The log, its epoch and the cluster's key
/// stay.
///
/// Returns the tables that had triggers.
///
/// # Errors
///
/// See [`PgLogError`]. Then nothing was changed.
pub async fn remove(connection: &mut PgConnection) -> Result<Vec<String>, PgLogError> {
    let mut transaction = connection.begin().await?;
    if super::tables::version(&mut transaction).await?.is_none() {
        return Ok(Vec::new());
    }
    if !no_node_runs(&mut transaction).await? {
        return Err(PgLogError::Refused {
            reason: "a node runs on this database, and would miss every change: stop it first"
                .to_owned(),
        });
    }

    lock(&mut transaction).await?;
    let found = sqlx::query(
        "select distinct t.tgrelid::regclass::text from pg_catalog.pg_trigger t \
           join pg_catalog.pg_proc p on p.oid = t.tgfoid \
         where p.pronamespace = 'tidings'::regnamespace and not t.tgisinternal order by 1",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let tables: Vec<String> = found
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;

    // The log, too, tells its readers that nothing is recorded any more.
    run(
        &mut transaction,
        "insert into tidings.log (kind, entity) select 't', entity from tidings.captures; \
         delete from tidings.captures; \
         do $tidings$ declare name text; begin \
           for name in select p.oid::regprocedure::text from pg_catalog.pg_proc p \
             where p.pronamespace = 'tidings'::regnamespace and p.prorettype = 'trigger'::regtype \
           loop execute 'drop function ' || name || ' cascade'; end loop; \
         end $tidings$;",
    )
    .await?;
    transaction.commit().await?;

    Ok(tables)
}

/// Returns whether no node runs. Each node holds a lock for as long as it runs; on success this
/// transaction holds it to its end.
async fn no_node_runs(connection: &mut PgConnection) -> Result<bool, PgLogError> {
    let sql = format!("select pg_try_advisory_xact_lock({NODE_LOCK})");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

async fn uses_prepared_transactions(connection: &mut PgConnection) -> Result<bool, PgLogError> {
    let row = sqlx::query("select current_setting('max_prepared_transactions')::integer > 0")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// The tables on which an entity is to be captured, and what to capture.
struct Target {
    relation: i64,
    columns: Columns,
    tables: Vec<Captured>,
    /// What was captured before, if anything.
    before: Option<EarlierCapture>,
}

struct EarlierCapture {
    fields: Vec<String>,
    keys: Vec<String>,
    notify: bool,
}

/// Finds the tables of an entity, and adds the reasons why they cannot be captured.
async fn target(
    connection: &mut PgConnection,
    schema: &Schema,
    differences: &mut Vec<String>,
) -> Result<Option<Target>, PgLogError> {
    let entity = schema.name();
    let Some(relation) = find(connection, entity).await? else {
        differences.push(format!("there is no table {entity} in the search path"));
        return Ok(None);
    };

    let columns = columns_of(connection, relation).await?;
    for field in schema.fields() {
        if !columns.contains_key(field.name()) {
            differences.push(format!("{entity} lacks the column {}", field.name()));
        }
    }

    let tables = tree(connection, relation).await?;
    for table in &tables {
        if let TriggerSupport::No(kind) = table.triggers {
            differences.push(format!(
                "{} is {kind}, whose changes no trigger can record",
                table.name
            ));
        }
    }

    let before = match captured(connection, entity).await? {
        Some(there) if there.relation != relation && there.has_triggers => {
            differences.push(format!(
                "{entity} is captured on another table of that name, in another schema"
            ));
            None
        }
        // After a dump was restored, the table has another number.
        Some(there) => Some(there.before),
        None => None,
    };

    Ok(Some(Target {
        relation,
        columns,
        tables,
        before,
    }))
}

/// What the log has stored about an entity.
struct StoredCapture {
    /// The table that it was captured on.
    relation: i64,
    /// Whether that table has its triggers.
    has_triggers: bool,
    before: EarlierCapture,
}

/// Reads what the log has stored about an entity; `None` if it was never captured.
async fn captured(
    connection: &mut PgConnection,
    entity: &str,
) -> Result<Option<StoredCapture>, PgLogError> {
    let levels = [Level::Statement, Level::Row];
    let functions = levels.map(|level| Event::ALL.map(|event| event.function(entity, level)));
    let row = sqlx::query(
        "select c.relation::bigint, c.fields, c.keys, c.notify, exists ( \
           select from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid \
           where t.tgrelid = c.relation and p.pronamespace = 'tidings'::regnamespace \
           and p.proname = any($2)) \
         from tidings.captures c where c.entity = $1",
    )
    .bind(entity)
    .bind(functions.concat())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };

    Ok(Some(StoredCapture {
        relation: row.try_get(0)?,
        has_triggers: row.try_get(4)?,
        before: EarlierCapture {
            fields: row.try_get(1)?,
            keys: row.try_get(2)?,
            notify: row.try_get(3)?,
        },
    }))
}

/// Creates or replaces the functions and triggers of one entity that are missing or different.
async fn capture(
    connection: &mut PgConnection,
    schema: &Schema,
    target: Target,
    wake: Wake,
    installed: &mut Installed,
) -> Result<(), PgLogError> {
    let entity = schema.name();
    let before = target.before.as_ref();
    let union = |before: Option<&Vec<String>>, wanted: Vec<&str>| -> Vec<String> {
        let known = before.into_iter().flatten().map(String::as_str);
        let mut seen = BTreeSet::new();
        known
            .chain(wanted)
            .filter(|name| target.columns.contains_key(*name) && seen.insert((*name).to_owned()))
            .map(str::to_owned)
            .collect()
    };
    let wanted = schema.fields().iter().map(|field| field.name()).collect();
    let fields = union(before.map(|before| &before.fields), wanted);
    let keys = union(before.map(|before| &before.keys), key_fields(schema));
    let push = match (wake, before.is_some_and(|before| before.notify)) {
        (Wake::AsBefore, true) | (Wake::Notify | Wake::NotifyAtAnyPrice, _) => Push::Notify,
        (Wake::AsBefore, false) | (Wake::Poll, _) => Push::No,
    };

    let primary = schema.primary_key_names();
    let plan = Plan {
        entity,
        key: Key(primary.iter().map(|name| &target.columns[*name]).collect()),
        whole: layout(connection, entity, &fields, &target.columns, "true").await?,
        keys: layout(connection, entity, &keys, &target.columns, "false").await?,
        push,
    };
    let mut changed = Vec::new();
    for level in [Level::Statement, Level::Row] {
        for event in Event::ALL {
            let used = target
                .tables
                .iter()
                .any(|it| event.level(it.level) == level);
            if used && event.level(level) == level {
                replace_function(connection, &plan, event, level).await?;
            }
        }
    }

    for table in &target.tables {
        if replace_triggers(connection, entity, table).await? {
            changed.push(table.name.clone());
        } else {
            installed.unchanged.push(table.name.clone());
        }
    }

    sqlx::query(
        "insert into tidings.captures (entity, relation, key, fields, keys, notify) \
         values ($1, $2::bigint::oid, $3, $4, $5, $6) on conflict (entity) do update set \
         relation = excluded.relation, key = excluded.key, fields = excluded.fields, keys = excluded.keys, \
         notify = excluded.notify",
    )
    .bind(entity)
    .bind(target.relation)
    .bind(primary.join(", "))
    .bind(&fields)
    .bind(&keys)
    .bind(push == Push::Notify)
    .execute(&mut *connection)
    .await?;

    if !changed.is_empty() {
        // Writes that were made while a trigger was missing have no record.
        sqlx::query("insert into tidings.log (kind, entity) values ('t', $1)")
            .bind(entity)
            .execute(connection)
            .await?;
        installed.changed.append(&mut changed);
    }

    Ok(())
}

/// Returns the layout of these fields; creates it if there is none.
async fn layout<'a>(
    connection: &mut PgConnection,
    entity: &str,
    fields: &[String],
    columns: &'a Columns,
    whole: &str,
) -> Result<Layout<'a>, PgLogError> {
    let sql = format!(
        "with made as (insert into tidings.layouts (entity, fields, whole) values ($1, $2, {whole}) \
         on conflict do nothing returning id) \
         select id from made union all \
         select id from tidings.layouts where entity = $1 and fields = $2 and whole = {whole} limit 1"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(entity)
        .bind(fields)
        .fetch_one(connection)
        .await?;
    Ok(Layout {
        id: row.try_get(0)?,
        columns: fields.iter().map(|name| &columns[name]).collect(),
    })
}

async fn replace_function(
    connection: &mut PgConnection,
    plan: &Plan<'_>,
    event: Event,
    level: Level,
) -> Result<(), PgLogError> {
    let name = event.function(plan.entity, level);
    let same = sqlx::query(
        "select p.prosrc = $2 from pg_catalog.pg_proc p \
         where p.pronamespace = 'tidings'::regnamespace and p.proname = $1",
    )
    .bind(name)
    .bind(plan.body(event, level))
    .fetch_optional(&mut *connection)
    .await?;
    let same: Option<bool> = same.map(|row| row.try_get(0)).transpose()?;
    if same == Some(true) {
        return Ok(());
    }

    run(connection, &plan.create(event, level)).await
}

/// Creates or replaces the triggers of a table that are missing or different. Returns whether there
/// were any.
async fn replace_triggers(
    connection: &mut PgConnection,
    entity: &str,
    table: &Captured,
) -> Result<bool, PgLogError> {
    let mut changed = false;
    for event in Event::ALL {
        let level = event.level(table.level);
        let found = sqlx::query(
            "select t.tgenabled = 'A' and (t.tgtype & 1 = 1) = $3 and t.tgnargs = 0 and t.tgqual is null \
               and p.proname = $4 and p.pronamespace = 'tidings'::regnamespace \
             from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid \
             where t.tgrelid = $1::bigint::oid and t.tgname = $2",
        )
        .bind(table.relation)
        .bind(event.trigger())
        .bind(level == Level::Row)
        .bind(event.function(entity, level))
        .fetch_optional(&mut *connection)
        .await?;
        let right: Option<Option<bool>> = found.map(|row| row.try_get(0)).transpose()?;
        match right {
            Some(Some(true)) => continue,
            Some(_) => {
                let drop = format!("drop trigger {} on {}", event.trigger(), table.name);
                run(connection, &drop).await?;
            }
            None => {}
        }

        run(
            connection,
            &event.create_trigger(entity, &table.name, table.level),
        )
        .await?;
        changed = true;
    }

    Ok(changed)
}
