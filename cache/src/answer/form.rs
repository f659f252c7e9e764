//! The form in which a worker holds a value: its own clone, or what an L1 serializer makes of it.

use std::sync::Arc;

use crate::error::BoxError;

/// Makes what L1 holds (`W`) of what L2 holds (`V`).
pub(crate) trait Form<V, W>: Send + Sync {
    /// For a thread with an L1: a value that shares nothing with other threads.
    fn own(&self, shared: &V) -> Result<Arc<W>, BoxError>;

    /// For a thread without.
    fn shared(&self, shared: Arc<V>) -> Result<Arc<W>, BoxError>;
}

/// The value as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own;

impl<V: Clone> Form<V, V> for Own {
    /// A clone, so that no reference count is shared with other cores.
    fn own(&self, shared: &V) -> Result<Arc<V>, BoxError> {
        Ok(Arc::new(shared.clone()))
    }

    fn shared(&self, shared: Arc<V>) -> Result<Arc<V>, BoxError> {
        Ok(shared)
    }
}

/// What an L1 serializer makes.
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
