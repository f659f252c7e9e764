//! The settings of one named cache.

use std::time::Duration;

use crate::{
    answer::ttl::Ttl,
    error::OptionError,
    options::{
        call::setters,
        policy::Policy,
        terms::{Overrides, check_range},
    },
};

/// The settings of one named cache.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct CacheSettings {
    pub(crate) terms: Overrides,
    pub(crate) l1_entries: usize,
    pub(crate) l1_bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            terms: Overrides::default(),
            l1_entries: 4_096,
            l1_bytes: 4 << 20,
        }
    }
}

impl CacheSettings {
    setters!();

    /// Sets how many entries each thread keeps in its L1; zero is none. The default is 4,096.
    pub fn l1_entries(mut self, entries: usize) -> Self {
        self.l1_entries = entries;
        self
    }

    /// Sets what each thread keeps in its L1, in bytes as L2 weighs them: 4 MiB by default. An
    /// eighth of it is for absences; an entry that takes more than a sixteenth of its part stays in
    /// L2.
    pub fn l1_bytes(mut self, bytes: u64) -> Self {
        self.l1_bytes = bytes;
        self
    }

    fn overrides(&mut self) -> &mut Overrides {
        &mut self.terms
    }

    pub(crate) fn check(&self) -> Result<(), OptionError> {
        self.terms.check()?;
        self.terms.check_resurrect(self.terms.policy)?;
        let entries = self.l1_entries as u64;
        check_range("l1_entries", entries, 0, 1 << 30, "at most 2^30")?;
        check_range("l1_bytes", self.l1_bytes, 0, 1 << 40, "at most 1 TiB")
    }
}
