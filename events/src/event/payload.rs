//! [`Event`]: what a channel can carry.

use serde::Serialize;

/// What a channel can carry: anything that serializes, so that wildcard handlers can see it as JSON, and may
/// be read by several threads at once.
pub trait Event: Serialize + Send + Sync + 'static {}

impl<T: Serialize + Send + Sync + 'static> Event for T {}
