//! [`After`]: `X-Tidings-After`, by which a request asks for nothing older than a write.
//!
//! The request waits until this node has applied the write, or is refused when that takes too
//! long. A request without the header pays nothing: its names are gone through once for more than
//! this.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};
use tidings::{Node, NotReached};
use tokio::sync::Semaphore;

use crate::{
    plugin::{Refusal, Response},
    server::ConnectionState,
};

const AFTER: HeaderName = HeaderName::from_static("x-tidings-after");

/// How many requests of clients may wait at a time: half of what the node allows, so that the admin
/// side always finds a place. No key is asked for before the wait.
pub(crate) const MOST_WAITING: usize = 2_048;

/// Holds up requests that ask for more than the node has applied.
#[derive(Debug)]
pub(crate) struct After {
    node: Node,
    timeout: Duration,
    /// The places of all workers.
    places: Arc<Semaphore>,
}

impl After {
    /// Makes one for a worker, whose handle of the node does not keep that running.
    pub(crate) fn new(node: Node, timeout: Duration, places: Arc<Semaphore>) -> Self {
        Self {
            node,
            timeout,
            places,
        }
    }

    /// Waits until nothing older is served than the request asks for, and takes the header out: it
    /// is meant for this node.
    pub(crate) async fn wait(
        &self,
        headers: &mut HeaderMap,
        connection: &ConnectionState,
    ) -> Result<(), Response> {
        if !headers.contains_key(AFTER) {
            return Ok(());
        }
        let mut values = headers.get_all(AFTER).iter();
        let (first, second) = (values.next(), values.next());
        let text = first.filter(|_| second.is_none());
        let token = text.and_then(|text| text.to_str().ok()?.parse().ok());
        headers.remove(AFTER);

        let token = token.ok_or_else(|| Refusal::UnknownPosition.answer())?;
        // Without a place: what is there already is answered.
        let place = self.places.try_acquire();
        let timeout = match place {
            Ok(_) => self.timeout,
            Err(_) => Duration::ZERO,
        };
        // A wait that was asked for is to end with its answer.
        connection.allow(timeout);
        // Boxed, so that the future of a request that does not wait is small.
        match Box::pin(self.node.at_least(&token, timeout)).await {
            Ok(()) => Ok(()),
            Err(NotReached::Invalid(_)) => Err(Refusal::UnknownPosition.answer()),
            Err(_) => Err(Refusal::NotCaughtUp.answer()),
        }
    }
}
