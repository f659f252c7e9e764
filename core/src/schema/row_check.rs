//! [`RowCheck`]: a function of the application that checks a whole row.

use std::fmt;

use crate::row::{Row, Violations};

/// A function that checks each whole row before it is stored. Two are equal if their names are.
#[derive(Clone)]
pub struct RowCheck {
    name: String,
    run: fn(&Row) -> Result<(), Violations>,
}

impl RowCheck {
    pub(super) fn new(name: &str, run: fn(&Row) -> Result<(), Violations>) -> Self {
        Self {
            name: name.to_owned(),
            run,
        }
    }

    /// Returns the function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn run(&self, row: &Row) -> Result<(), Violations> {
        (self.run)(row)
    }
}

impl PartialEq for RowCheck {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RowCheck {}

impl fmt::Debug for RowCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowCheck").field(&self.name).finish()
    }
}
