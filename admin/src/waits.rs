//! [`Waits`]: reports the waits that a request asks for to a server that limits the time of
//! requests.

use std::{fmt, sync::Arc, time::Duration};

/// Receives every wait that a request asks for, before the wait begins: for a confirmation, for a
/// position, or until the node has caught up.
///
/// A server that limits the time of requests puts one into the extensions of each request, and
/// extends the request's time by each wait. So a wait within its own limit ends with its answer.
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
    /// Makes a receiver of waits that calls a function with the maximum time of each wait.
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
