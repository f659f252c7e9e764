//! The tables of an entity: the one with its name, and its partitions and children.

use sqlx::{PgConnection, Row as _};

use super::{error::PgLogError, function::Level, names::identifier};

/// A table that needs triggers.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) relation: i64,
    /// Its name, qualified and quoted.
    pub(super) name: String,
    pub(super) level: Level,
    /// Whether triggers can be created on it.
    pub(super) triggers: TriggerSupport,
}

/// Whether a relation can have the triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TriggerSupport {
    Yes,
    /// It is not a table, but something of this kind.
    No(&'static str),
}

/// Finds the table of an entity in the search path.
pub(super) async fn find(
    connection: &mut PgConnection,
    entity: &str,
) -> Result<Option<i64>, PgLogError> {
    let found = sqlx::query("select to_regclass($1)::oid::bigint")
        .bind(identifier(entity))
        .fetch_one(connection)
        .await?;
    Ok(found.try_get(0)?)
}

/// Returns the table and everything below it.
pub(super) async fn tree(
    connection: &mut PgConnection,
    root: i64,
) -> Result<Vec<Captured>, PgLogError> {
    let found = sqlx::query(
        "with recursive tree as ( \
           select $1::bigint::oid as relid \
           union \
           select i.inhrelid from tree t join pg_catalog.pg_inherits i on i.inhparent = t.relid \
         ) \
         select c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, \
           exists (select from pg_catalog.pg_subscription_rel s where s.srrelid = c.oid) \
         from tree t join pg_catalog.pg_class c on c.oid = t.relid \
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         order by c.oid",
    )
    .bind(root)
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let kind: String = row.try_get(2)?;
        let subscribed: bool = row.try_get(3)?;
        Ok(Captured {
            relation: row.try_get(0)?,
            name: row.try_get(1)?,
            level: if subscribed {
                Level::Row
            } else {
                Level::Statement
            },
            triggers: match kind.as_str() {
                "r" | "p" => TriggerSupport::Yes,
                "f" => TriggerSupport::No("a foreign table"),
                "v" | "m" => TriggerSupport::No("a view"),
                _ => TriggerSupport::No("not a table"),
            },
        })
    };
    found.iter().map(read).collect()
}
