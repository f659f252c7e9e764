//! The statements of PostgreSQL that create and change tables.

use tidings_core::{Field, FieldKind, Schema, Value};

use super::names::{identifier, index_name};
use crate::{
    layout::{
        Change, DdlDialect, Existing, Finding, Group, IndexCreation, ReferenceCreation, Table,
        Widening, wanted_indexes,
    },
    postgres::values::{column_type, fits, literal},
};

/// Up to this number, a floating-point number can hold every whole number.
const EXACT: i64 = 1 << 53;

/// PostgreSQL's implementation of [`DdlDialect`].
#[derive(Debug)]
pub(super) struct Postgres;

impl DdlDialect for Postgres {
    fn column_type(&self, kind: FieldKind) -> &'static str {
        column_type(kind)
    }

    fn holds(&self, field: &Field, declared: &str) -> bool {
        fits(field, declared)
    }

    fn widening(&self, field: &Field, declared: &str) -> Option<Widening> {
        let column = identifier(field.name());
        let unless = match (declared, field.kind()) {
            ("smallint" | "integer", FieldKind::Integer | FieldKind::Number)
            | ("smallint", FieldKind::Float)
            | ("real", FieldKind::Number)
            | ("smallint" | "integer" | "bigint" | "boolean" | "uuid", FieldKind::Text) => None,
            ("bigint", FieldKind::Number) => {
                Some(format!("{column} NOT BETWEEN -{EXACT} AND {EXACT}"))
            }
            ("smallint" | "integer" | "bigint", FieldKind::Unsigned) => {
                Some(format!("{column} < 0"))
            }
            _ => return None,
        };
        Some(Widening {
            using: format!("{column}::{}", column_type(field.kind())),
            unless,
        })
    }

    fn literal(&self, value: &Value) -> Option<String> {
        literal(value)
    }

    fn is_default(&self, existing: &str, value: &Value) -> bool {
        let Some(existing) = constant(existing) else {
            return false;
        };

        match value {
            Value::Number(number) => existing.parse() == Ok(*number),
            Value::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                existing == format!("\\x{hex}")
            }
            Value::Set(_) | Value::Json(_) => {
                let existing: Option<serde_json::Value> = serde_json::from_str(&existing).ok();
                existing == Some(value.to_json())
            }
            value => existing == value.to_text(),
        }
    }

    fn index_name(&self, purpose: &str, table: &str, fields: &[&str]) -> String {
        index_name(purpose, table, fields)
    }

    fn references(&self) -> ReferenceCreation {
        ReferenceCreation::AtAnyTime
    }

    fn as_text(&self, column: &str) -> String {
        format!("{column}::text")
    }

    fn rebuilds(&self, _: &Change, _: &Schema) -> bool {
        false
    }

    fn type_violation(&self, _: &Field, _: &Table) -> Option<String> {
        None
    }

    fn kept_type_violation(&self, _: &str, _: &Table) -> Option<(String, &'static str)> {
        None
    }

    fn waits_for_index(&self, how: IndexCreation) -> &'static str {
        match how {
            IndexCreation::New => "; writers of the table wait until it is created",
            IndexCreation::Replaced => {
                "; writers of the table wait until it is created, readers until the old one is dropped"
            }
            IndexCreation::DroppedFirst => {
                "; readers and writers of the table wait until it is created"
            }
        }
    }

    fn groups(&self, schema: &Schema, _: &Existing, findings: &[&Finding]) -> Vec<Group> {
        let sql = |change: &Change| self.statements(schema, change);
        let groups = findings.iter().flat_map(|finding| Group::of(finding, sql));
        groups.collect()
    }
}

