//! Compares one schema with its table, and collects the differences as findings.

// Columns.
mod columns;

// References and indexes.
mod relations;

use std::collections::BTreeSet;

use tidings_core::Schema;

use super::{
    ddl::{DdlDialect, ReferenceCreation, identifier, wanted_indexes},
    existing::{Existing, Table},
    finding::{Change, Depth, Finding, Severity},
    inspect::Inspect,
};
use crate::{
    error::Error,
    loss::{Loss, in_words},
};

/// A schema, what the database has under its name, and the differences between the two.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) schema: &'static Schema,
    pub(crate) existing: Existing,
    pub(crate) findings: Vec<Finding>,
}

/// Compares a schema with its table. Columns that the schema does not have are left alone if they
/// are listed in `kept`.
pub(crate) async fn compare<I: Inspect + ?Sized>(
    inspect: &mut I,
    schema: &'static Schema,
    depth: Depth,
    kept: &[(String, String)],
) -> Result<Compared, Error> {
    let existing = inspect.find(schema.name()).await?;
    let dialect = inspect.dialect();
    let findings = match &existing {
        Existing::Nothing => missing_table(dialect, schema),
        Existing::Other(other) => {
            vec![Finding::unfixable(format!(
                "{} is a {other} and not a table",
                schema.name()
            ))]
        }
        Existing::Table(table) => {
            let mut comparison = Comparison {
                inspect,
                dialect,
                schema,
                depth,
                table,
                fresh: BTreeSet::new(),
                findings: Vec::new(),
            };
            comparison.columns().await?;
            comparison.unknown(kept).await?;
            comparison.references().await?;
            comparison.indexes().await?;

            match depth {
                Depth::Start => {}
                Depth::Migration => comparison.rebuild().await?,
            }

            comparison.findings
        }
    };
    Ok(Compared {
        schema,
        existing,
        findings,
    })
}

/// Returns the findings that create a missing table.
fn missing_table(dialect: &dyn DdlDialect, schema: &Schema) -> Vec<Finding> {
    let table = schema.name();
    let mut changes = vec![Change::CreateTable];
    if dialect.references() == ReferenceCreation::AtAnyTime {
        let fields = schema.fields().iter().enumerate();
        let referring = fields.filter(|(_, field)| field.reference().is_some());
        changes.extend(referring.map(|(index, _)| Change::AddReference(index)));
    }

    let indexes = wanted_indexes(dialect, schema).into_keys();
    changes.extend(indexes.map(Change::CreateIndex));
    let remedy = format!("creates the table {table}");
    vec![Finding::new(
        Severity::Addition,
        "is missing",
        remedy,
        changes,
    )]
}

impl Finding {
    fn new(
        severity: Severity,
        difference: impl Into<String>,
        remedy: impl Into<String>,
        changes: Vec<Change>,
    ) -> Self {
        Self {
            severity,
            difference: difference.into(),
            remedy: remedy.into(),
            changes,
            loss: None,
        }
    }

    fn unfixable(difference: String) -> Self {
        Self::new(
            Severity::Unfixable,
            difference.clone(),
            difference,
            Vec::new(),
        )
    }

    fn with_loss(mut self, loss: Loss) -> Self {
        self.loss = (loss.rows > 0 || !loss.along.is_empty()).then_some(loss);
        self
    }
}

struct Comparison<'a, I: ?Sized> {
    inspect: &'a mut I,
    dialect: &'static dyn DdlDialect,
    schema: &'static Schema,
    depth: Depth,
    table: &'a Table,
    /// The columns that are to be added or recreated.
    fresh: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl<I: Inspect + ?Sized> Comparison<'_, I> {
    /// Finds what a rebuilt table could not take over.
    async fn rebuild(&mut self) -> Result<(), Error> {
        let (dialect, schema, table) = (self.dialect, self.schema, self.table);
        let changes = self.findings.iter().flat_map(|finding| &finding.changes);
        if !changes
            .clone()
            .any(|change| dialect.rebuilds(change, schema))
        {
            return Ok(());
        }

        let dropped: BTreeSet<_> = changes
            .clone()
            .filter_map(|change| match change {
                Change::DropColumn(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        let converted: BTreeSet<_> = changes
            .filter_map(|change| match change {
                Change::Convert(index, _) => Some(*index),
                _ => None,
            })
            .collect();

        let wanted = wanted_indexes(dialect, schema).into_values();
        let wanted = wanted.filter(|index| index.unique);
        let key = format!("PRIMARY KEY ({})", schema.primary_key_names().join(", "));
        let replaced: Vec<_> = wanted
            .map(|index| format!("UNIQUE ({})", index.fields.join(",")))
            .chain([key])
            .collect();
        for rule in table.rules.iter().filter(|rule| !replaced.contains(rule)) {
            let name = schema.name();
            self.unfixable(format!(
                "{name} has {rule}, which it would lose when it is rebuilt"
            ));
        }

        for (index, field) in schema.fields().iter().enumerate() {
            let stays = table.columns.contains_key(field.name())
                && !self.fresh.contains(field.name())
                && !converted.contains(&index);
            let Some(type_violation) = dialect.type_violation(field, table).filter(|_| stays)
            else {
                continue;
            };
            let wanted = dialect.column_type(field.kind());
            self.add_type_violation(field.name(), &type_violation, wanted)
                .await?;
        }

        for (name, column) in &table.columns {
            let stays = schema.field(name).is_none() && !dropped.contains(name);
            if stays
                && !column.is_generated
                && let Some((type_violation, wanted)) = dialect.kept_type_violation(name, table)
            {
                self.add_type_violation(name, &type_violation, wanted)
                    .await?;
            }
        }

        Ok(())
    }

    /// Adds a finding for a column that holds values which its type would not accept.
    async fn add_type_violation(
        &mut self,
        name: &str,
        type_violation: &str,
        wanted: &str,
    ) -> Result<(), Error> {
        let rows = self.rows(Some(type_violation)).await?;
        if rows > 0 {
            let (rows, table) = (in_words(rows), self.schema.name());
            self.unfixable(format!(
                "{table}.{name} holds values in {rows} that are not {wanted}"
            ));
        }
        Ok(())
    }

    /// Counts the rows that meet a condition.
    async fn rows(&mut self, condition: Option<&str>) -> Result<u64, Error> {
        let condition = condition.map_or_else(String::new, |it| format!(" WHERE {it}"));
        let table = identifier(self.schema.name());
        let sql = format!("SELECT count(*) FROM {table}{condition}");
        self.inspect.count(&sql).await
    }

    fn unfixable(&mut self, difference: String) {
        self.findings.push(Finding::unfixable(difference));
    }
}
