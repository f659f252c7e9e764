//! [`After`]: `X-Tidings-After`, by which a request asks for nothing older than a write.
//!
//! The request waits until this node has applied the write, or is refused when that takes too long.
//! A request without the header costs nothing extra: the proxy walks over the header names anyway.

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
/// side always finds a place. Clients without a key can wait too: the key is checked afterwards.
pub(crate) const MOST_WAITING: usize = 2_048;

/// Makes requests wait until the node has applied the write that they name.
#[derive(Debug)]
pub(crate) struct After {
    node: Node,
    timeout: Duration,
    /// The places of all workers.
    places: Arc<Semaphore>,
}

impl After {
    /// Makes the waits of a worker. `node` must be a handle that does not keep the node running.
    pub(crate) fn new(node: Node, timeout: Duration, places: Arc<Semaphore>) -> Self {
        Self {
            node,
            timeout,
            places,
        }
    }

    /// Waits until this node has applied the write that the request names, and removes the header,
    /// which is meant for this node alone.
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
        // Without a place the request is answered at once; it is served if the node has applied the
        // write already.
        let place = self.places.try_acquire();
        let timeout = match place {
            Ok(_) => self.timeout,
            Err(_) => Duration::ZERO,
        };

        // So that the connection's time limit does not cut off a wait that was asked for.
        connection.allow(timeout);

        // Boxed, so that the future of a request that does not wait is small.
        match Box::pin(self.node.at_least(&token, timeout)).await {
            Ok(()) => Ok(()),
            Err(NotReached::Invalid(_)) => Err(Refusal::UnknownPosition.answer()),
            Err(_) => Err(Refusal::NotCaughtUp.answer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http::{HeaderValue, StatusCode};
    use tidings::{
        CrudEvent, Store, Timestamp, Token,
        clock::ManualClock,
        events::{AsyncOptions, Received},
    };
    use tokio::sync::Notify;
    use uuid::Uuid;

    use super::*;
    use crate::{Consumer, Settings};

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Starts a node with a handler that does not end; also returns the position of the write that
    /// it handles.
    async fn behind() -> (Node, Token) {
        let store = Store::open("sqlite::memory:").await.expect("a store");
        let node = Node::builder()
            .store(store)
            .clock(Arc::new(ManualClock::new()))
            .entity::<Consumer>()
            .start()
            .await
            .expect("a node");
        let began = Arc::new(Notify::new());
        let begin = Arc::clone(&began);
        let handler = move |_: Received<CrudEvent<Consumer>>| {
            begin.notify_one();
            std::future::pending::<()>()
        };
        let bus = node.worker_events();
        let handler = bus.register_async(handler, "crud", "consumers", AsyncOptions::new());
        handler.expect("registered").keep();

        let consumers = node.dao::<Consumer>().expect("declared");
        let bob = Consumer {
            id: Uuid::nil(),
            username: Some("bob".to_owned()),
            custom_id: None,
            created_at: Timestamp::from_unix(0),
            updated_at: Timestamp::from_unix(0),
            tags: None,
        };
        drop(tokio::spawn(consumers.insert(bob)));
        began.notified().await;
        let (_, receipt) = node.with_receipt(async {}).await;
        let token = receipt.position().await.expect("a position");
        (node, token)
    }

    #[tokio::test]
    async fn a_request_waits_for_as_much_longer_as_it_may_and_without_a_place_not_at_all() {
        let (node, token) = behind().await;
        let limits = Settings::default().limits;
        for (places, allowed) in [(1, HOUR), (0, Duration::ZERO)] {
            let after = After::new(node.clone(), HOUR, Arc::new(Semaphore::new(places)));
            let connection = ConnectionState::new(Arc::default());
            let value = HeaderValue::from_str(token.as_str()).expect("a token fits");
            let mut headers = HeaderMap::from_iter([(AFTER, value)]);
            let answer = after.wait(&mut headers, &connection).now_or_never();
            let refused = answer.map(|it| it.expect_err("it is not reached").status());
            let expected = (places == 0).then_some(StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused, expected);
            let longest = connection.longest(&limits);
            assert_eq!(longest, limits.request_timeout + allowed);
        }
    }
}
