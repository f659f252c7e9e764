//! [`Shared`]: what the handles of one store share.

use std::sync::{Arc, OnceLock};

use crate::{engine::Engine, write::attached::Attached};

/// What the handles of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) attached: OnceLock<Arc<Attached>>,
    /// One attachment at a time.
    pub(crate) attaching: tokio::sync::Mutex<()>,
}
