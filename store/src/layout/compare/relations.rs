//! Compares the references and indexes of a table with those that its schema needs.

use tidings_core::{Field, Foreign};

use super::Comparison;
use crate::{
    error::Error,
    layout::{
        ddl::{Index, IndexCreation, ReferenceCreation, identifier, is_ours, wanted_indexes},
        existing::{Existing, Reference},
        finding::{Change, Depth, Finding, Phase, Severity},
        inspect::Inspect,
    },
    loss::in_words,
};

/// Describes the action of a reference, if it has one.
fn action_of(at: &str, existing: &Reference) -> Option<String> {
    let action = existing.action.as_deref()?;
    Some(format!(
        "{at} has {action}, which would change rows without events"
    ))
}

fn drop_of(column: &str, existing: &Reference) -> Change {
    Change::DropReference(column.to_owned(), existing.name.clone())
}

impl<I: Inspect + ?Sized> Comparison<'_, I> {
    pub(super) async fn references(&mut self) -> Result<(), Error> {
        let adds = self.dialect.references();
        for (index, field) in self.schema.fields().iter().enumerate() {
            let is_fresh = self.fresh.contains(field.name());
            match (field.reference(), adds) {
                // A new column is created with its reference.
                (_, ReferenceCreation::WithItsColumn) if is_fresh => {}
                (Some(wanted), ReferenceCreation::AtAnyTime) if is_fresh => {
                    let remedy = self.refers(field, wanted);
                    let changes = vec![Change::AddReference(index)];
                    let finding = Finding::new(Severity::Addition, "", remedy, changes);
                    self.findings.push(finding);
                }
                (None, ReferenceCreation::AtAnyTime) if is_fresh => {}
                (wanted, adds) => self.reference(index, field, wanted, adds).await?,
            }
        }

        Ok(())
    }

    fn refers(&self, field: &Field, wanted: &Foreign) -> String {
        format!(
            "{}: adds the reference from the column {} to {} ({})",
            self.schema.name(),
            field.name(),
            wanted.entity,
            wanted.key
        )
    }

    async fn reference(
        &mut self,
        index: usize,
        field: &Field,
        wanted: Option<&Foreign>,
        adds: ReferenceCreation,
    ) -> Result<(), Error> {
        let (table, name) = (self.schema.name(), field.name());
        if !self.table.columns.contains_key(name) {
            return Ok(());
        }

        let at = format!("{table}.{name}");
        let existing = self.table.references.get(name).map_or(&[][..], |all| all);
        let leads = |it: &&Reference| {
            wanted.is_some_and(|wanted| (&it.table, &it.key) == (&wanted.entity, &wanted.key))
        };
        let fitting = existing.iter().find(|it| leads(it) && it.action.is_none());
        if let (Some(wanted), Some(fitting)) = (wanted, fitting) {
            self.checked(field, wanted, fitting).await?;
        }

        if wanted.is_none() || fitting.is_some() {
            self.drop_others(name, &at, existing, fitting);
            return Ok(());
        }
        let Some(wanted) = wanted else { return Ok(()) };

        // None of them fits: drop the existing ones, and create one.
        let refers_elsewhere = format!("{at} does not refer to {} ({})", wanted.entity, wanted.key);
        let fits = existing.iter().find(leads);
        let action = existing.iter().find_map(|it| action_of(&at, it));
        let (severity, difference) = match (fits.is_some(), action) {
            (true, Some(action)) => (Severity::Blocking, action),
            (false, Some(action)) => (Severity::Blocking, format!("{refers_elsewhere}; {action}")),
            (_, None) if existing.is_empty() && adds == ReferenceCreation::AtAnyTime => {
                (Severity::Addition, refers_elsewhere)
            }
            (_, None) => (Severity::Blocking, refers_elsewhere),
        };
        let is_proven = fits.is_some_and(|existing| existing.is_checked);
        if !is_proven && self.is_broken(field, wanted, &difference).await? {
            return Ok(());
        }

        let remedy = self.refers(field, wanted);
        let drops = existing.iter().map(|it| drop_of(name, it));
        let changes = drops.chain([Change::AddReference(index)]).collect();
        let finding = Finding::new(severity, difference, remedy, changes);
        self.findings.push(finding);
        Ok(())
    }

    /// Adds findings for references of a column that no field needs. A duplicate of the fitting one
    /// without an action does no harm.
    fn drop_others(
        &mut self,
        name: &str,
        at: &str,
        existing: &[Reference],
        fitting: Option<&Reference>,
    ) {
        let table = self.schema.name();
        let is_alike = |it: &Reference| {
            let leads = fitting.map(|fitting| (&fitting.table, &fitting.key));
            leads == Some((&it.table, &it.key)) && it.action.is_none()
        };

        for other in existing.iter().filter(|it| !is_alike(it)) {
            let action = action_of(at, other);
            let severity = if action.is_some() {
                Severity::Blocking
            } else {
                Severity::Minor
            };
            let difference = action.unwrap_or_else(|| format!("{at} refers to another table"));
            let remedy = match fitting {
                Some(_) => format!(
                    "{table}: drops the second reference of the column {name}, to {} ({})",
                    other.table, other.key
                ),
                None => format!("{table}: drops the reference of the column {name}"),
            };
            let changes = vec![drop_of(name, other)];
            let finding = Finding::new(severity, difference, remedy, changes);
            self.findings.push(finding);
        }
    }

    /// Adds a finding for a fitting reference if rows older than it were never checked. New rows
    /// are checked, so a node can work with it, and rows that refer to nothing hold up no other
    /// change.
    async fn checked(
        &mut self,
        field: &Field,
        wanted: &Foreign,
        existing: &Reference,
    ) -> Result<(), Error> {
        if existing.is_checked {
            return Ok(());
        }

        let (table, name) = (self.schema.name(), field.name());
        let difference = format!("{table}.{name} has a reference that was never checked");
        if self.depth == Depth::Start {
            tracing::warn!(
                "{difference}: older rows may refer to nothing; a migration checks them"
            );
            return Ok(());
        }

        let orphans = self.orphans(field, wanted).await?;
        if orphans > 0 {
            let orphans = in_words(orphans);
            tracing::warn!(
                "{difference}, and is not checked now: {orphans} would refer to nothing"
            );
            return Ok(());
        }

        // Nodes keep reading and writing while it is checked.
        let remedy = format!("{table}: checks the reference of the column {name}");
        let checks = existing.name.iter().cloned().map(Change::CheckReference);
        let finding = Finding::new(Severity::Addition, difference, remedy, checks.collect());
        self.findings.push(finding);
        Ok(())
    }

    /// Returns whether rows refer to nothing, and then adds a finding.
    async fn is_broken(
        &mut self,
        field: &Field,
        wanted: &Foreign,
        difference: &str,
    ) -> Result<bool, Error> {
        let orphans = self.orphans(field, wanted).await?;
        if orphans > 0 {
            let orphans = in_words(orphans);
            self.unfixable(format!(
                "{difference}, and {orphans} would refer to nothing"
            ));
        }
        Ok(orphans > 0)
    }

    /// Returns how many rows would refer to nothing.
    async fn orphans(&mut self, field: &Field, wanted: &Foreign) -> Result<u64, Error> {
        let column = identifier(field.name());
        let parents = match self.inspect.find(&wanted.entity).await? {
            Existing::Table(table) if table.columns.contains_key(&wanted.key) => {
                let key = self
                    .dialect
                    .as_text(&format!("parents.{}", identifier(&wanted.key)));
                let child = self.dialect.as_text(&format!("children.{column}"));
                format!(
                    " AND NOT EXISTS (SELECT 1 FROM {} AS parents WHERE {key} = {child})",
                    identifier(&wanted.entity)
                )
            }
            // It does not exist yet, and so has no rows.
            _ => String::new(),
        };
        let sql = format!(
            "SELECT count(*) FROM {} AS children WHERE children.{column} IS NOT NULL{parents}",
            identifier(self.schema.name())
        );
        self.inspect.count(&sql).await
    }

    pub(super) async fn indexes(&mut self) -> Result<(), Error> {
        let table = self.schema.name();
        let wanted = wanted_indexes(self.dialect, self.schema);
        for (name, existing) in &self.table.indexes {
            if !is_ours(name) || wanted.contains_key(name) || existing.is_being_made {
                continue;
            }

            // The index of a constraint can only be dropped with the constraint.
            match (&existing.constraint, self.depth) {
                (Some(constraint), Depth::Start) => tracing::warn!(
                    "{table} has the constraint {constraint}, which no field asks for any more"
                ),
                (Some(constraint), Depth::Migration) => self.findings.push(Finding::unfixable(
                    format!(
                        "{table} has the constraint {constraint}, which no field asks for: drop or rename it"
                    ),
                )),
                (None, _) => {
                    let changes = vec![Change::DropIndex(name.clone())];
                    let remedy = format!("{table}: drops the index {name}");
                    let finding = Finding::new(Severity::Addition, "", remedy, changes);
                    self.findings.push(finding);
                }
            }
        }

        for (name, index) in wanted {
            let is_fresh = index.fields.iter().any(|field| self.fresh.contains(field));
            let existing = self.table.indexes.get(&name);
            if let Some(existing) = existing.filter(|_| !is_fresh) {
                if index.is_as(existing) || existing.is_being_made {
                    continue;
                }
                if self.depth == Depth::Start && existing.constraint.is_none() {
                    self.leave(&name, &index);
                    continue;
                }
            }
            if let Some(constraint) = existing.and_then(|existing| existing.constraint.as_ref()) {
                self.unfixable(format!(
                    "{table} has the constraint {constraint} in place of the index {name}, but not with the same \
                     definition: drop or rename the constraint"
                ));
                continue;
            }

            let is_whole = index
                .fields
                .iter()
                .all(|field| self.table.columns.contains_key(field));
            if index.unique && is_whole && !is_fresh {
                let clashing = self.clashing(&index.fields).await?;
                if clashing > 0 {
                    let rows = in_words(clashing);
                    self.unfixable(format!("{rows} of {table} violate {name}"));
                    continue;
                }
            }

            // An index that has the right name but another definition is dropped: first, if columns
            // change that it may be in the way of. The index of a recreated column is dropped with
            // it.
            let create = || Change::CreateIndex(name.clone());
            let (changes, waits) = match existing {
                None => (vec![create()], IndexCreation::New),
                Some(_) if self.is_index_alone() => (
                    vec![Change::ReplaceIndex(name.clone())],
                    IndexCreation::Replaced,
                ),
                Some(_) => {
                    let drop = Change::DropIndex(name.clone());
                    (vec![drop, create()], IndexCreation::DroppedFirst)
                }
            };
            let waits = self.dialect.waits_for_index(waits);
            let remedy = format!("{table}: creates the index {name}{waits}");
            let finding = Finding::new(Severity::Addition, "", remedy, changes);
            self.findings.push(finding);
        }

        Ok(())
    }

    /// Returns whether only indexes of the table are to be changed.
    fn is_index_alone(&self) -> bool {
        let mut changes = self.findings.iter().flat_map(|finding| &finding.changes);
        changes.all(|change| {
            matches!(change, Change::DropIndex(_)) || change.phase() == Phase::Indexes
        })
    }

    /// Leaves an index with the right name but another definition to a migration: readers would
    /// wait while a new one is created. A node works without the index, unless nothing keeps its
    /// columns unique.
    fn leave(&mut self, name: &str, index: &Index) {
        let table = self.schema.name();
        let difference =
            format!("{table} has an index {name} that is invalid or has another definition");
        let mut others = self.table.indexes.values();
        if index.unique && !others.any(|existing| index.is_held_by(existing)) {
            let fields = index.fields.join(", ");
            let difference = format!("{difference}, and nothing keeps ({fields}) unique");
            let remedy = format!("{table}: creates the index {name}");
            let finding = Finding::new(Severity::Blocking, difference, remedy, Vec::new());
            self.findings.push(finding);
        } else {
            tracing::warn!(
                "{difference}; `tidings migrate apply` creates it again (in your own program: \
                 `Migrations::apply`)"
            );
        }
    }

    /// Returns how many rows share their values in these columns with another row.
    async fn clashing(&mut self, fields: &[String]) -> Result<u64, Error> {
        let columns: Vec<_> = fields.iter().map(|field| identifier(field)).collect();
        let set: Vec<_> = columns
            .iter()
            .map(|column| format!("{column} IS NOT NULL"))
            .collect();
        let sql = format!(
            "SELECT CAST(coalesce(sum(alike), 0) AS bigint) FROM (SELECT count(*) AS alike FROM {} \
             WHERE {} GROUP BY {} HAVING count(*) > 1) AS found",
            identifier(self.schema.name()),
            set.join(" AND "),
            columns.join(", ")
        );
        self.inspect.count(&sql).await
    }
}
