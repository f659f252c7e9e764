//! [`Listener`]: wakes its node whenever a record is appended, over a connection of its own.
//!
//! It uses a consumer that returns only the headers of new records, once the stream has them. A
//! plain subscription to their subject would sometimes be faster than the stream itself, and make
//! the node read too early. The server sends a heartbeat every half second. A listener that
//! receives none ends.

use std::{fmt, pin::pin, time::Duration};

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Either, select},
};
use serde_json::json;
use tidings_core::log::{LogError, LogFuture, NextWake, Wake, WakeUps};

use super::{api::Api, fault::Fault, shape::Shape};

/// How often the server sends a heartbeat.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a listener may receive nothing before it ends.
const SILENCE: Duration = Duration::from_millis(1_750);
/// How long the server answers one request.
const EXPIRES: Duration = Duration::from_secs(2);
/// The maximum number of records that it reports for one request.
const BATCH: usize = 256;
/// How long the server keeps an unused consumer.
const IDLE: Duration = Duration::from_secs(10);

/// A listener for new records and for the nudges of other nodes.
pub(super) struct Listener {
    api: Api,
    /// The subject of requests for records.
    consumer: String,
    /// The subject of the answers.
    inbox: String,
    records: Subscriber,
    nudges: Subscriber,
    /// How many records are still due for the last request; zero once it has ended.
    open: usize,
    /// The connection that it was started on, by its number.
    connection: u64,
}

/// What a listener has received.
enum Heard {
    Record(Option<Message>),
    Nudge(Option<Message>),
}

impl Listener {
    /// Starts a listener over a connection of its own.
    pub(super) async fn start(api: Api, shape: &Shape) -> Result<Self, Fault> {
        let client = api.link.client().await?;
        let unsent = |error: async_nats::SubscribeError| Fault::Unsent(error.into());
        let inbox = client.new_inbox();
        let nudges = client
            .subscribe(shape.nudges.clone())
            .await
            .map_err(unsent)?;
        let records = client.subscribe(inbox.clone()).await.map_err(unsent)?;

        // The answer also proves that the server has the subscriptions, because it reads in order.
        let name = api.consumer(&shape.stream, &config()).await?;
        Ok(Self {
            connection: api.link.connections(),
            consumer: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", shape.stream),
            inbox,
            records,
            nudges,
            open: 0,
            api,
        })
    }

    async fn heard(&mut self) -> Result<Wake, Fault> {
        loop {
            // After a reconnect, the consumer may be gone, and nudges were missed.
            if self.api.link.connections() != self.connection {
                return Err(Fault::Lost("the connection of a listener was lost".into()));
            }
            if self.open == 0 {
                self.ask().await?;
            }

            let heard = {
                let next = pin!(select(self.nudges.next(), self.records.next()));
                let next = async {
                    Ok(match next.await {
                        Either::Left((nudge, _)) => Heard::Nudge(nudge),
                        Either::Right((record, _)) => Heard::Record(record),
                    })
                };
                self.api.link.in_time(SILENCE, next).await?
            };
            let wake = match heard {
                Heard::Nudge(Some(message)) => Some(word_of(&message)),
                Heard::Record(Some(message)) => self.take(&message)?,
                Heard::Nudge(None) | Heard::Record(None) => {
                    return Err(Fault::Lost(
                        "the subscription of a listener has ended".into(),
                    ));
                }
            };
            if let Some(wake) = wake {
                return self.folded(wake);
            }
        }
    }

    /// Combines this wake-up and all others that have arrived into one.
    fn folded(&mut self, first: Wake) -> Result<Wake, Fault> {
        let all = NextWake::default();
        all.ask(&first);
        while let Some(Some(message)) = self.records.next().now_or_never() {
            if let Some(wake) = self.take(&message)? {
                all.ask(&wake);
            }
        }

        while let Some(Some(message)) = self.nudges.next().now_or_never() {
            all.ask(&word_of(&message));
        }
        Ok(all.take().unwrap_or(first))
    }

    fn take(&mut self, message: &Message) -> Result<Option<Wake>, Fault> {
        match message.status {
            None | Some(StatusCode::OK) => {
                self.open = self.open.saturating_sub(1);
                Ok(Some(Wake::Look))
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(None),
            // The time of the request is over.
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => {
                self.open = 0;
                Ok(None)
            }
            Some(status) => {
                let said = message.description.as_deref().unwrap_or_default();
                let ended = format!("the consumer of a listener has ended: {status} {said}");
                Err(Fault::Lost(ended.into()))
            }
        }
    }

    async fn ask(&mut self) -> Result<(), Fault> {
        let question = json!({
            "batch": BATCH,
            "expires": EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let client = self.api.link.client().await?;
        let asked = client.publish_with_reply(
            self.consumer.clone(),
            self.inbox.clone(),
            question.to_string().into(),
        );
        asked.await.map_err(|error| Fault::Unsent(error.into()))?;
        self.open = BATCH;

        Ok(())
    }
}

/// Returns the settings of a consumer of the records that are appended from now on.
fn config() -> serde_json::Value {
    json!({
        "deliver_policy": "new",
        "ack_policy": "none",
        "replay_policy": "instant",
        "headers_only": true,
        "max_waiting": 16,
        "inactive_threshold": IDLE.as_nanos() as u64,
        "num_replicas": 1,
        "mem_storage": true,
    })
}

fn word_of(message: &Message) -> Wake {
    let word = std::str::from_utf8(&message.payload);
    word.map_or(Wake::Look, Wake::of_word)
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async { self.heard().await.map_err(Fault::of_a_question) })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
