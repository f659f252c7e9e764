//! [`Tag`]: the name of a group of entries that are invalidated together.

use crate::sync::Arc;

/// The name of a group of entries that are invalidated together.
pub type Tag = Arc<str>;
