//! [`Shared`]: the state that the handles of one store share.

use std::sync::{Arc, OnceLock};

use crate::{engine::Engine, write::attached::Attached};

/// The state that the handles of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) attached: OnceLock<Arc<Attached>>,
    /// Held by an attachment, so that there is one at a time.
    pub(crate) attaching: tokio::sync::Mutex<()>,
}
