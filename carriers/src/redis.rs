//! [`Redis`]: wake-ups by Redis, or by what speaks its protocol.

use std::{fmt, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use redis::{
    Client,
    aio::{MultiplexedConnection, PubSub},
};
use tidings_core::log::{LogError, Wake};

use crate::{
    broker::{Broker, Link, lost},
    carrier::Carrier,
    error::CarrierError,
};

/// How long a listener hears nothing before it asks whether its link is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Wakes nodes by a Redis server.
///
/// The address is `redis://host:port`, with a user and a password before the host if the server
/// asks for them. Two connections are opened at the first use, one that listens and one that
/// publishes, and again after an error.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_carriers::CarrierError> {
/// use tidings_carriers::Redis;
///
/// // For `Node::builder().wake_by(..)`; nothing is asked of the server yet.
/// let carrier = Redis::new("redis://127.0.0.1:6379", "shop")?;
/// # drop(carrier);
/// # Ok(()) }
/// ```
pub type Redis = Carrier<RedisBroker>;

/// A Redis server.
pub struct RedisBroker {
    client: Client,
}

impl Broker for RedisBroker {
    const NAME: &'static str = "Redis";
    /// A connection that publishes.
    type Kept = Option<MultiplexedConnection>;
    /// A connection that listens.
    type Line = PubSub;

    fn read(address: &str) -> Result<Self, CarrierError> {
        let expected = "redis://HOST:PORT";
        if !address.starts_with("redis://") {
            let source = None;
            return Err(CarrierError::Address { expected, source });
        }
        let client = Client::open(address).map_err(|error| CarrierError::Address {
            expected,
            source: Some(Box::new(error)),
        })?;
        Ok(Self { client })
    }

    async fn publish(link: &Link<Self>, kept: &mut Self::Kept) -> Result<(), LogError> {
        // Kept again only after an answer, so that a half-open connection is not used twice.
        let open = kept.take();
        let sent = async {
            let mut open = match open {
                Some(open) => open,
                None => {
                    link.broker
                        .client
                        .get_multiplexed_async_connection()
                        .await?
                }
            };
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&link.subject).arg(link.own.payload());
            publish.exec_async(&mut open).await?;
            Ok::<_, redis::RedisError>(open)
        };
        *kept = Some(link.in_time(sent).await?);
        Ok(())
    }

    async fn subscribe(link: &Link<Self>) -> Result<PubSub, LogError> {
        let subscribed = async {
            let mut line = link.broker.client.get_async_pubsub().await?;
            line.subscribe(&link.subject).await?;
            Ok::<_, redis::RedisError>(line)
        };
        link.in_time(subscribed).await
    }

    async fn heard(link: &Link<Self>, line: &mut PubSub) -> Result<Wake, LogError> {
        loop {
            let heard = {
                let mut messages = line.on_message();
                match select(messages.next(), link.clock.sleep(KEEPALIVE)).await {
                    Either::Left((message, _)) => Some(message),
                    Either::Right(((), _)) => None,
                }
            };

            match heard {
                Some(Some(message)) if link.own.is(message.get_payload_bytes()) => {}
                Some(Some(_)) => return Ok(Wake::Look),
                Some(None) => return Err(lost(std::io::ErrorKind::ConnectionReset)),
                None => {
                    link.in_time(line.ping::<redis::Value>()).await?;
                }
            }
        }
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisBroker").finish_non_exhaustive()
    }
}
