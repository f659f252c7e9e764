//! [`Nats`]: wake-ups over NATS.

use std::{fmt, pin::pin, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, Message, ServerAddr, Subscriber, connection::State,
};
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

/// How often the server is pinged.
const PING: Duration = Duration::from_secs(15);
/// How long a listener receives nothing before it tests itself.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Wakes nodes over a NATS server or cluster.
///
/// The address is `nats://host:port` or `tls://host:port`, with a user and a password before the
/// host if the server asks for them. One connection is opened at the first use, and again whenever
/// it is lost, with growing pauses of up to some seconds. Nodes read the log whenever it is back.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_carriers::CarrierError> {
/// use tidings_carriers::Nats;
///
/// // For `Node::builder().wake_by(..)`; it does not connect yet.
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

/// The state of the connection. It is reported again after each reconnection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    #[default]
    Away,
    There,
}

/// A subscription, and the connection on which it was made.
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
                            // The listener reports to the log.
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

    /// Publishes, unless the connection is down.
    async fn send(&self, link: &Link<Self>, payload: String) -> Result<(), LogError> {
        let client = self.client().await?;
        // A client that is not connected would queue the message, and send it much too late.
        if client.connection_state() != State::Connected {
            return Err(lost(std::io::ErrorKind::NotConnected));
        }

        let published = client.publish(link.subject.clone(), payload.into());
        let published = published.await;
        published.map_err(|error| LogError::Unreachable(Box::new(error)))?;
        let flushed = client.flush().await;
        flushed.map_err(|error| LogError::Unreachable(Box::new(error)))
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
        let payload = link.own.payload(wake);
        link.in_time(link.broker.send(link, payload)).await
    }

    async fn subscribe(link: &Link<Self>) -> Result<Line, LogError> {
        let connection = link.broker.connection.subscribe();
        let subscribed = async {
            let client = link.broker.client().await?;
            // A client accepts a subscription at any time, and sends it only once it is connected;
            // then it flushes.
            let flushed = client.flush().await;
            flushed.map_err(|error| LogError::Unreachable(Box::new(error)))?;
            let subscribed = client.subscribe(link.subject.clone()).await;
            subscribed.map_err(|error| LogError::Unreachable(Box::new(error)))
        };
        let mut line = Line {
            subscriber: link.in_time(subscribed).await?,
            connection,
        };
        line.test(link).await?;

        Ok(line)
    }

    async fn heard(link: &Link<Self>, line: &mut Line) -> Result<Wake, LogError> {
        loop {
            let heard = {
                let (next, changed) = (line.subscriber.next(), pin!(line.connection.changed()));
                match select(select(next, changed), link.clock.sleep(KEEPALIVE)).await {
                    Either::Left((Either::Left((message, _)), _)) => Heard::Message(message),
                    Either::Left((Either::Right((changed, _)), _)) => match changed {
                        Ok(()) => Heard::Changed,
                        Err(_) => Heard::Message(None),
                    },
                    Either::Right(((), _)) => Heard::Nothing,
                }
            };

            match heard {
                Heard::Message(Some(message)) => {
                    if let Some(wake) = link.own.read(&message.payload) {
                        return Ok(wake);
                    }
                }
                Heard::Message(None) => return Err(lost(std::io::ErrorKind::ConnectionReset)),
                Heard::Changed => {
                    let now = *line.connection.borrow_and_update();
                    return match now {
                        // Wake-ups that were sent while the connection was down are lost, and the
                        // user's rights may have changed.
                        Connection::There => line.test(link).await.map(|_| Wake::Look),
                        Connection::Away => Err(lost(std::io::ErrorKind::ConnectionReset)),
                    };
                }
                // The client does not always report that the connection is or was down.
                Heard::Nothing => {
                    if let Some(wake) = line.test(link).await? {
                        return Ok(wake);
                    }
                }
            }
        }
    }
}

/// What a listener has received.
enum Heard {
    /// `None` if the subscription has ended.
    Message(Option<Message>),
    Changed,
    Nothing,
}

impl Line {
    /// Waits until a wake-up of its own has come back. Returns the wake-ups of others that arrived
    /// before it.
    async fn test(&mut self, link: &Link<NatsBroker>) -> Result<Option<Wake>, LogError> {
        let came = async {
            link.broker.send(link, link.own.probe()).await?;
            let mut heard = None;
            while let Some(message) = self.subscriber.next().await {
                if link.own.is_own(&message.payload) {
                    return Ok(heard);
                }
                if link.own.read(&message.payload).is_some() {
                    heard = Some(Wake::Look); // which says whatever others say
                }
            }

            Err(lost(std::io::ErrorKind::ConnectionReset))
        };
        link.comes_back(came).await
    }
}

impl fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("NatsBroker").finish_non_exhaustive()
    }
}
