//! What a named cache has for itself.

use std::time::Duration;

use crate::{
    error::OptionError,
    options::{call::setters, policy::Policy, terms::Overrides},
};

/// What a named cache has for itself.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct CacheSettings {
    pub(crate) terms: Overrides,
    pub(crate) l1_entries: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            terms: Overrides::default(),
            l1_entries: 4_096,
        }
    }
}

impl CacheSettings {
    setters!();

    /// How many entries each attached thread keeps; zero is none. The default is 4,096.
    pub fn l1_entries(mut self, entries: usize) -> Self {
        self.l1_entries = entries;
        self
    }

    fn overrides(&mut self) -> &mut Overrides {
        &mut self.terms
    }

    pub(crate) fn check(&self) -> Result<(), OptionError> {
        self.terms.check()?;
        self.terms.check_resurrect(self.terms.policy)
    }
}
