//! [`Nats`]: wake-ups by NATS.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber, connection::State};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use tidings_core::{
    clock::{Clock, SystemClock},
    log::{LogError, LogFuture, Wake, WakeCarrier, WakeUps},
};
use tokio::sync::{OnceCell, watch};

use crate::{
    error::CarrierError,
    sender::{Publish, Sender, in_time, lost},
    wire::{WakeUp, subject},
};

/// How often the server is asked for a sign of life.
const PING: Duration = Duration::from_secs(15);

/// Wakes nodes by a NATS server or cluster.
///
/// One connection is opened at the first use and again whenever it is lost, with growing pauses up
/// to some seconds; nodes are told to read the log whenever it is back.
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
pub struct Nats {
    link: Arc<Link>,
    sender: Sender,
    wake_up: WakeUp,
}

/// The connection, shared by what sends and what listens.
struct Link {
    address: ServerAddr,
    subject: String,
    clock: Arc<dyn Clock>,
    client: OnceCell<Client>,
    /// Counts the times that the connection was made.
    connected: watch::Sender<u64>,
}

impl Nats {
    /// Makes a carrier for a server and the name of a cluster. The address is `nats://host:port` or
    /// `tls://host:port`, with a user and a password before the host if the server asks for them.
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
            address: read(address)?,
            subject: subject(cluster)?,
            clock: Arc::clone(&clock),
            client: OnceCell::new(),
            connected: watch::Sender::new(0),
        });
        let wake_up = WakeUp::of_a_new_sender();
        let publisher = Publisher {
            link: Arc::clone(&link),
            wake_up: wake_up.clone(),
        };
        Ok(Self {
            link,
            sender: Sender::start(publisher, &clock)?,
            wake_up,
        })
    }
}

fn read(address: &str) -> Result<ServerAddr, CarrierError> {
    let expected = "nats://HOST:PORT or tls://HOST:PORT";
    if !address.starts_with("nats://") && !address.starts_with("tls://") {
        let source = None;
        return Err(CarrierError::Address { expected, source });
    }
    address.parse().map_err(|error| CarrierError::Address {
        expected,
        source: Some(Box::new(error)),
    })
}

impl Link {
    /// Returns the client, which connects by itself.
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

impl WakeCarrier for Nats {
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move {
            let connected = self.link.connected.subscribe();
            let subscribed = async {
                let client = self.link.client().await?;
                let subscribed = client.subscribe(self.link.subject.clone()).await;
                subscribed.map_err(|error| LogError::Unreachable(Box::new(error)))
            };
            let subscriber = in_time(&self.link.clock, subscribed).await?;
            Ok(Box::new(Listener {
                subscriber,
                connected,
                own: self.wake_up.clone(),
            }) as Box<dyn WakeUps>)
        })
    }

    fn wake(&self) {
        self.sender.wake();
    }
}

struct Listener {
    subscriber: Subscriber,
    connected: watch::Receiver<u64>,
    own: WakeUp,
}

impl Listener {
    async fn heard(&mut self) -> Result<Wake, LogError> {
        loop {
            let changed = std::pin::pin!(self.connected.changed());
            match select(self.subscriber.next(), changed).await {
                Either::Left((Some(message), _)) if self.own.is(&message.payload) => {}
                Either::Left((Some(_), _)) => return Ok(Wake::Look),
                // What was said while the connection was away is lost.
                Either::Right((Ok(()), _)) => return Ok(Wake::Look),
                Either::Left((None, _)) | Either::Right((Err(_), _)) => {
                    return Err(lost(std::io::ErrorKind::ConnectionReset));
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
}

impl Publish for Publisher {
    async fn publish(&mut self) -> Result<(), LogError> {
        let sent = async {
            let client = self.link.client().await?;
            // A client that is not connected keeps what it is given, to send it much too late.
            if client.connection_state() != State::Connected {
                return Err(lost(std::io::ErrorKind::NotConnected));
            }
            let payload = self.wake_up.payload().to_owned().into();
            let published = client.publish(self.link.subject.clone(), payload).await;
            published.map_err(|error| LogError::Unreachable(Box::new(error)))?;
            let flushed = client.flush().await;
            flushed.map_err(|error| LogError::Unreachable(Box::new(error)))
        };
        in_time(&self.link.clock, sent).await
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("Nats")
            .field("subject", &self.link.subject)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
