//! [`Broker`]: what a carrier needs from the server that carries its wake-ups.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    clock::Clock,
    log::{EngineError, LogError, Wake},
};

use crate::{error::CarrierError, wire::WakeUp};

/// How long one call to the broker may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A kind of broker. It connects when it is first used, and again after an error.
pub trait Broker: Sized + Send + Sync + 'static {
    /// The name of the carrier.
    const NAME: &'static str;
    /// The state that is kept between two sent wake-ups.
    type Kept: Default + Send;
    /// A subscription.
    type Line: Send;

    /// Parses an address. Does not connect.
    ///
    /// # Errors
    ///
    /// [`CarrierError::Address`].
    fn read(address: &str) -> Result<Self, CarrierError>;

    /// Publishes a wake-up. After an error, it connects again at the next call.
    fn publish(
        link: &Link<Self>,
        kept: &mut Self::Kept,
        wake: &Wake,
    ) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Subscribes to the wake-ups of a cluster, and waits until one of its own has come back,
    /// because a server may silently ignore a subscription or a publication of a user without the
    /// right to it.
    fn subscribe(link: &Link<Self>) -> impl Future<Output = Result<Self::Line, LogError>> + Send;

    /// Waits for a wake-up of another sender. An error means that the line is gone.
    fn heard(
        link: &Link<Self>,
        line: &mut Self::Line,
    ) -> impl Future<Output = Result<Wake, LogError>> + Send;
}

/// A broker and a cluster's wake-ups there, shared by sender and listener.
pub struct Link<B> {
    pub(crate) broker: B,
    /// The subject or channel of wake-ups.
    pub(crate) subject: String,
    pub(crate) own: WakeUp,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<B> Link<B> {
    /// Waits for a call to the broker, at most [`LIMIT`]: a half-open link never answers.
    pub(crate) async fn in_time<T, E: Into<EngineError>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LogError> {
        let call = std::pin::pin!(call);
        match select(call, self.clock.sleep(LIMIT)).await {
            Either::Left((answer, _)) => {
                answer.map_err(|error| LogError::Unreachable(error.into()))
            }
            Either::Right(((), _)) => Err(lost(std::io::ErrorKind::TimedOut)),
        }
    }

    /// Waits until a published wake-up of its own has come back, at most [`LIMIT`].
    pub(crate) async fn comes_back<T>(
        &self,
        call: impl Future<Output = Result<T, LogError>>,
    ) -> Result<T, LogError> {
        let call = std::pin::pin!(call);
        match select(call, self.clock.sleep(LIMIT)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                let silent = format!(
                    "what is published under {} does not come back: the broker's user needs the \
                     right to publish and to subscribe there",
                    self.subject
                );
                let silent = std::io::Error::new(std::io::ErrorKind::TimedOut, silent);
                Err(LogError::Unreachable(Box::new(silent)))
            }
        }
    }
}

impl<B> fmt::Debug for Link<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Returns the error for a link that is gone or silent.
pub(crate) fn lost(kind: std::io::ErrorKind) -> LogError {
    LogError::Unreachable(Box::new(std::io::Error::from(kind)))
}
