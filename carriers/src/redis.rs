//! [`Redis`]: wake-ups by Redis, or by what speaks its protocol.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use redis::{
    Client,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tidings_core::{
    clock::{Clock, SystemClock},
    log::{LogError, LogFuture, Wake, WakeCarrier, WakeUps},
};

use crate::{
    error::CarrierError,
    sender::{Publish, Sender, in_time, lost},
    wire::{WakeUp, subject},
};

/// How long a listener hears nothing before it asks whether its link is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Wakes nodes by a Redis server.
///
/// Two connections are opened at the first use, one that listens and one that publishes, and again
/// after an error.
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
pub struct Redis {
    link: Arc<Link>,
    sender: Sender,
    wake_up: WakeUp,
}

struct Link {
    client: Client,
    channel: String,
    clock: Arc<dyn Clock>,
}

impl Redis {
    /// Makes a carrier for a server and the name of a cluster. The address is `redis://host:port`,
    /// with a user and a password before the host if the server asks for them.
    ///
    /// # Errors
    ///
    /// See [`CarrierError`]. The server is not asked, so it may be down: the carrier waits for it.
    pub fn new(address: &str, cluster: &str) -> Result<Self, CarrierError> {
        Self::with_clock(address, cluster, Arc::new(SystemClock::new()))
    }

    /// Checks an address and a cluster's name as [`new`](Self::new) does, without a runtime.
    ///
    /// # Errors
    ///
    /// See [`CarrierError`].
    pub fn check(address: &str, cluster: &str) -> Result<(), CarrierError> {
        read(address)?;
        subject(cluster)?;
        Ok(())
    }

    /// Makes a carrier with a source of time, for tests that drive it by hand.
    ///
    /// # Errors
    ///
    /// See [`CarrierError`].
    pub fn with_clock(
        address: &str,
        cluster: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CarrierError> {
        let link = Arc::new(Link {
            client: read(address)?,
            channel: subject(cluster)?,
            clock: Arc::clone(&clock),
        });
        let wake_up = WakeUp::of_a_new_sender();
        let publisher = Publisher {
            link: Arc::clone(&link),
            wake_up: wake_up.clone(),
            connection: None,
        };
        Ok(Self {
            link,
            sender: Sender::start(publisher, &clock)?,
            wake_up,
        })
    }
}

fn read(address: &str) -> Result<Client, CarrierError> {
    let expected = "redis://HOST:PORT";
    if !address.starts_with("redis://") {
        let source = None;
        return Err(CarrierError::Address { expected, source });
    }
    Client::open(address).map_err(|error| CarrierError::Address {
        expected,
        source: Some(Box::new(error)),
    })
}

impl WakeCarrier for Redis {
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move {
            let subscribed = async {
                let pubsub = self.link.client.get_async_pubsub().await?;
                let (mut sink, stream) = pubsub.split();
                sink.subscribe(&self.link.channel).await?;
                Ok::<_, redis::RedisError>((sink, stream))
            };
            let (sink, stream) = in_time(&self.link.clock, subscribed).await?;
            Ok(Box::new(Listener {
                sink,
                stream,
                clock: Arc::clone(&self.link.clock),
                own: self.wake_up.clone(),
            }) as Box<dyn WakeUps>)
        })
    }

    fn wake(&self) {
        self.sender.wake();
    }
}

struct Listener {
    sink: PubSubSink,
    stream: PubSubStream,
    clock: Arc<dyn Clock>,
    own: WakeUp,
}

impl Listener {
    async fn heard(&mut self) -> Result<Wake, LogError> {
        loop {
            let next = select(self.stream.next(), self.clock.sleep(KEEPALIVE));
            match next.await {
                Either::Left((Some(message), _)) if self.own.is(message.get_payload_bytes()) => {}
                Either::Left((Some(_), _)) => return Ok(Wake::Look),
                Either::Left((None, _)) => return Err(lost(std::io::ErrorKind::ConnectionReset)),
                Either::Right(((), _)) => {
                    in_time(&self.clock, self.sink.ping::<redis::Value>()).await?;
                }
            }
        }
    }
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(self.heard())
    }
}

struct Publisher {
    link: Arc<Link>,
    wake_up: WakeUp,
    connection: Option<MultiplexedConnection>,
}

impl Publish for Publisher {
    async fn publish(&mut self) -> Result<(), LogError> {
        let Self {
            link,
            wake_up,
            connection,
        } = self;
        // Kept again only after an answer, so that a half-open connection is not used twice.
        let open = connection.take();
        let sent = async {
            let mut open = match open {
                Some(open) => open,
                None => link.client.get_multiplexed_async_connection().await?,
            };
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&link.channel).arg(wake_up.payload());
            publish.exec_async(&mut open).await?;
            Ok::<_, redis::RedisError>(open)
        };
        *connection = Some(in_time(&link.clock, sent).await?);
        Ok(())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("Redis")
            .field("channel", &self.link.channel)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
