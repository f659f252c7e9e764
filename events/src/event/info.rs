//! [`ChannelInfo`]: what every event knows of its channel.

use std::sync::Arc;

/// The channel that an event came by.
#[derive(Debug)]
pub(crate) struct ChannelInfo {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    /// The place in the bus's list of channels.
    pub(crate) index: u32,
    /// Whether it carries changes of rows.
    pub(crate) crud: bool,
    pub(crate) type_name: &'static str,
}
