//! Values as the cache holds them: shared, of any type, and still able to name their type and to
//! show themselves as JSON.

use std::any::Any;

use serde::Serialize;
use tidings_core::CacheKey;

use crate::{error::GetError, level2::size::size_of_value, sync::Arc};

/// A type that can be cached. Every `Clone + Serialize + Send + Sync + 'static` type is one: serde
/// measures its bytes and shows it as JSON.
///
/// A value is cloned once for each worker's L1. A field that serde skips weighs nothing, and nor
/// does the spare capacity of a `Vec` or `String`.
///
/// # Values that do not serialize
///
/// A type of your own without `Serialize` returns its own weight:
///
/// ```
/// use tidings_cache::{Cache, CacheKey, Cacheable, GetOptions};
///
/// #[derive(Clone)]
/// struct Pattern {
///     program: Vec<u8>,
/// }
///
/// impl Cacheable for Pattern {
///     fn weight(&self) -> Option<u64> {
///         Some((size_of::<Self>() + self.program.capacity()) as u64)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let pattern = Pattern { program: vec![0; 1_000] };
/// cache.set(&CacheKey::new("patterns", &["a"]), Some(pattern), GetOptions::default())?;
/// # Ok(()) }
/// ```
pub trait Cacheable: Clone + Send + Sync + 'static {
    /// Returns the bytes that the value takes. `None` if that is not known; the cache does not keep
    /// such a value.
    ///
    /// Called once, before the value enters the cache, with no lock held.
    fn weight(&self) -> Option<u64>;

    /// Returns the value for people to read ([`Cache::probe_json`](crate::Cache::probe_json));
    /// `None` if it has no JSON.
    fn json(&self) -> Option<serde_json::Value> {
        None
    }
}

impl<V: Clone + Serialize + Send + Sync + 'static> Cacheable for V {
    fn weight(&self) -> Option<u64> {
        size_of_value(self).ok()
    }

    fn json(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self).ok()
    }
}

/// A value whose type was erased.
pub(crate) trait Stored: Any + Send + Sync {
    fn type_name(&self) -> &'static str;
    fn to_json(&self) -> Option<serde_json::Value>;
}

impl<V: Cacheable> Stored for V {
    fn type_name(&self) -> &'static str {
        std::any::type_name::<V>()
    }

    fn to_json(&self) -> Option<serde_json::Value> {
        self.json()
    }
}

/// Restores the type of a stored value.
pub(crate) fn typed<V: Cacheable>(
    value: Arc<dyn Stored>,
    key: &CacheKey,
) -> Result<Arc<V>, GetError> {
    let cached = (*value).type_name();
    let any: Arc<dyn Any + Send + Sync> = value;
    any.downcast()
        .map_err(|_| GetError::wrong_type(key, cached, std::any::type_name::<V>()))
}
