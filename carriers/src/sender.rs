//! [`Sender`]: sends wake-ups from a task of its own, so that asking for one never waits.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Chain,
    clock::Clock,
    log::{EngineError, LogError},
};
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};

use crate::error::CarrierError;

/// The pause between two wake-ups.
const PAUSE: Duration = Duration::from_millis(1);
/// The pause after one that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long one call to the broker may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Publishes over a connection that it opens when it needs one.
pub(crate) trait Publish: Send + 'static {
    /// Publishes a wake-up; after an error it opens another connection at the next call.
    fn publish(&mut self) -> impl Future<Output = Result<(), LogError>> + Send;
}

/// Sends wake-ups: any number that are asked for while one is being sent make one more.
#[derive(Debug)]
pub(crate) struct Sender {
    asked: Arc<Notify>,
    task: AbortHandle,
}

impl Sender {
    pub(crate) fn start(
        publish: impl Publish,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, CarrierError> {
        let runtime = Handle::try_current().map_err(|_| CarrierError::NoRuntime)?;
        let asked = Arc::new(Notify::new());
        let task = run(publish, Arc::clone(&asked), Arc::clone(clock));
        Ok(Self {
            asked,
            task: runtime.spawn(task).abort_handle(),
        })
    }

    /// Asks for a wake-up to be sent. Never waits.
    pub(crate) fn wake(&self) {
        self.asked.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut publish: impl Publish, asked: Arc<Notify>, clock: Arc<dyn Clock>) {
    loop {
        asked.notified().await;
        match publish.publish().await {
            Ok(()) => clock.sleep(PAUSE).await,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "other nodes were not woken; they find the change at their next poll");
                clock.sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Waits for a call, at most [`LIMIT`]: a half-open link never answers.
pub(crate) async fn in_time<T, E: Into<EngineError>>(
    clock: &Arc<dyn Clock>,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, LogError> {
    let call = std::pin::pin!(call);
    match select(call, clock.sleep(LIMIT)).await {
        Either::Left((answer, _)) => answer.map_err(|error| LogError::Unreachable(error.into())),
        Either::Right(((), _)) => Err(lost(std::io::ErrorKind::TimedOut)),
    }
}

/// Makes the error for a link that is gone or silent.
pub(crate) fn lost(kind: std::io::ErrorKind) -> LogError {
    LogError::Unreachable(Box::new(std::io::Error::from(kind)))
}
