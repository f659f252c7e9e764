//! The statements of SQLite that create and change tables.

use tidings_core::{Field, FieldKind, Schema, Value};

use super::rebuild::{affinity, create_table, definition, kept_type, rebuild};
use crate::{
    layout::{
        Change, DdlDialect, Existing, Finding, Group, IndexCreation, ReferenceCreation, Table,
        Widening,
        ddl::{identifier, is_addable},
        finding::Phase,
        wanted_indexes,
    },
    sqlite::values::{column_type, literal},
};

/// Up to this number, a floating-point number can hold every whole number.
const EXACT: i64 = 1 << 53;

/// SQLite's implementation of [`DdlDialect`].
#[derive(Debug)]
pub(super) struct Sqlite;

impl DdlDialect for Sqlite {
    fn column_type(&self, kind: FieldKind) -> &'static str {
        column_type(kind)
    }

    fn holds(&self, field: &Field, declared: &str) -> bool {
        affinity(declared) == column_type(field.kind())
    }

    fn widening(&self, field: &Field, declared: &str) -> Option<Widening> {
        let column = identifier(field.name());
        let widening = |using: String, unless: Option<String>| {
            Some(Widening {
                using,
                unless: unless.map(|unless| format!("{column} IS NOT NULL AND ({unless})")),
            })
        };

        match (affinity(declared), field.kind()) {
            ("INTEGER", FieldKind::Number) => widening(
                format!("CAST({column} AS REAL)"),
                Some(format!("{column} NOT BETWEEN -{EXACT} AND {EXACT}")),
            ),
            ("INTEGER", FieldKind::Unsigned) => widening(
                format!("printf('%020d', {column})"),
                Some(format!("typeof({column}) <> 'integer' OR {column} < 0")),
            ),
            ("INTEGER", FieldKind::Text) => widening(
                format!("CAST({column} AS TEXT)"),
                Some(format!("typeof({column}) <> 'integer'")),
            ),
            ("TEXT", FieldKind::Bytes) => widening(format!("CAST({column} AS BLOB)"), None),
            _ => None,
        }
    }

    fn literal(&self, value: &Value) -> Option<String> {
        literal(value)
    }

    fn is_default(&self, existing: &str, value: &Value) -> bool {
        literal(value).is_some_and(|wanted| wanted == existing)
    }

    fn index_name(&self, purpose: &str, table: &str, fields: &[&str]) -> String {
        format!("{purpose}:{table}({})", fields.join(","))
    }

    fn references(&self) -> ReferenceCreation {
        ReferenceCreation::WithItsColumn
    }

    fn as_text(&self, column: &str) -> String {
        column.to_owned()
    }

    fn rebuilds(&self, change: &Change, schema: &Schema) -> bool {
        match change {
            Change::CreateTable
            | Change::CreateIndex(_)
            | Change::DropIndex(_)
            | Change::ReplaceIndex(_) => false,
            Change::AddColumn(index) => !is_addable(&schema.fields()[*index]),
            Change::DropColumn(_)
            | Change::RecreateColumn(_)
            | Change::Convert(..)
            | Change::FillDefault(_)
            | Change::MakeRequired(_)
            | Change::MakeOptional(_)
            | Change::SetDefault(_)
            | Change::AddReference(_)
            | Change::CheckReference(_)
            | Change::DropReference(..) => true,
        }
    }

    fn type_violation(&self, field: &Field, table: &Table) -> Option<String> {
        type_violation(field.name(), column_type(field.kind()), table)
    }

    fn kept_type_violation(&self, name: &str, table: &Table) -> Option<(String, &'static str)> {
        let wanted = kept_type(&table.columns.get(name)?.declared);
        Some((type_violation(name, wanted, table)?, wanted))
    }

    // Writers of the file wait for any migration, and readers for none.
    fn waits_for_index(&self, _: IndexCreation) -> &'static str {
        ""
    }

    fn groups(&self, schema: &Schema, existing: &Existing, findings: &[&Finding]) -> Vec<Group> {
        let changes = || findings.iter().flat_map(|finding| &finding.changes);
        if let Existing::Table(table) = existing
            && changes().any(|change| self.rebuilds(change, schema))
        {
            let changes: Vec<_> = changes().collect();
            let reasons = findings.iter().map(|finding| finding.remedy.clone());
            return vec![Group {
                phase: Phase::Tables,
                reasons: reasons.collect(),
                sql: rebuild(self, schema, table, &changes),
            }];
        }

        let indexes = wanted_indexes(self, schema);
        let table = identifier(schema.name());
        let sql = |change: &Change| match change {
            Change::CreateTable => vec![create_table(schema)],
            Change::AddColumn(index) => {
                let column = definition(&schema.fields()[*index]);
                vec![format!("ALTER TABLE {table} ADD COLUMN {column}")]
            }
            Change::CreateIndex(name) => indexes
                .get(name)
                .map(|it| it.sql.clone())
                .into_iter()
                .collect(),
            Change::DropIndex(name) => vec![format!("DROP INDEX {}", identifier(name))],
            Change::ReplaceIndex(name) => {
                let drop = format!("DROP INDEX {}", identifier(name));
                let create = indexes.get(name).map(|it| it.sql.clone());
                [drop].into_iter().chain(create).collect()
            }
            // These rebuild the table.
            _ => Vec::new(),
        };
        let groups = findings.iter().flat_map(|finding| Group::of(finding, sql));
        groups.collect()
    }
}

/// Returns the condition of rows that hold a value in a column that its type would not accept.
fn type_violation(name: &str, wanted: &str, table: &Table) -> Option<String> {
    let held = match wanted {
        _ if table.strict => return None,
        "ANY" => return None,
        "INTEGER" => "'integer'",
        "REAL" => "'real', 'integer'",
        "BLOB" => "'blob'",
        _ => "'text'",
    };
    let column = identifier(name);
    Some(format!("typeof({column}) NOT IN ('null', {held})"))
}
