//! [`Nats`]: wake-ups by NATS.

use std::{fmt, time::Duration};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber, connection::State};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use tidings_core::log::{LogError, Wake};
use tokio::sync::{OnceCell, watch};

use crate::{
    broker::{Broker, Link, lost},
    carrier::Carrier,
    error::CarrierError,
};

/// How often the server is asked for a sign of life.
const PING: Duration = Duration::from_secs(15);

/// Wakes nodes by a NATS server or cluster.
///
/// The address is `nats://host:port` or `tls://host:port`, with a user and a password before the
/// host if the server asks for them. One connection is opened at the first use and again whenever
/// it is lost, with growing pauses up to some seconds; nodes are told to read the log whenever it
/// is back.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_carriers::CarrierError> {
/// use tidings_carriers::Nats;
///
/// // For `Node::builder().wake_by(..)`; nothing is asked of the server yet.
/// let carrier = Nats::new("nats://127.0.0.1:4222", "shop")?;
/// # drop(carrier);
/// # Ok(()) }
/// ```
pub type Nats = Carrier<NatsBroker>;

/// A NATS server, or a cluster of them.
pub struct NatsBroker {
    address: ServerAddr,
    /// Connects by itself.
    client: OnceCell<Client>,
    /// Counts the times that the connection was made.
    connected: watch::Sender<u64>,
}

/// A subscription, and the times that its connection was made.
#[derive(Debug)]
pub struct Line {
    subscriber: Subscriber,
    connected: watch::Receiver<u64>,
}

impl NatsBroker {
    async fn client(&self) -> Result<&Client, LogError> {
        let connect = async {
            let connected = self.connected.clone();
            let mut options = ConnectOptions::new()
                .name("tidings")
                .ping_interval(PING)
                .retry_on_initial_connect()
                .event_callback(move |event| {
                    match event {
                        Event::Connected => {
                            tracing::info!("connected to NATS");
                            connected.send_modify(|times| *times += 1);
                        }
                        Event::Disconnected => {
                            tracing::warn!(
                                "the connection to NATS is lost; changes arrive by the next poll"
                            );
                        }
                        other => tracing::debug!(event = %other, "NATS"),
                    }
                    std::future::ready(())
                });
            if let Some(user) = self.address.username() {
                let password = self.address.password().unwrap_or_default();
                options = options.user_and_password(user.to_owned(), password.to_owned());
            }
            options.connect(self.address.clone()).await
        };
        let client = self.client.get_or_try_init(|| connect).await;
        client.map_err(|error| LogError::Unreachable(Box::new(error)))
    }
}

impl Broker for NatsBroker {
    const NAME: &'static str = "Nats";
    type Kept = ();
    type Line = Line;

    fn read(address: &str) -> Result<Self, CarrierError> {
        let expected = "nats://HOST:PORT or tls://HOST:PORT";
        if !address.starts_with("nats://") && !address.starts_with("tls://") {
            let source = None;
            return Err(CarrierError::Address { expected, source });
        }
        let address = address.parse().map_err(|error| CarrierError::Address {
            expected,
            source: Some(Box::new(error)),
        })?;
        Ok(Self {
            address,
            client: OnceCell::new(),
            connected: watch::Sender::new(0),
        })
    }

    async fn publish(link: &Link<Self>, (): &mut (), wake: &Wake) -> Result<(), LogError> {
        let sent = async {
            let client = link.broker.client().await?;
            // A client that is not connected keeps what it is given, to send it much too late.
            if client.connection_state() != State::Connected {
                return Err(lost(std::io::ErrorKind::NotConnected));
            }
            let payload = link.own.payload(wake).into();
            let published = client.publish(link.subject.clone(), payload).await;
            published.map_err(|error| LogError::Unreachable(Box::new(error)))?;
            let flushed = client.flush().await;
            flushed.map_err(|error| LogError::Unreachable(Box::new(error)))
        };
        link.in_time(sent).await
    }

    async fn subscribe(link: &Link<Self>) -> Result<Line, LogError> {
        let connected = link.broker.connected.subscribe();
        let subscribed = async {
            let client = link.broker.client().await?;
            let subscribed = client.subscribe(link.subject.clone()).await;
            subscribed.map_err(|error| LogError::Unreachable(Box::new(error)))
        };
        Ok(Line {
            subscriber: link.in_time(subscribed).await?,
            connected,
        })
    }

    async fn heard(link: &Link<Self>, line: &mut Line) -> Result<Wake, LogError> {
        loop {
            let changed = std::pin::pin!(line.connected.changed());
            match select(line.subscriber.next(), changed).await {
                Either::Left((Some(message), _)) => {
                    if let Some(wake) = link.own.read(&message.payload) {
                        return Ok(wake);
                    }
                }
                // What was said while the connection was away is lost.
                Either::Right((Ok(()), _)) => return Ok(Wake::Look),
                Either::Left((None, _)) | Either::Right((Err(_), _)) => {
                    return Err(lost(std::io::ErrorKind::ConnectionReset));
                }
            }
        }
    }
}

impl fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("NatsBroker").finish_non_exhaustive()
    }
}
