//! [`Plugin`]: a step that each request passes on the proxy side.
//!
//! A plugin lives on a worker. Each worker makes its own instance on its own thread, so nothing in
//! the plugin has to be shared, locked or `Send`. The plugin reaches what all workers share (the
//! cache, the rows, the bus) through the [`Worker`] of its instance.

// JSON strings; knows nothing else.
pub(crate) mod json;
// The body of an answer; knows no upstream.
mod body;
// Answers, and refusals among them.
pub(crate) mod response;
// Why the proxy side itself refuses a request.
mod refusal;
// A request as plugins see it.
mod request;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tidings::{BoxError, Worker};

pub(crate) use self::refusal::Refusal;
pub use self::{
    body::{BodyError, ProxyBody},
    request::ProxyRequest,
    response::{Response, refuse},
};

/// A step of the proxy side.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tidings::{BoxError, Worker};
/// use tidings_gateway::{Plugin, ProxyRequest, Response, refuse};
///
/// /// Lets requests pass that only read.
/// #[derive(Debug)]
/// struct ReadOnly;
///
/// impl Plugin for ReadOnly {
///     type Config = ();
///
///     fn init_worker(_config: &(), _worker: &Worker) -> Result<Self, BoxError> {
///         Ok(Self)
///     }
///
///     async fn access(&self, request: &mut ProxyRequest) -> Result<(), Response> {
///         if request.method().is_safe() {
///             Ok(())
///         } else {
///             Err(refuse(StatusCode::FORBIDDEN, "Read only"))
///         }
///     }
/// }
/// ```
pub trait Plugin: fmt::Debug + Sized + 'static {
    /// The configuration that all workers share.
    type Config: Send + Sync + 'static;

    /// Makes a worker's instance, on that worker's thread, before the worker accepts connections.
    /// Register handlers here.
    ///
    /// # Errors
    ///
    /// Any error that keeps the plugin from working. The gateway then does not start.
    fn init_worker(config: &Self::Config, worker: &Worker) -> Result<Self, BoxError>;

    /// Returns whether requests pass this plugin at the moment. The gateway asks for each request.
    fn is_active(&self) -> bool {
        true
    }

    /// Handles a request before it is forwarded. It may change the request's headers, or refuse the
    /// request with an answer.
    ///
    /// The future is dropped if the connection ends.
    fn access(&self, request: &mut ProxyRequest) -> impl Future<Output = Result<(), Response>>;
}

/// The future of a plugin whose type is erased.
pub(crate) type Access<'a> = Pin<Box<dyn Future<Output = Result<(), Response>> + 'a>>;

/// A plugin behind a pointer, so that a worker can hold a list of them. Costs one allocation per
/// request.
pub(crate) trait DynPlugin: fmt::Debug {
    fn is_active(&self) -> bool {
        true
    }

    fn access<'a>(&'a self, request: &'a mut ProxyRequest) -> Access<'a>;
}

impl<P: Plugin> DynPlugin for P {
    fn is_active(&self) -> bool {
        Plugin::is_active(self)
    }

    fn access<'a>(&'a self, request: &'a mut ProxyRequest) -> Access<'a> {
        Box::pin(Plugin::access(self, request))
    }
}

/// The plugins of a gateway in the order in which requests pass them, not made yet.
#[derive(Clone, Default)]
pub(crate) struct Plugins {
    make: Vec<Arc<Make>>,
}

type Make = dyn Fn(&Worker) -> Result<Box<dyn DynPlugin>, BoxError> + Send + Sync;

impl Plugins {
    pub(crate) fn add<P: Plugin>(&mut self, config: P::Config) {
        self.make.push(Arc::new(move |worker| {
            Ok(Box::new(P::init_worker(&config, worker)?))
        }));
    }

    /// Makes a worker's instances.
    pub(crate) fn init_worker(&self, worker: &Worker) -> Result<Vec<Box<dyn DynPlugin>>, BoxError> {
        self.make.iter().map(|make| make(worker)).collect()
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins")
            .field("count", &self.make.len())
            .finish()
    }
}
