//! Bodies beside their path: a body may repeat what the path says, and not contradict it.

use tidings::core::{Patch, Row, Rule, Value};

use super::{Name, Rows};
use crate::problem::Problem;

impl Rows {
    /// Returns the patch with the parent set; one that names another parent is refused.
    pub(super) fn under_owner(&self, mut patch: Patch) -> Result<Patch, Problem> {
        if let Some(owner) = &self.owner {
            self.agree(&patch, owner.field, &owner.value)?;
            patch.set(self.name_of(owner.field), owner.value.clone());
        }
        Ok(patch)
    }

    /// Refuses a patch that would change a row's primary key.
    pub(super) fn keep_primary_key(&self, patch: &Patch, row: &Row) -> Result<(), Problem> {
        let mut key = self.schema.primary_key().iter();
        key.try_for_each(|&field| self.agree(patch, field, &row.0[field]))
    }

    /// Gives a row the values of its name.
    pub(super) fn name_it(&self, patch: &mut Patch, name: &Name) {
        for (field, value) in &name.values {
            patch.set(self.name_of(*field), value.clone());
        }
    }

    /// Refuses a patch that contradicts the path about a field.
    pub(super) fn agree(&self, patch: &Patch, field: usize, value: &Value) -> Result<(), Problem> {
        match patch.value(self.name_of(field)) {
            Some(given) if given != value => Err(self.disagrees(field)),
            _ => Ok(()),
        }
    }

    /// Returns the new row that a patch makes.
    pub(super) fn row(&self, patch: &Patch) -> Result<Row, Problem> {
        let row = Row::empty(self.schema).patched(self.schema, patch);
        row.map_err(|violations| Problem::violations(&violations))
    }

    fn disagrees(&self, field: usize) -> Problem {
        let name = self.schema.fields()[field].name();
        Problem::field(name, Rule::Contradiction, "disagrees with the path")
    }
}
