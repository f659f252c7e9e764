//! The form in which a worker holds a value: its own clone, or what an L1 serializer makes of it.

use std::sync::Arc;

use tidings_core::CacheKey;

use crate::{
    error::BoxError,
    fence::number::{Moment, Number},
};

/// A value in a worker's form, with the other fields of its entry.
pub(crate) struct Formed<'a, W> {
    pub(crate) value: Option<&'a Arc<W>>,
    /// The sequence before L2 was read.
    pub(crate) number: Number,
    pub(crate) expires: Moment,
    /// What the value weighs in L2.
    pub(crate) weight: u32,
}

/// The table in which a thread keeps a value in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptIn {
    /// The thread's table of the cache, by the key's text.
    Level1,
    /// A table of the form, which has kept it already.
    Form,
}

/// Makes the value of L1 (`W`) from the value of L2 (`V`).
pub(crate) trait Form<V, W>: Send + Sync {
    /// Makes the value for a thread with an L1. It shares nothing with other threads.
    fn own(&self, shared: &V) -> Result<Arc<W>, BoxError>;

    /// Keeps a value for this thread, if the form has a table of its own.
    fn keep(&self, _key: &CacheKey, _formed: Formed<'_, W>) -> KeptIn {
        KeptIn::Level1
    }

    /// Makes the value for a thread without an L1.
    fn shared(&self, shared: Arc<V>) -> Result<Arc<W>, BoxError>;
}

/// The value itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own;

impl<V: Clone> Form<V, V> for Own {
    /// Clones the value, so that no reference count is shared with other cores.
    fn own(&self, shared: &V) -> Result<Arc<V>, BoxError> {
        Ok(Arc::new(shared.clone()))
    }

    fn shared(&self, shared: Arc<V>) -> Result<Arc<V>, BoxError> {
        Ok(shared)
    }
}

/// The result of an L1 serializer.
pub(crate) struct Decoded<D>(pub(crate) D);

impl<V, W, D> Form<V, W> for Decoded<D>
where
    D: Fn(&V) -> Result<W, BoxError> + Send + Sync,
{
    fn own(&self, shared: &V) -> Result<Arc<W>, BoxError> {
        (self.0)(shared).map(Arc::new)
    }

    fn shared(&self, shared: Arc<V>) -> Result<Arc<W>, BoxError> {
        self.own(&shared)
    }
}
