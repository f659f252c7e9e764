//! [`Settings`]: what a log is opened with.

use std::sync::Arc;

use tidings_core::{Schema, clock::Clock};

use super::pen::Pen;
use crate::sqlite::location::{Identity, Location};

/// What a log is opened with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) location: Location,
    /// The file that was opened under that name.
    pub(crate) identity: Option<Identity>,
    pub(crate) pen: Pen,
    /// The entities whose changes are read, and whose tables must be captured.
    pub(crate) schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by the outbox alone.
    pub(crate) recorded: Vec<&'static Schema>,
    pub(crate) clock: Arc<dyn Clock>,
}
