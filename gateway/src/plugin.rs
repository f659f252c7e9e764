//! plugins
use crate::{ProxyRequest, Response};
use std::{fmt, future::Future, pin::Pin};

/// A plugin behind a pointer, so that a worker can hold a list of them. Costs one allocation per request.
pub(crate) trait DynPlugin: fmt::Debug {
    fn access<'a>(
        &'a self,
        request: &'a mut ProxyRequest,
    ) -> Pin<Box<dyn Future<Output = Result<(), Response>> + 'a>>;
}