impl Postgres {
    fn statements(&self, schema: &Schema, change: &Change) -> Vec<String> {
        let table = identifier(schema.name());
        let alter = |how: String| format!("ALTER TABLE {table} {how}");
        let field = |index: &usize| &schema.fields()[*index];
        let name = |index: &usize| identifier(field(index).name());
        match change {
            Change::CreateTable => {
                let mut columns: Vec<_> = schema.fields().iter().map(definition).collect();
                if schema.single_key().is_none() {
                    let key = schema.primary_key_fields();
                    let key: Vec<_> = key.map(|field| identifier(field.name())).collect();
                    columns.push(format!("PRIMARY KEY ({})", key.join(", ")));
                }
                vec![format!("CREATE TABLE {table} ({})", columns.join(", "))]
            }
            Change::AddColumn(index) => {
                vec![alter(format!("ADD COLUMN {}", definition(field(index))))]
            }
            Change::DropColumn(column) => {
                vec![alter(format!("DROP COLUMN {}", identifier(column)))]
            }
            Change::RecreateColumn(index) => vec![
                alter(format!("DROP COLUMN {}", name(index))),
                alter(format!("ADD COLUMN {}", definition(field(index)))),
            ],
            Change::Convert(index, using) => {
                let kind = type_of(field(index));
                let column = name(index);
                let mut sql = Vec::new();
                // A default of the old type may not be convertible to the new one.
                if field(index).column_default().is_some() {
                    sql.push(alter(format!("ALTER COLUMN {column} DROP DEFAULT")));
                }

                sql.push(alter(format!(
                    "ALTER COLUMN {column} TYPE {kind} USING {using}"
                )));
                sql.extend(
                    default_of(field(index)).map(|default| {
                        alter(format!("ALTER COLUMN {column} SET DEFAULT {default}"))
                    }),
                );

                sql
            }
            Change::FillDefault(index) => {
                let column = name(index);
                let filled = default_of(field(index)).map(|default| {
                    format!("UPDATE {table} SET {column} = {default} WHERE {column} IS NULL")
                });
                filled.into_iter().collect()
            }
            Change::MakeRequired(index) => {
                vec![alter(format!("ALTER COLUMN {} SET NOT NULL", name(index)))]
            }
            Change::MakeOptional(column) => vec![alter(format!(
                "ALTER COLUMN {} DROP NOT NULL",
                identifier(column)
            ))],
            Change::SetDefault(index) => {
                let column = name(index);
                let set = default_of(field(index))
                    .map(|default| alter(format!("ALTER COLUMN {column} SET DEFAULT {default}")));
                set.into_iter().collect()
            }
            Change::AddReference(index) => {
                let wanted = field(index).reference().map(|wanted| {
                    alter(format!(
                        "ADD FOREIGN KEY ({}) REFERENCES {} ({}) DEFERRABLE INITIALLY IMMEDIATE",
                        name(index),
                        identifier(&wanted.entity),
                        identifier(&wanted.key)
                    ))
                });
                wanted.into_iter().collect()
            }
            Change::CheckReference(constraint) => {
                vec![alter(format!(
                    "VALIDATE CONSTRAINT {}",
                    identifier(constraint)
                ))]
            }
            Change::DropReference(_, constraint) => {
                let dropped = constraint
                    .as_ref()
                    .map(|constraint| alter(format!("DROP CONSTRAINT {}", identifier(constraint))));
                dropped.into_iter().collect()
            }
            Change::CreateIndex(index) => {
                let wanted = wanted_indexes(self, schema).remove(index);
                wanted.map(|index| index.sql).into_iter().collect()
            }
            Change::DropIndex(index) => vec![format!("DROP INDEX {}", identifier(index))],
            // Readers go on while an index is created, but not after one was dropped.
            Change::ReplaceIndex(index) => {
                let wanted = wanted_indexes(self, schema).remove(index);
                let replaced = wanted.map(|wanted| {
                    let fields: Vec<_> = wanted.fields.iter().map(String::as_str).collect();
                    let old = identifier(&index_name("old", schema.name(), &fields));
                    [
                        format!("ALTER INDEX {} RENAME TO {old}", identifier(index)),
                        wanted.sql,
                        format!("DROP INDEX {old}"),
                    ]
                });
                replaced.into_iter().flatten().collect()
            }
        }
    }
}

fn type_of(field: &Field) -> String {
    let collation = match field.kind() {
        FieldKind::Text => " COLLATE \"C\"",
        _ => "",
    };
    format!("{}{collation}", column_type(field.kind()))
}

fn default_of(field: &Field) -> Option<String> {
    field.column_default().as_ref().and_then(literal)
}

fn definition(field: &Field) -> String {
    let mut column = format!("{} {}", identifier(field.name()), type_of(field));
    if !field.is_optional() {
        column.push_str(" NOT NULL");
    }

    if let Some(default) = default_of(field) {
        column.push_str(" DEFAULT ");
        column.push_str(&default);
    }
    if field.is_whole_key() {
        column.push_str(" PRIMARY KEY");
    }
    column
}

/// Returns the value of a default that is a constant, in the forms that the server shows: `7`,
/// `'7'::bigint`, `'a'::text`, `E'a\\b'::text`, `(-7)`.
fn constant(default: &str) -> Option<String> {
    let mut rest = default.trim();
    while let Some(inner) = rest.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
        rest = inner;
    }

    let (escapes, quoted) = match rest.strip_prefix("E'") {
        Some(quoted) => (true, Some(quoted)),
        None => (false, rest.strip_prefix('\'')),
    };
    let Some(quoted) = quoted else {
        let bare = rest.split("::").next().unwrap_or_default();
        let inner = bare.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
        let bare = inner.unwrap_or(bare);
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
        return bare.chars().all(is_plain).then(|| bare.to_owned());
    };

    let mut value = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next()? {
            '\'' if letters.as_str().starts_with('\'') => {
                letters.next();
                value.push('\'');
            }
            '\'' => break,
            '\\' if escapes => value.push(letters.next()?),
            letter => value.push(letter),
        }
    }

    // Only a cast may follow.
    let cast = letters.as_str();
    let is_cast = cast.starts_with("::") && !cast.contains(['\'', '|', '+']);
    (cast.is_empty() || is_cast).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_as_the_server_writes_them() {
        for (existing, value) in [
            ("true", Some("true")),
            ("7", Some("7")),
            ("'-7'::integer", Some("-7")),
            ("(-7)", Some("-7")),
            ("1.5", Some("1.5")),
            ("'free'::text", Some("free")),
            ("'it''s'::text COLLATE \"C\"", Some("it's")),
            ("E'a\\\\b'::text", Some("a\\b")),
            ("now()", None),
            ("nextval('s'::regclass)", None),
            ("('a'::text || 'b'::text)", None),
        ] {
            assert_eq!(constant(existing).as_deref(), value, "{existing}");
        }
    }
}
