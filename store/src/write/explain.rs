//! Explains which constraint a row violates: turns the database's error into one that names fields.

use tidings_core::Row;

use crate::{
    engine::{Constraint, ConstraintViolation, Refused},
    error::Error,
    parameter::Parameter,
    write::{
        catalog::Stored,
        transaction::{Place, Transaction},
    },
};

impl Transaction<'_> {
    /// Returns the error that names the constraint that a row violates.
    pub(crate) async fn explain(
        &mut self,
        stored: &Stored,
        row: &Row,
        place: Place,
        refused: Refused,
    ) -> Error {
        let (explained, error) = match refused {
            Refused::Failed(error) => return error,
            Refused::Unique(ConstraintViolation { by, error }) => {
                let explained = match by {
                    Constraint::Unnamed => self.clash(stored, row, place).await,
                    Constraint::Over(columns) => Ok(clash_over(stored, row, &columns)),
                    Constraint::Unknown => Ok(None),
                };
                (explained, error)
            }
            Refused::Reference(ConstraintViolation { by, error }) => {
                let explained = match by {
                    Constraint::Unnamed => self.missing(stored, row).await,
                    Constraint::Over(columns) => Ok(self.missing_over(stored, row, &columns)),
                    Constraint::Unknown => Ok(None),
                };
                (explained, error)
            }
        };

        match explained {
            Ok(Some(explained)) | Err(explained) => explained,
            // A constraint that the schema does not know.
            Ok(None) => error,
        }
    }

    /// Looks for the row that has the same unique values.
    async fn clash(
        &mut self,
        stored: &Stored,
        row: &Row,
        place: Place,
    ) -> Result<Option<Error>, Error> {
        for unique in &stored.statements.unique {
            let fields = unique.fields.iter();
            let values =
                fields.map(|&field| Parameter::of(&stored.schema.fields()[field], &row.0[field]));
            let found = self.rows(stored, &unique.other, values.collect()).await?;
            let own = place == Place::Over;
            if found
                .iter()
                .any(|other| !own || !stored.schema.is_same_row(other, row))
            {
                return Ok(Some(unique_violation(stored, row, &unique.fields)));
            }
        }

        Ok(None)
    }

    /// Looks for the reference to a missing row.
    async fn missing(&mut self, stored: &Stored, row: &Row) -> Result<Option<Error>, Error> {
        for reference in &stored.parents {
            let value = &row.0[reference.field];
            let parent = self.catalog.get(reference.entity);
            let key = parent.referred().zip(parent.schema.single_key());
            let by_id =
                key.and_then(|(key, field)| Some((key, parent.statements.by_fields([field])?)));
            let Some((key, by_id)) = by_id.filter(|_| !value.is_null()) else {
                continue;
            };

            // A row may refer to itself before it is stored.
            let itself = std::ptr::eq(parent, stored) && stored.reference(row) == Some(value);
            if itself {
                continue;
            }

            let id = Parameter::of(key, value);
            if self.rows(parent, &by_id.plain, vec![id]).await?.is_empty() {
                return Ok(Some(foreign_violation(
                    stored,
                    parent,
                    row,
                    reference.field,
                )));
            }
        }

        Ok(None)
    }

    /// Returns the error for a reference whose column the database named.
    fn missing_over(&self, stored: &Stored, row: &Row, columns: &[String]) -> Option<Error> {
        let [column] = columns else {
            return None;
        };
        let (field, _) = stored.schema.field(column)?;
        let mut parents = stored.parents.iter();
        let reference = parents.find(|reference| reference.field == field)?;
        let parent = self.catalog.get(reference.entity);
        Some(foreign_violation(stored, parent, row, field))
    }
}

/// Returns the error for a unique constraint whose columns the database named.
fn clash_over(stored: &Stored, row: &Row, columns: &[String]) -> Option<Error> {
    let fields = columns
        .iter()
        .map(|column| Some(stored.schema.field(column)?.0));
    let fields = fields.collect::<Option<Vec<_>>>()?;

    // In the order of the schema, not of the index.
    let mut known = stored.statements.unique.iter();
    let declared = known.find(|unique| {
        unique.fields.len() == fields.len() && unique.fields.iter().all(|it| fields.contains(it))
    });
    let fields = declared.map_or(&fields, |unique| &unique.fields);
    Some(unique_violation(stored, row, fields))
}

fn unique_violation(stored: &Stored, row: &Row, fields: &[usize]) -> Error {
    let names = fields
        .iter()
        .map(|&field| stored.schema.fields()[field].name().to_owned());
    Error::Unique {
        entity: stored.schema.name().to_owned(),
        fields: names.collect(),
        // Masked where they are secrets: errors are logged.
        values: fields
            .iter()
            .map(|&field| stored.schema.fields()[field].shown(&row.0[field]))
            .collect(),
    }
}

fn foreign_violation(stored: &Stored, parent: &Stored, row: &Row, field: usize) -> Error {
    Error::ForeignKey {
        entity: stored.schema.name().to_owned(),
        field: stored.schema.fields()[field].name().to_owned(),
        references: parent.schema.name().to_owned(),
        value: stored.schema.fields()[field].shown(&row.0[field]),
    }
}
