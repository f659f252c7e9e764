//! [`Sender`]: sends wake-ups from a task of its own, so that the caller never waits.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Chain,
    log::{NextWake, Wake},
};
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};

use crate::{
    broker::{Broker, Link},
    error::CarrierError,
};

/// The pause between two wake-ups.
const PAUSE: Duration = Duration::from_millis(1);
/// The pause after a wake-up that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Sends wake-ups. All that are requested while one is being sent are combined into one more.
#[derive(Debug)]
pub(crate) struct Sender {
    asked: Arc<Asked>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Asked {
    next: NextWake,
    some: Notify,
}

impl Sender {
    pub(crate) fn start<B: Broker>(link: &Arc<Link<B>>) -> Result<Self, CarrierError> {
        let runtime = Handle::try_current().map_err(|_| CarrierError::NoRuntime)?;
        let asked = Arc::new(Asked::default());
        let task = run(Arc::clone(link), Arc::clone(&asked));
        Ok(Self {
            asked,
            task: runtime.spawn(task).abort_handle(),
        })
    }

    /// Requests a wake-up. Never waits.
    pub(crate) fn wake(&self, wake: &Wake) {
        self.asked.next.ask(wake);
        self.asked.some.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<B: Broker>(link: Arc<Link<B>>, asked: Arc<Asked>) {
    let mut kept = B::Kept::default();
    loop {
        asked.some.notified().await;
        let Some(wake) = asked.next.take() else {
            continue; // the previous wake-up included it
        };

        match B::publish(&link, &mut kept, &wake).await {
            Ok(()) => link.clock.sleep(PAUSE).await,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "other nodes were not woken; they find the change at their next poll");
                link.clock.sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}
