//! [`Watch`] for systems without inotify.

use std::{convert::Infallible, io, path::Path};

/// Never exists.
#[derive(Debug)]
pub(super) struct Watch(Infallible);

impl Watch {
    /// Returns an error.
    pub(super) fn on(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) async fn changed(&mut self) -> Option<()> {
        match self.0 {}
    }
}
