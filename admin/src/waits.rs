//! [`Waits`]: what a request asks to wait for, told to a server that limits how long one may take.

use std::{fmt, sync::Arc, time::Duration};

/// Hears of every wait that a request asks for, before it begins: for its confirmation, for a
/// position, until the node has caught up.
///
/// A server that ends requests after some time puts one into the extensions of each, and gives the
/// request that much longer: a wait that was asked for, and is within its own limit, is to end with
/// its answer.
///
/// # Examples
///
/// ```
/// use tidings_admin::Waits;
///
/// let mut request = http::Request::get("/consumers").body(())?;
/// let allow = |wait| println!("{wait:?} longer");
/// request.extensions_mut().insert(Waits::new(allow));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct Waits(Arc<dyn Fn(Duration) + Send + Sync>);

impl Waits {
    /// Makes one that calls a function with the longest time that each wait may take.
    #[must_use]
    pub fn new(told: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn tell(&self, wait: Duration) {
        (self.0)(wait);
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waits").finish_non_exhaustive()
    }
}
