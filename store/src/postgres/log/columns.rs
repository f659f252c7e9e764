//! Columns of a captured table: how their values are written into the log as text.
//!
//! Each value is logged as the text that the type's output function gives under fixed settings, so
//! that it can be read back to the last bit whatever the settings of the session that wrote it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::{error::PgLogError, names::identifier};

/// The columns of a table, by name.
pub(super) type Columns = BTreeMap<String, Column>;

/// A column that can be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    /// The name of its type; that of the base type for a domain.
    base: String,
    /// Whether the type is one of PostgreSQL's own.
    builtin: bool,
    /// Whether values have different lengths.
    variable: bool,
}

/// Reads the columns of a table.
pub(super) async fn columns_of(
    connection: &mut PgConnection,
    relation: i64,
) -> Result<Columns, PgLogError> {
    let found = sqlx::query(
        "with recursive base as ( \
           select a.attname, a.attnum, t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, t.typlen \
           from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid \
           where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped \
           union all \
           select b.attname, b.attnum, t.oid, t.typname, t.typnamespace, t.typtype, t.typbasetype, t.typlen \
           from base b join pg_catalog.pg_type t on t.oid = b.typbasetype where b.typtype = 'd' \
         ) \
         select attname::text, typname::text, typnamespace = 'pg_catalog'::regnamespace, typlen < 0 \
         from base where typtype <> 'd'",
    )
    .bind(relation)
    .fetch_all(connection)
    .await?;
    let mut columns = Columns::new();

    for row in found {
        let column = Column {
            name: row.try_get(0)?,
            base: row.try_get(1)?,
            builtin: row.try_get(2)?,
            variable: row.try_get(3)?,
        };
        columns.insert(column.name.clone(), column);
    }

    Ok(columns)
}

impl Column {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the column of a transition table.
    pub(super) fn of(&self, alias: &str) -> String {
        format!("{alias}.{}", identifier(&self.name))
    }

    /// Returns the value as text.
    pub(super) fn text(&self, alias: &str) -> String {
        let column = self.of(alias);
        if self.builtin && self.base == "bpchar" {
            // The cast would strip the blanks that a SELECT shows.
            format!("case when {column} is not null then format('%s', {column}) end")
        } else {
            format!("{column}::text")
        }
    }

    /// Returns an upper bound on the length of the text, found without reading a value that is
    /// stored out of line; none where it is small in any case.
    pub(super) fn size(&self, alias: &str) -> Option<String> {
        let column = self.of(alias);
        if !self.variable {
            return None;
        }

        Some(match (self.builtin, self.base.as_str()) {
            (true, "text" | "varchar" | "bpchar") => format!("coalesce(octet_length({column}), 0)"),
            (true, "bytea") => format!("2 * coalesce(octet_length({column}), 0)"),
            // As it is stored, which may be compressed: a value of an eighth of the limit can still
            // be written as text, whatever it holds.
            _ => format!("8 * coalesce(pg_column_size({column}), 0)"),
        })
    }

    /// Returns the settings that the text of the type depends on.
    fn settings(&self) -> &'static [&'static str] {
        const FLOATS: &str = "extra_float_digits = 1";
        const BYTES: &str = "bytea_output = hex";
        const ZONE: &str = "\"TimeZone\" = 'UTC'";
        const DATES: &str = "\"DateStyle\" = 'ISO, YMD'";
        const INTERVALS: &str = "\"IntervalStyle\" = postgres";
        const MONEY: &str = "lc_monetary = 'C'";
        const ALL: &[&str] = &[FLOATS, BYTES, ZONE, DATES, INTERVALS, MONEY];

        if !self.builtin {
            return ALL;
        }

        match self.base.as_str() {
            "bool" | "int2" | "int4" | "int8" | "text" | "varchar" | "bpchar" | "name" | "uuid"
            | "json" | "jsonb" | "numeric" | "oid" | "inet" | "cidr" | "macaddr" | "_text"
            | "_varchar" | "_uuid" | "_int2" | "_int4" | "_int8" => &[],
            "float4" | "float8" => &[FLOATS],
            "bytea" => &[BYTES],
            "timestamptz" => &[ZONE, DATES],
            "date" | "timestamp" => &[DATES],
            "interval" => &[INTERVALS],
            _ => ALL,
        }
    }
}

/// Returns the settings that a function pins so that the columns' texts are the same in every
/// session. Each costs time at every call, so there are no more of them than the types ask for.
pub(super) fn settings_of<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let settings: BTreeSet<_> = columns
        .into_iter()
        .flat_map(|column| column.settings())
        .collect();
    settings
        .into_iter()
        .map(|setting| format!(" set {setting}"))
        .collect()
}
