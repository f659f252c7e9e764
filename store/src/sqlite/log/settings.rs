//! [`Settings`]: the settings with which a log is opened.

use std::sync::Arc;

use tidings_core::{Schema, clock::Clock};

use super::writer::LogWriter;
use crate::sqlite::location::{Identity, Location};

/// The settings with which a log is opened.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) location: Location,
    /// The file that was opened there.
    pub(crate) identity: Option<Identity>,
    pub(crate) writer: LogWriter,
    /// The entities whose changes are read, and whose tables must be captured.
    pub(crate) schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by the outbox alone.
    pub(crate) recorded: Vec<&'static Schema>,
    pub(crate) clock: Arc<dyn Clock>,
}
