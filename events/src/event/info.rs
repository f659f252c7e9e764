//! [`ChannelInfo`]: what every event knows of its channel.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

// Not the one of `crate::sync`: a static outlives a model's run.
use parking_lot::Mutex;

use crate::event::{name::CRUD, payload::Form};

/// The channel of an event.
#[derive(Debug)]
pub(crate) struct ChannelInfo {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    /// Its number among all channels of the process: the trail of an event may lead through another
    /// bus.
    pub(crate) id: u32,
    /// Whether it carries changes of rows: the source of those is theirs alone.
    pub(crate) crud: bool,
    pub(crate) type_name: &'static str,
    pub(crate) form: Form,
}

/// A channel's source and event.
type ChannelName = (Arc<str>, Arc<str>);

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// The names of all channels of the process that are still there, for messages.
static NAMES: LazyLock<Mutex<HashMap<u32, ChannelName>>> = LazyLock::new(Mutex::default);

impl ChannelInfo {
    /// Describes a new channel; `None` once the numbers are used up.
    pub(crate) fn new(
        source: &str,
        event: &str,
        type_name: &'static str,
        form: Form,
    ) -> Option<Self> {
        let next = |id: u32| id.checked_add(1);
        let id = NEXT_ID.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let info = Self {
            source: source.into(),
            event: event.into(),
            id: id.ok()?,
            crud: source == CRUD,
            type_name,
            form,
        };

        let name = (Arc::clone(&info.source), Arc::clone(&info.event));
        NAMES.lock().insert(info.id, name);
        Some(info)
    }
}

impl Drop for ChannelInfo {
    fn drop(&mut self) {
        NAMES.lock().remove(&self.id);
    }
}

/// Returns the source and event of a channel; question marks for one that is gone.
pub(crate) fn name_of(channel: u32) -> ChannelName {
    let known = NAMES.lock().get(&channel).cloned();
    known.unwrap_or_else(|| ("?".into(), "?".into()))
}
