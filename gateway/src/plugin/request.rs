//! [`ProxyRequest`]: a request in the form that plugins see.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Uri, request::Parts};

use crate::entities::Consumer;

/// A request on its way through the plugins: its head, its sender's address, and the consumer once
/// a plugin has found it.
#[derive(Debug)]
pub struct ProxyRequest {
    head: Parts,
    /// The headers that the client sent under names reserved for the gateway; boxed, since few
    /// requests have any.
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

    /// Keeps the headers that were dropped, for a plugin that is configured to look there.
    pub(crate) fn keep_claims(&mut self, claims: HeaderMap) {
        self.claims = Some(Box::new(claims));
    }

    /// Returns the head, and the headers that the client sent under reserved names.
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

    /// Returns the headers for changes before the request is forwarded.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.head.headers
    }

    /// Returns the address of the client.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Returns the consumer, if an authentication plugin has identified the client.
    #[must_use]
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.consumer.as_ref()
    }

    /// Sets the consumer, for the plugins that follow.
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
