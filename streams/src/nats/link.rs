//! [`Link`]: one connection to a NATS server. It is opened at the first call, and the client
//! library reconnects whenever it is lost.
//!
//! A call over it ends with an answer, with the loss of the connection, or after [`LIMIT`]. A call
//! that finds no connection waits briefly for one. It is not queued and sent much later, as the
//! client library would do.

use std::{fmt, io, pin::pin, sync::Arc, sync::atomic::Ordering, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind, ServerAddr,
    connection::State,
};
use futures_util::future::{Either, select};
use tidings_core::{
    clock::Clock,
    entropy::{Entropy as _, SystemEntropy},
    log::EngineError,
};
use tokio::sync::{OnceCell, watch};

use super::fault::Fault;

/// The maximum duration of one call.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// How often the server is pinged.
const PING: Duration = Duration::from_secs(5);
/// How long a call waits for a lost connection, which is retried within this time.
const AWAY: Duration = Duration::from_millis(1_500);
/// The longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The address of a server, with the credentials.
#[derive(Clone)]
pub(super) struct Address(pub(super) ServerAddr);

/// A connection to a server.
pub(super) struct Link {
    address: Address,
    pub(super) clock: Arc<dyn Clock>,
    client: OnceCell<Client>,
    /// How often the connection was lost.
    losses: watch::Sender<u64>,
    /// How often the client has reported a connection.
    gains: watch::Sender<u64>,
}

impl Link {
    pub(super) fn new(address: Address, clock: Arc<dyn Clock>) -> Self {
        Self {
            address,
            clock,
            client: OnceCell::new(),
            losses: watch::Sender::default(),
            gains: watch::Sender::default(),
        }
    }

    /// Returns how often it has connected so far. The client counts a connection before it sends
    /// anything over it.
    pub(super) fn connections(&self) -> u64 {
        let client = self.client.get();
        client.map_or(0, |client| {
            client.statistics().connects.load(Ordering::Relaxed)
        })
    }

    /// Returns the maximum number of bytes of a message; `None` before the first connection.
    pub(super) fn max_payload(&self) -> Option<usize> {
        self.client.get().map(Client::max_payload)
    }

    /// Returns the client, once it is connected.
    pub(super) async fn client(&self) -> Result<&Client, Fault> {
        let connect = async { self.client.get_or_try_init(|| self.connect()).await };
        let client = match select(pin!(connect), self.clock.sleep(LIMIT)).await {
            Either::Left((client, _)) => client?,
            Either::Right(((), _)) => return Err(Fault::Unsent(silent())),
        };

        // A client that is not connected would queue the message, and send it much too late.
        let mut gains = self.gains.subscribe();
        match client.connection_state() {
            State::Connected => return Ok(client),
            State::Pending | State::Disconnected => {}
        }

        let gained = pin!(gains.changed());
        match select(gained, self.clock.sleep(AWAY)).await {
            Either::Left(_) => Ok(client),
            Either::Right(((), _)) => Err(Fault::Unsent(
                io::Error::from(io::ErrorKind::NotConnected).into(),
            )),
        }
    }

    async fn connect(&self) -> Result<Client, Fault> {
        let (losses, gains) = (self.losses.clone(), self.gains.clone());
        let mut options = ConnectOptions::new()
            .name("tidings")
            .ping_interval(PING)
            .request_timeout(None)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                match event {
                    Event::Disconnected | Event::Closed => losses.send_modify(|lost| *lost += 1),
                    Event::Connected => gains.send_modify(|gained| *gained += 1),
                    other => tracing::debug!(event = %other, "NATS"),
                }
                std::future::ready(())
            });
        if let Some(user) = self.address.0.username() {
            let password = self.address.0.password().unwrap_or_default();
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }

        let connected = options.connect(self.address.0.clone()).await;
        connected.map_err(|error| Fault::Unsent(error.into()))
    }

    /// Sends a message, and waits for the answer.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: bytes::Bytes,
    ) -> Result<Message, Fault> {
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }

        let answered = async {
            let answer = self.client().await?.send_request(subject, request).await;
            answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Fault::NoResponders,
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Fault::Unsent(error.into())
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => Fault::Lost(error.into()),
            })
        };
        self.in_time(LIMIT, answered).await
    }

    /// Waits for something that arrives over this connection, until the connection is lost or the
    /// time is over.
    pub(super) async fn in_time<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut losses = self.losses.subscribe();
        let lost = pin!(losses.changed());
        let end = select(lost, self.clock.sleep(limit));
        match select(pin!(answer), end).await {
            Either::Left((answer, _)) => answer,
            // The client silently keeps a request whose answer was lost with the connection.
            Either::Right((Either::Left(_), _)) => Err(Fault::Cut),
            Either::Right((Either::Right(_), _)) => Err(Fault::Lost(silent())),
        }
    }
}

/// Returns how long to wait before another attempt to connect: longer after each, and different
/// between nodes.
fn pause(attempts: usize) -> Duration {
    let shift = u32::try_from(attempts.min(6)).unwrap_or_default();
    let longest = (Duration::from_millis(20) * (1 << shift)).min(LONGEST_PAUSE);
    let half = longest / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or_default();
    half + Duration::from_micros(SystemEntropy.below(micros))
}

fn silent() -> EngineError {
    io::Error::new(io::ErrorKind::TimedOut, "NATS did not answer in time").into()
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may hold a password.
        f.write_str("Address")
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
