//! [`StartError`]: why a gateway did not start.

use std::{error::Error as StdError, fmt};

use tidings::BoxError;

use crate::server::BindError;

/// A gateway did not start. What had started has been stopped.
#[derive(Debug)]
pub struct StartError {
    what: &'static str,
    source: BoxError,
}

impl StartError {
    pub(super) fn new(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: source.into(),
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::new("an address cannot be used", error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl StdError for StartError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
