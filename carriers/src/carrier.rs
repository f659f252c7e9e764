//! [`Carrier`]: wake-ups over a broker of any kind.

use std::{fmt, sync::Arc};

use tidings_core::{
    clock::{Clock, SystemClock},
    log::{LogError, LogFuture, Wake, WakeCarrier, WakeUps},
};

use crate::{
    broker::{Broker, Link},
    error::CarrierError,
    sender::Sender,
    wire::{WakeUp, subject},
};

/// Wakes nodes over a broker. Made as `Nats` or `Redis`, for `NodeBuilder::wake_by` of the crate
/// `tidings`.
///
/// It connects at its first use, and again whenever the connection is lost. Nodes read the log
/// whenever the connection is back.
pub struct Carrier<B> {
    link: Arc<Link<B>>,
    sender: Sender,
}

impl<B: Broker> Carrier<B> {
    /// Makes a carrier for a server and the name of a cluster.
    ///
    /// # Errors
    ///
    /// See [`CarrierError`]. This does not connect, so the server may be down: the carrier waits
    /// for it.
    pub fn new(address: &str, cluster: &str) -> Result<Self, CarrierError> {
        Self::with_clock(address, cluster, Arc::new(SystemClock::new()))
    }

    /// Checks an address and a cluster's name as [`new`](Self::new) does, without a runtime.
    ///
    /// # Errors
    ///
    /// See [`CarrierError`].
    pub fn check(address: &str, cluster: &str) -> Result<(), CarrierError> {
        B::read(address)?;
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
            broker: B::read(address)?,
            subject: subject(cluster)?,
            own: WakeUp::of_a_new_sender(),
            clock,
        });
        let sender = Sender::start(&link)?;
        Ok(Self { link, sender })
    }
}

impl<B: Broker> WakeCarrier for Carrier<B> {
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move {
            let line = B::subscribe(&self.link).await?;
            let link = Arc::clone(&self.link);
            Ok(Box::new(Listener { link, line }) as Box<dyn WakeUps>)
        })
    }

    fn wake(&self, wake: Wake) {
        self.sender.wake(&wake);
    }
}

impl<B: Broker> fmt::Debug for Carrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct(B::NAME)
            .field("subject", &self.link.subject)
            .finish_non_exhaustive()
    }
}

struct Listener<B: Broker> {
    link: Arc<Link<B>>,
    line: B::Line,
}

impl<B: Broker> WakeUps for Listener<B> {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(B::heard(&self.link, &mut self.line))
    }
}

impl<B: Broker> fmt::Debug for Listener<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
