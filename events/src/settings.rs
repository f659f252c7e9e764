//! [`Settings`]: the settings of a bus after the check.

use std::sync::Arc;

use tidings_core::{clock::Clock, spawn::Spawn};

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) mailbox_capacity: usize,
    pub(crate) max_payload: Option<usize>,
    pub(crate) max_depth: u32,
    pub(crate) shards: usize,
    /// Runs async handlers; none for the runtime in which each is registered.
    pub(crate) executor: Option<Arc<dyn Spawn>>,
    pub(crate) clock: Arc<dyn Clock>,
}
