//! [`Redis`]: wake-ups by Redis, or by what speaks its protocol.

// What a server may announce.
mod bounded;

use std::{fmt, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError,
    aio::{MultiplexedConnection, PubSub},
};
use tidings_core::log::{LogError, Wake};
use tokio::{net::TcpStream, task::AbortHandle};

use self::bounded::Bounded;
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
    host: String,
    port: u16,
    /// As which user a connection logs in, and which database it selects.
    settings: RedisConnectionInfo,
}

/// A connection that publishes, and the task that drives it.
pub struct Publisher {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl RedisBroker {
    async fn connect(&self) -> Result<Bounded<TcpStream>, RedisError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Bounded::new(stream))
    }

    async fn publisher(&self) -> Result<Publisher, RedisError> {
        let (stream, config) = (self.connect().await?, AsyncConnectionConfig::default());
        let opened = MultiplexedConnection::new_with_config(&self.settings, stream, config);
        let (connection, driver) = opened.await?;
        Ok(Publisher {
            connection,
            driver: tokio::spawn(driver).abort_handle(),
        })
    }
}

impl Broker for RedisBroker {
    const NAME: &'static str = "Redis";
    type Kept = Option<Publisher>;
    /// A connection that listens.
    type Line = PubSub;

    fn read(address: &str) -> Result<Self, CarrierError> {
        let refused = |source| CarrierError::Address {
            expected: "redis://HOST:PORT",
            source,
        };
        if !address.starts_with("redis://") {
            return Err(refused(None));
        }
        let info = address.into_connection_info();
        let info = info.map_err(|error| refused(Some(Box::new(error))))?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => Ok(Self {
                host: host.clone(),
                port: *port,
                settings: info.redis_settings().clone(),
            }),
            _ => Err(refused(None)),
        }
    }

    async fn publish(
        link: &Link<Self>,
        kept: &mut Self::Kept,
        wake: &Wake,
    ) -> Result<(), LogError> {
        // Kept again only after an answer, so that a half-open connection is not used twice.
        let open = kept.take();
        let sent = async {
            let mut open = match open {
                Some(open) => open,
                None => link.broker.publisher().await?,
            };
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&link.subject).arg(link.own.payload(wake));
            publish.exec_async(&mut open.connection).await?;
            Ok::<_, RedisError>(open)
        };
        *kept = Some(link.in_time(sent).await?);
        Ok(())
    }

    async fn subscribe(link: &Link<Self>) -> Result<PubSub, LogError> {
        let subscribed = async {
            let stream = link.broker.connect().await?;
            let mut line = PubSub::new(&link.broker.settings, stream).await?;
            line.subscribe(&link.subject).await?;
            Ok::<_, RedisError>(line)
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
                Some(Some(message)) => {
                    if let Some(wake) = link.own.read(message.get_payload_bytes()) {
                        return Ok(wake);
                    }
                }
                Some(None) => return Err(lost(std::io::ErrorKind::ConnectionReset)),
                None => {
                    link.in_time(line.ping::<redis::Value>()).await?;
                }
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It would wait for the answers of a link that is half open.
        self.driver.abort();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisBroker").finish_non_exhaustive()
    }
}
