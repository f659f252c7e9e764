//! Wake-ups over `LISTEN` and `NOTIFY`: hints, so a lost one costs only time.
//!
//! A notification is sent after the commit, from one connection per node, and never in the writer's
//! transaction: there it would serialize all commits on one lock, and make `PREPARE TRANSACTION`
//! fail. Its payload is the text of the wake-up. Triggers send an empty payload, and an unknown
//! payload makes nodes read the log.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tidings_core::{
    Chain,
    clock::Clock,
    log::{LogError, LogFuture, NextWake, Wake, WakeUps},
    spawn::{AbortHandle, Spawn},
};
use tokio::sync::Notify;

use super::{error::PgLogError, link::in_time};

/// The channel; `capture install --notify` makes the triggers use it too.
const CHANNEL: &str = "tidings";
/// The pause between two notifications.
const PAUSE: Duration = Duration::from_millis(1);
/// The pause after a notification that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a listener receives nothing before it checks its connection.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Listens on a connection of its own.
pub(super) struct Listener {
    listener: PgListener,
    clock: Arc<dyn Clock>,
}

impl Listener {
    /// Connects and listens.
    pub(super) async fn connect(
        options: &PgConnectOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, LogError> {
        let listener = in_time(clock, async {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None);
            let pool = pool.connect_with(options.clone()).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;

            // A pooler that shares sessions may accept LISTEN and never deliver. If this
            // notification comes back, it delivers.
            listener.execute("select pg_notify('tidings', '')").await?;
            listener.recv().await?;
            Ok(listener)
        });
        Ok(Self {
            listener: listener.await?,
            clock: Arc::clone(clock),
        })
    }

    async fn receive(&mut self) -> Result<Wake, LogError> {
        loop {
            let received = {
                let next = std::pin::pin!(self.listener.try_recv());
                match select(next, self.clock.sleep(KEEPALIVE)).await {
                    Either::Left((received, _)) => Some(received),
                    Either::Right(((), _)) => None,
                }
            };

            match received {
                Some(Ok(Some(received))) => return Ok(Wake::of_word(received.payload())),
                // It reconnected by itself: notifications in between are lost, so the listener
                // fails.
                Some(Ok(None)) => {
                    let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Err(LogError::Unreachable(Box::new(lost)));
                }
                Some(Err(error)) => return Err(PgLogError::from(error).into()),
                None => {
                    let requested = self.listener.execute("select 1");
                    in_time(&self.clock, async { Ok(requested.await?) }).await?;
                }
            }
        }
    }
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(self.receive())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// Sends notifications from a task of its own. All that are requested while one is being sent are
/// combined to one more.
#[derive(Debug)]
pub(super) struct Notifier {
    requested: Arc<Requested>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Requested {
    next: NextWake,
    some: Notify,
}

impl Notifier {
    pub(super) fn new(
        options: PgConnectOptions,
        spawn: &Arc<dyn Spawn>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let requested = Arc::new(Requested::default());
        let task = run(options, Arc::clone(&requested), Arc::clone(clock));
        Self {
            requested,
            task: spawn.spawn(Box::pin(task)),
        }
    }

    /// Requests a notification.
    pub(super) fn notify(&self, wake: &Wake) {
        self.requested.next.ask(wake);
        self.requested.some.notify_one();
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the statement that sends a wake-up, without parameters, so that it is one message. A
/// statement with parameters is prepared under a name, and behind a pooler another client may have
/// a statement of that name. The text of a wake-up contains nothing that ends the literal.
fn statement(wake: &Wake) -> String {
    format!("select pg_notify('{CHANNEL}', '{}')", wake.word())
}

async fn run(options: PgConnectOptions, requested: Arc<Requested>, clock: Arc<dyn Clock>) {
    let mut connection: Option<PgConnection> = None;
    loop {
        requested.some.notified().await;
        let Some(wake) = requested.next.take() else {
            continue; // the last one included it
        };

        let sent = in_time(&clock, async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => options.connect().await?,
            };
            open.execute(AssertSqlSafe(statement(&wake))).await?;
            Ok(open)
        });

        match sent.await {
            Ok(open) => {
                connection = Some(open);
                clock.sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "other nodes were not woken; they find the change at their next poll");
                clock.sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_send_the_words_of_wake_ups() {
        let sealed = Wake::of_word("c1.a-_Z9 c1.b");
        let words = [
            (Wake::Look, ""),
            (Wake::Reported, "reported"),
            (sealed, "c1.a-_Z9 c1.b"),
        ];
        for (wake, word) in words {
            assert_eq!(
                statement(&wake),
                format!("select pg_notify('tidings', '{word}')")
            );
        }
    }
}
