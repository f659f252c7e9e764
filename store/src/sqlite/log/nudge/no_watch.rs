//! [`Watch`]: this system has no inotify.

use std::{convert::Infallible, io, path::Path};

/// Cannot be made.
#[derive(Debug)]
pub(super) struct Watch(Infallible);

impl Watch {
    /// Refuses.
    pub(super) fn on(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) async fn told(&mut self) -> Option<()> {
        match self.0 {}
    }
}
