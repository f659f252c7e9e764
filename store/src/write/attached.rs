//! [`Attached`]: the state of an attached store.

use std::{fmt, sync::Arc};

use tidings_core::clock::Clock;
use tokio::runtime::Handle;

use crate::{
    meter::Meter,
    sink::ChangeSink,
    write::{catalog::Catalog, sequence::Sequence},
};

/// The state of an attached store.
pub(crate) struct Attached {
    pub(crate) catalog: Catalog,
    /// The order in which commits are announced.
    pub(crate) sequence: Arc<Sequence>,
    pub(crate) sink: Arc<dyn ChangeSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Handle,
    pub(crate) meter: Meter,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("entities", &self.catalog.names())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
