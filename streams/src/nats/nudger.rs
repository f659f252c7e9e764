//! [`Nudger`]: wakes the listening nodes from a task of its own, so that the caller never waits.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    log::{NextWake, Wake},
    spawn::{AbortHandle, Spawn},
};
use tokio::sync::Notify;

use super::{fault::Fault, link::Link};

/// The pause between two nudges.
const PAUSE: Duration = Duration::from_millis(1);
/// The pause after a nudge that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Sends nudges. All that are requested while one is being sent are combined to one more.
#[derive(Debug)]
pub(super) struct Nudger {
    asked: Arc<Asked>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Asked {
    next: NextWake,
    some: Notify,
}

impl Nudger {
    pub(super) fn start(link: &Arc<Link>, subject: String, spawn: &dyn Spawn) -> Self {
        let asked = Arc::new(Asked::default());
        let task = run(Arc::clone(link), subject, Arc::clone(&asked));
        Self {
            task: spawn.spawn(Box::pin(task)),
            asked,
        }
    }

    pub(super) fn nudge(&self, wake: &Wake) {
        self.asked.next.ask(wake);
        self.asked.some.notify_one();
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(link: Arc<Link>, subject: String, asked: Arc<Asked>) {
    loop {
        asked.some.notified().await;
        let Some(wake) = asked.next.take() else {
            continue; // the last one included it
        };

        match send(&link, &subject, &wake).await {
            Ok(()) => link.clock.sleep(PAUSE).await,
            Err(fault) => {
                tracing::debug!(
                    ?fault,
                    "other nodes were not woken; they find it at their next poll"
                );
                link.clock.sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn send(link: &Link, subject: &str, wake: &Wake) -> Result<(), Fault> {
    let client = link.client().await?;
    let word = wake.word().to_owned();
    let sent = client.publish(subject.to_owned(), word.into()).await;
    sent.map_err(|error| Fault::Unsent(error.into()))
}
