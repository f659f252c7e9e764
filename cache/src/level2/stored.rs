//! Values as the cache holds them: shared, of any type, and still able to tell their type and their JSON.

use std::any::Any;

use serde::Serialize;
use tidings_core::CacheKey;

use crate::{error::GetError, sync::Arc};

/// What can be cached: `Clone + Serialize + Send + Sync + 'static`.
///
/// Cloned once for each worker's L1. Serialized to count its bytes when it is filled, and to JSON for
/// [`Cache::probe_json`](crate::Cache::probe_json); so a field that serde skips counts nothing.
pub trait Cacheable: Clone + Serialize + Send + Sync + 'static {}

impl<V: Clone + Serialize + Send + Sync + 'static> Cacheable for V {}

/// A value whose type was erased.
pub(crate) trait Stored: Any + Send + Sync {
    fn type_name(&self) -> &'static str;
    fn json(&self) -> Result<serde_json::Value, serde_json::Error>;
}

impl<V: Cacheable> Stored for V {
    fn type_name(&self) -> &'static str {
        std::any::type_name::<V>()
    }

    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Gives a stored value its type back.
pub(crate) fn typed<V: Cacheable>(
    value: Arc<dyn Stored>,
    key: &CacheKey,
) -> Result<Arc<V>, GetError> {
    let cached = (*value).type_name();
    let any: Arc<dyn Any + Send + Sync> = value;
    any.downcast()
        .map_err(|_| GetError::wrong_type(key, cached, std::any::type_name::<V>()))
}
