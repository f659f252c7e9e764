//! [`Settings`]: the settings of a bus after the check.

use std::sync::Arc;

use tidings_core::clock::Clock;
use tokio::runtime::Handle;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) mailbox_capacity: usize,
    pub(crate) max_payload: Option<usize>,
    pub(crate) max_depth: u32,
    pub(crate) shards: usize,
    pub(crate) runtime: Option<Handle>,
    pub(crate) clock: Arc<dyn Clock>,
}
