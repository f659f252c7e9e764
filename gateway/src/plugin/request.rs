//! [`ProxyRequest`]: what plugins see of a request.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Uri, request::Parts};

use crate::entities::Consumer;

/// A request on its way through the plugins: its head, who sent it, and who they turned out to be.
#[derive(Debug)]
pub struct ProxyRequest {
    head: Parts,
    /// What the client said under names that only the gateway may use; boxed, since few do.
    claims: Option<Box<HeaderMap>>,
    peer: IpAddr,
    consumer: Option<Arc<Consumer>>,
}

impl ProxyRequest {
    pub(crate) fn new(head: Parts, peer: IpAddr) -> Self {
        Self {
            head,
            claims: None,
            peer,
            consumer: None,
        }
    }

    /// Keeps what was dropped from the headers, for a plugin that is told to look there.
    pub(crate) fn keep_claims(&mut self, claims: HeaderMap) {
        self.claims = Some(Box::new(claims));
    }

    /// Returns the head, and what the client said under the gateway's own names.
    pub(crate) fn said(&mut self) -> (&mut Parts, Option<&HeaderMap>) {
        (&mut self.head, self.claims.as_deref())
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// Returns the target as the client wrote it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the headers, to be changed before the request is passed on.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.head.headers
    }

    /// Returns the address that the request came from.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Returns the consumer that an authentication plugin has found the client to be.
    #[must_use]
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.consumer.as_ref()
    }

    /// Notes whom the client was found to be, for the plugins that follow.
    pub fn set_consumer(&mut self, consumer: Arc<Consumer>) {
        self.consumer = Some(consumer);
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.head
    }

    pub(crate) fn head_mut(&mut self) -> &mut Parts {
        &mut self.head
    }

    pub(crate) fn into_head(self) -> Parts {
        self.head
    }
}
