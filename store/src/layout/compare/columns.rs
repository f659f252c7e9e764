//! Compares the columns of a table with the fields of its schema.

use tidings_core::Field;

use super::Comparison;
use crate::{
    error::Error,
    layout::{
        ddl::{identifier, is_addable},
        existing::Column,
        finding::{Change, Depth, Finding, Severity},
        inspect::Inspect,
    },
    loss::{Loss, in_words},
};

impl<I: Inspect + ?Sized> Comparison<'_, I> {
    /// Compares the columns of the schema.
    pub(super) async fn columns(&mut self) -> Result<(), Error> {
        for (index, field) in self.schema.fields().iter().enumerate() {
            match self.table.columns.get(field.name()) {
                None => self.missing(index, field).await?,
                Some(column) => self.column(index, field, column).await?,
            }
        }
        Ok(())
    }

    async fn missing(&mut self, index: usize, field: &Field) -> Result<(), Error> {
        let (table, name) = (self.schema.name(), field.name());
        let difference = format!("{table} lacks the column {name}, which is required");
        let severity = if is_addable(field) {
            Severity::Addition
        } else if self.depth == Depth::Start {
            self.unfixable(difference);
            return Ok(());
        } else if field.is_primary_key() {
            let why = format!("{difference}, and no migration adds a column of the primary key");
            self.findings.push(Finding::unfixable(why));
            return Ok(());
        } else if self.rows(None).await? == 0 {
            Severity::Blocking
        } else {
            let rows = in_words(self.rows(None).await?);
            let why = format!("{difference}, and there is no value for {rows}");
            self.findings.push(Finding::unfixable(why));
            return Ok(());
        };
        let remedy = format!("{table}: adds the column {name}");
        let changes = vec![Change::AddColumn(index)];
        self.fresh.insert(name.to_owned());
        self.findings
            .push(Finding::new(severity, difference, remedy, changes));

        Ok(())
    }

    async fn column(
        &mut self,
        index: usize,
        field: &Field,
        existing: &Column,
    ) -> Result<(), Error> {
        let (table, name) = (self.schema.name(), field.name());
        let at = format!("{table}.{name}");
        if !self.dialect.holds(field, &existing.declared) {
            self.type_of(index, field, existing).await?;
        }
        if existing.is_generated {
            self.unfixable(format!("{at} is generated"));
        }

        match (existing.is_key, field.is_primary_key()) {
            (true, false) => {
                self.unfixable(format!(
                    "{at} is (part of) the primary key, and should not be"
                ));
            }
            (false, true) => {
                let what = match self.schema.single_key() {
                    Some(_) => "the primary key",
                    None => "part of the primary key",
                };
                self.unfixable(format!("{at} is not {what}, and should be"));
            }
            _ => {}
        }

        if self.fresh.contains(name) {
            return Ok(());
        }

        if existing.not_null && field.is_optional() {
            let changes = vec![Change::MakeOptional(name.to_owned())];
            let remedy = format!("{table}: makes the column {name} optional");
            let difference = format!("{at} is NOT NULL, and may be absent");
            let finding = Finding::new(Severity::Blocking, difference, remedy, changes);
            self.findings.push(finding);
        }

        if !existing.not_null && !field.is_optional() {
            self.absent(index, field).await?;
        }

        if let Some(default) = &field.column_default()
            && self.dialect.literal(default).is_some()
            && !existing
                .default
                .as_ref()
                .is_some_and(|existing| self.dialect.is_default(existing, default))
        {
            let changes = vec![Change::SetDefault(index)];
            let remedy = format!("{table}: sets the default of the column {name}");
            let difference = format!("{at} has another default");
            let finding = Finding::new(Severity::Minor, difference, remedy, changes);
            self.findings.push(finding);
        }

        Ok(())
    }

    /// Adds a finding for a column whose type does not fit.
    async fn type_of(
        &mut self,
        index: usize,
        field: &Field,
        existing: &Column,
    ) -> Result<(), Error> {
        let (table, name) = (self.schema.name(), field.name());
        let wanted = self.dialect.column_type(field.kind());
        let difference = format!(
            "{table}.{name} is declared {:?}, and {wanted} is needed",
            existing.declared
        );
        if self.depth == Depth::Start {
            self.unfixable(difference);
            return Ok(());
        }
        if let Some(widening) = self.dialect.widening(field, &existing.declared) {
            let exceptions = match &widening.unless {
                Some(unless) => self.rows(Some(unless)).await?,
                None => 0,
            };
            if exceptions == 0 {
                let remedy = format!("{table}: widens the column {name} to {wanted}");
                let changes = vec![Change::Convert(index, widening.using)];
                let finding = Finding::new(Severity::Blocking, difference, remedy, changes);
                self.findings.push(finding);
                return Ok(());
            }
        }

        // The column is recreated, which needs an addable column or an empty table.
        let is_empty = self.rows(None).await? == 0;
        if field.is_primary_key() || existing.is_key || !(is_addable(field) || is_empty) {
            self.unfixable(difference);
            return Ok(());
        }

        let loss = self.loss(name).await?;
        let remedy = format!("{table}: recreates the column {name} as {wanted}");
        let changes = vec![Change::RecreateColumn(index)];
        let finding = Finding::new(Severity::Blocking, difference, remedy, changes);
        self.findings.push(finding.with_loss(loss));
        self.fresh.insert(name.to_owned());
        Ok(())
    }

    /// Returns what would be lost with a column.
    async fn loss(&mut self, column: &str) -> Result<Loss, Error> {
        let table = self.schema.name();
        let held = format!("{} IS NOT NULL", identifier(column));
        let rows = self.rows(Some(&held)).await?;
        let along = self.inspect.along(table, column).await?;
        Ok(Loss::new(table, column, rows, along))
    }

    /// Adds a finding for a required column that rows may lack.
    async fn absent(&mut self, index: usize, field: &Field) -> Result<(), Error> {
        let (table, name) = (self.schema.name(), field.name());
        let absent = format!("{} IS NULL", identifier(name));
        let rows = self.rows(Some(&absent)).await?;
        let words = in_words(rows);
        let difference = format!("{table}.{name} is required, and absent in {words}");
        let remedy = format!("{table}: makes the column {name} required");
        if rows == 0 {
            if !field.is_primary_key() {
                let changes = vec![Change::MakeRequired(index)];
                let finding = Finding::new(Severity::Minor, difference, remedy, changes);
                self.findings.push(finding);
            }
        } else if field.column_default().is_some() && !field.is_primary_key() {
            let remedy = format!("{remedy}, and sets the default in {words}");
            let changes = vec![Change::FillDefault(index), Change::MakeRequired(index)];
            let finding = Finding::new(Severity::Blocking, difference, remedy, changes);
            self.findings.push(finding);
        } else {
            self.unfixable(difference);
        }

        Ok(())
    }

    /// Adds findings for the columns that the schema does not have.
    pub(super) async fn unknown(&mut self, kept: &[(String, String)]) -> Result<(), Error> {
        let table = self.schema.name();
        for (name, column) in &self.table.columns {
            if self.schema.field(name).is_some() || column.is_generated {
                continue;
            }

            let is_demanded = column.not_null && !column.fills_itself;
            let severity = if is_demanded {
                Severity::Blocking
            } else {
                Severity::Minor
            };
            let difference = if is_demanded {
                format!(
                    "{table}.{name} is NOT NULL without a default, and the schema does not know it"
                )
            } else {
                format!("the schema does not know {table}.{name}")
            };
            if column.is_key {
                if is_demanded {
                    self.unfixable(format!(
                        "{table}.{name} is part of the primary key, and the schema does not know it"
                    ));
                }
                continue;
            }

            let is_kept = kept
                .iter()
                .any(|(of, column)| of == table && column == name);
            if is_kept && is_demanded {
                let changes = vec![Change::MakeOptional(name.clone())];
                let remedy = format!("{table}: makes the column {name} optional");
                let finding = Finding::new(severity, difference, remedy, changes);
                self.findings.push(finding);
            } else if self.depth == Depth::Start {
                if is_demanded {
                    self.unfixable(difference);
                }
            } else if !is_kept {
                let loss = self.loss(name).await?;
                let changes = vec![Change::DropColumn(name.clone())];
                let remedy = format!("{table}: drops the column {name}");
                let finding = Finding::new(severity, difference, remedy, changes);
                self.findings.push(finding.with_loss(loss));
            }
        }

        Ok(())
    }
}
