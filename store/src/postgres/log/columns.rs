//! The columns of a captured table, and how their values are logged as text.
//!
//! Each value is logged as the output of the type's output function under fixed settings. So it can
//! be read back exactly, regardless of the settings of the session that wrote it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::{error::PgLogError, names::identifier};

/// The columns of a table, by name.
pub(super) type Columns = BTreeMap<String, Column>;

/// A column that can be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    /// The name of its type; for a domain, of the base type.
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

    /// Returns an upper bound on the length of the text, which does not read values that are stored
    /// out of line; `None` if the text is always short.
    pub(super) fn size(&self, alias: &str) -> Option<String> {
        let column = self.of(alias);
        if !self.variable {
            return None;
        }

        Some(match (self.builtin, self.base.as_str()) {
            (true, "text" | "varchar" | "bpchar") => format!("coalesce(octet_length({column}), 0)"),
            (true, "bytea") => format!("2 * coalesce(octet_length({column}), 0)"),
            // By its stored size, which may be compressed: so any value up to an eighth of the
            // limit is still logged as text.
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

/// Returns the settings that a function fixes, so that the texts of the columns are the same in
/// every session. Each costs time at every call, so only those that the types need are set.
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
