//! [`Redis`]: wake-ups over Redis, or a server with the same protocol.

// How far a connection may read ahead. Must not know what it reads.
mod reading;

// The maximum size of an answer.
mod bounded;

use std::{fmt, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select, try_join},
};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, Msg, RedisConnectionInfo,
    RedisError,
    aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream},
};
use tidings_core::log::{LogError, Wake};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, coop::has_budget_remaining},
};

use self::{
    bounded::{Bounded, Listener},
    reading::Reading,
};
use crate::{
    broker::{Broker, Link},
    carrier::Carrier,
    error::CarrierError,
};

/// How long a listener receives nothing before it checks its link.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Wakes nodes over a Redis server.
///
/// The address is `redis://host:port`, with a user and a password before the host if the server
/// asks for them. Two connections are opened at the first use, and again after an error: one
/// listens and one publishes. A third one briefly tests whether the first one receives.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_carriers::CarrierError> {
/// use tidings_carriers::Redis;
///
/// // For `Node::builder().wake_by(..)`; it does not connect yet.
/// let carrier = Redis::new("redis://127.0.0.1:6379", "shop")?;
/// # drop(carrier);
/// # Ok(()) }
/// ```
pub type Redis = Carrier<RedisBroker>;

/// A Redis server.
pub struct RedisBroker {
    host: String,
    port: u16,
    /// The user and the database of a connection.
    settings: RedisConnectionInfo,
}

/// A connection that publishes, and the task that drives it.
pub struct Publisher {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

/// A connection that listens.
pub struct Line {
    asks: PubSubSink,
    messages: Messages,
}

/// The messages that have arrived over it.
struct Messages {
    stream: PubSubStream,
    reading: Arc<Reading>,
}

impl RedisBroker {
    async fn connect(&self, listener: Listener) -> Result<Bounded<TcpStream>, RedisError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Bounded::new(stream, listener))
    }

    async fn publisher(&self) -> Result<Publisher, RedisError> {
        let stream = self.connect(Listener::Absent).await?;
        let config = AsyncConnectionConfig::default();
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
    type Line = Line;

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
        // Kept only after an answer, so that a half-open connection is not used twice.
        let open = kept.take();
        let sent = async {
            let mut open = match open {
                Some(open) => open,
                None => link.broker.publisher().await?,
            };
            open.publish(link, link.own.payload(wake)).await?;
            Ok::<_, RedisError>(open)
        };
        *kept = Some(link.in_time(sent).await?);

        Ok(())
    }

    async fn subscribe(link: &Link<Self>) -> Result<Line, LogError> {
        let mut reading = None;
        let subscribed = async {
            let stream = link.broker.connect(Listener::Present).await?;
            let reading = Arc::clone(reading.insert(stream.reading()));
            let line = PubSub::new(&link.broker.settings, stream).await?;
            let (mut asks, stream) = line.split();
            asks.subscribe(&link.subject).await?;
            let messages = Messages { stream, reading };
            Ok::<_, RedisError>(Line { asks, messages })
        };
        let subscribed = link.in_time(subscribed).await;
        let mut line = subscribed.map_err(|error| match &reading {
            Some(reading) if reading.is_refused() => reading.why_it_ended(),
            Some(_) | None => error,
        })?;

        let published = async {
            let mut publisher = link.broker.publisher().await?;
            publisher.publish(link, link.own.probe()).await
        };
        let published = link.in_time(published);
        let heard = async {
            while !link
                .own
                .is_own(line.messages.next().await?.get_payload_bytes())
            {}
            Ok(())
        };
        link.comes_back(try_join(published, heard)).await?;

        Ok(line)
    }

    async fn heard(link: &Link<Self>, line: &mut Line) -> Result<Wake, LogError> {
        loop {
            let message = {
                let next = pin!(line.messages.next());
                match select(next, link.clock.sleep(KEEPALIVE)).await {
                    Either::Left((message, _)) => message?,
                    // Messages before the answer are taken, or a flood of them would stop the
                    // reading before the answer is read. They also prove that the link is alive.
                    Either::Right(((), next)) => {
                        let asked = pin!(link.in_time(line.asks.ping::<redis::Value>()));
                        match select(next, asked).await {
                            Either::Left((message, _)) => message?,
                            Either::Right((answer, _)) => {
                                answer?;
                                continue;
                            }
                        }
                    }
                }
            };
            if let Some(wake) = link.own.read(message.get_payload_bytes()) {
                return Ok(wake);
            }
        }
    }
}

impl Publisher {
    async fn publish(
        &mut self,
        link: &Link<RedisBroker>,
        payload: String,
    ) -> Result<(), RedisError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&link.subject).arg(payload);
        publish.exec_async(&mut self.connection).await
    }
}

impl Messages {
    /// Waits for a message. An error means that the connection has ended.
    async fn next(&mut self) -> Result<Msg, LogError> {
        let next = poll_fn(|cx| {
            let so_far = self.reading.so_far();
            let polled = self.stream.poll_next_unpin(cx);
            // A task that has used up its budget gets nothing, even if there are messages.
            if polled.is_pending() && has_budget_remaining() {
                self.reading.took(so_far);
            }
            polled
        });
        next.await.ok_or_else(|| self.reading.why_it_ended())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It would wait for the answers of a half-open link.
        self.driver.abort();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("reading", &self.messages.reading)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisBroker").finish_non_exhaustive()
    }
}
