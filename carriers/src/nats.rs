//! [`Nats`]: wake-ups by NATS.

use std::{fmt, pin::pin, time::Duration};

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
    connection: watch::Sender<Connection>,
}

/// How the connection is. It is told again whenever it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    #[default]
    Away,
    There,
}

/// A subscription, and the connection that it came to be on.
#[derive(Debug)]
pub struct Line {
    subscriber: Subscriber,
    connection: watch::Receiver<Connection>,
}

impl NatsBroker {
    async fn client(&self) -> Result<&Client, LogError> {
        let connect = async {
            let connection = self.connection.clone();
            let mut options = ConnectOptions::new()
                .name("tidings")
                .ping_interval(PING)
                .retry_on_initial_connect()
                .event_callback(move |event| {
                    match event {
                        Event::Connected => {
                            tracing::info!("connected to NATS");
                            connection.send_replace(Connection::There);
                        }
                        Event::Disconnected => {
                            // The log is told by what listens.
                            connection.send_replace(Connection::Away);
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
            connection: watch::Sender::default(),
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
        let mut connection = link.broker.connection.subscribe();
        let subscribed = async {
            let client = link.broker.client().await?;
            // A client takes a subscription at any time, and is silent until it is connected.
            let there = connection.wait_for(|connection| *connection == Connection::There);
            there
                .await
                .map_err(|_| lost(std::io::ErrorKind::NotConnected))?;
            let subscribed = client.subscribe(link.subject.clone()).await;
            subscribed.map_err(|error| LogError::Unreachable(Box::new(error)))
        };
        Ok(Line {
            subscriber: link.in_time(subscribed).await?,
            connection,
        })
    }

    async fn heard(link: &Link<Self>, line: &mut Line) -> Result<Wake, LogError> {
        loop {
            let heard = {
                let changed = pin!(line.connection.changed());
                match select(line.subscriber.next(), changed).await {
                    Either::Left((message, _)) => Some(message),
                    Either::Right((Ok(()), _)) => None,
                    Either::Right((Err(_), _)) => Some(None),
                }
            };

            match heard {
                Some(Some(message)) => {
                    if let Some(wake) = link.own.read(&message.payload) {
                        return Ok(wake);
                    }
                }
                Some(None) => return Err(lost(std::io::ErrorKind::ConnectionReset)),
                None => {
                    return match *line.connection.borrow() {
                        // What was said while the connection was away is lost.
                        Connection::There => Ok(Wake::Look),
                        Connection::Away => Err(lost(std::io::ErrorKind::ConnectionReset)),
                    };
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
