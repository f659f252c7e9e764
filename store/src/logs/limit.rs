//! The time limit of one call to a log.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{clock::Clock, log::LogError};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Waits for a call, up to the limit: a half-open connection never answers.
pub(crate) async fn in_time<T, E: Into<LogError>>(
    clock: &Arc<dyn Clock>,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, LogError> {
    let call = std::pin::pin!(call);
    match select(call, clock.sleep(LIMIT)).await {
        Either::Left((answer, _)) => answer.map_err(Into::into),
        Either::Right(((), _)) => {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(LogError::Unreachable(Box::new(late)))
        }
    }
}
