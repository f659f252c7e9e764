//! [`Listener`]: waits for nudges over a connection of its own.
//!
//! A task waits with `XREAD BLOCK` and passes wake-ups on; a caller that stops waiting loses
//! nothing. The server answers every wait within [`BLOCK`]; a longer wait means that the link is
//! dead. The task and its connection end with the listener.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use redis::{RedisError, Value};
use tidings_core::{
    log::{LogError, LogFuture, NextWake, Wake, WakeUps},
    spawn::AbortHandle,
};
use tokio::sync::{Notify, oneshot};

use super::{
    answer::{self, Parts, unexpected},
    link::{Asks, Connection, LIMIT, Link, told},
    scripts,
};

/// How long the server waits before it answers that there was nothing.
const BLOCK: Duration = Duration::from_secs(1);

/// How many nudges are read at a time.
const AT_ONCE: usize = 256;

/// The state that the task and the listener share.
#[derive(Debug, Default)]
struct Heard {
    /// The wake-up to pass on: several are combined to one.
    next: NextWake,
    some: Notify,
}

/// Waits for nudges.
#[derive(Debug)]
pub(super) struct Listener {
    heard: Arc<Heard>,
    ended: Option<oneshot::Receiver<LogError>>,
    task: AbortHandle,
}

impl Listener {
    /// Begins to listen: everything after this call is received.
    pub(super) async fn start(link: &Arc<Link>) -> Result<Self, LogError> {
        let mut connection = link.connect().await?;
        let asked = link.script(scripts::NEWEST_NUDGE);
        let newest = link.in_time(asked.query_async::<Value>(&mut connection.asks));
        let newest = newest
            .await
            .map_err(|late| LogError::Unreachable(late.into()))?;
        let newest = newest.and_then(answer::text);
        let newest = newest.map_err(|error| told(error, Asks::Reads))?;

        let heard = Arc::new(Heard::default());
        let (tell, ended) = oneshot::channel();
        let (hears, link_of) = (Arc::clone(&heard), Arc::clone(link));
        let task = link.spawn().spawn(Box::pin(async move {
            let error = listen(&link_of, connection, newest, &hears).await;
            let _ = tell.send(error); // the listener may be gone
        }));
        Ok(Self {
            heard,
            ended: Some(ended),
            task,
        })
    }
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async {
            loop {
                let some = self.heard.some.notified();
                if let Some(wake) = self.heard.next.take() {
                    return Ok(wake);
                }
                let Some(ended) = &mut self.ended else {
                    return Err(LogError::Closed);
                };

                let some = std::pin::pin!(some);
                if let Either::Left((ended, _)) = select(ended, some).await {
                    self.ended = None;
                    return Err(ended.unwrap_or(LogError::Closed));
                }
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes nudges on until the link fails.
async fn listen(
    link: &Link,
    mut connection: Connection,
    mut last: String,
    heard: &Heard,
) -> LogError {
    loop {
        let mut waits = redis::cmd("XREAD");
        waits.arg("COUNT").arg(AT_ONCE);
        waits.arg("BLOCK").arg(BLOCK.as_millis().to_string());
        waits.arg("STREAMS").arg(link.nudges()).arg(&last);

        let waiting = std::pin::pin!(waits.query_async::<Value>(&mut connection.asks));
        let answer = match select(waiting, link.clock().sleep(BLOCK + LIMIT)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return LogError::Unreachable(late.into());
            }
        };
        connection.untaken.take();

        let nudges = match answer.and_then(nudges_of) {
            Ok(nudges) => nudges,
            Err(error) => return told(error, Asks::Reads),
        };

        for (id, word) in nudges {
            last = id;
            heard.next.ask(&Wake::of_word(&word));
            heard.some.notify_one();
        }
    }
}

/// Reads ids and texts from the answer of `XREAD` for one stream: nothing, or a list of streams.
fn nudges_of(answer: Value) -> Result<Vec<(String, String)>, RedisError> {
    let mut streams = match answer {
        Value::Nil => return Ok(Vec::new()),
        // Newer protocols return a map.
        Value::Map(streams) => {
            let lists = streams
                .into_iter()
                .map(|(name, list)| Value::Array(vec![name, list]));
            Parts::of(Value::Array(lists.collect()))?
        }
        other => Parts::of(other)?,
    };
    let mut stream = streams.list()?;
    stream.next()?; // its name

    let mut entries = stream.list()?;
    let mut nudges = Vec::new();
    while !entries.is_over() {
        let mut entry = entries.list()?;
        let id = entry.text()?;
        let mut fields = entry.list()?;
        let mut word = None;
        while !fields.is_over() {
            let (name, value) = (fields.text()?, fields.text()?);
            if name == "w" {
                word = Some(value);
            }
        }

        // From another program, or a later version: read the log.
        nudges.push((id, word.unwrap_or_default()));
    }

    if nudges.is_empty() {
        return Err(unexpected("expected entries"));
    }

    Ok(nudges)
}
