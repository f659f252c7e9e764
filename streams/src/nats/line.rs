//! [`Line`]: a consumer that returns the records beyond a number, page after page.
//!
//! A line only serves speed. Its caller decides whether the records belong to the stream that the
//! reader knows, and follow each other, because it reads the state of the stream at the same time.
//! A line that has done anything unexpected is dropped, and another one is opened.

use std::{fmt, time::Duration};

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_core::clock::{Clock, Tick};

use super::{api::Api, fault::Fault};
use crate::engine::Entry;

/// How long the server keeps an unused consumer.
const IDLE: Duration = Duration::from_secs(30);
/// How long after its last use a consumer is used again: less than the server's limit.
const FRESH: Duration = Duration::from_secs(20);
/// How long the next record may take. On older servers, a missing consumer does not answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many lines are kept: a node reads at few positions at a time.
const KEPT: usize = 4;

/// A consumer that continues from a number.
pub(super) struct Line {
    consumer: String,
    /// The subject of its answers, followed by the number of the request.
    inbox: String,
    answers: Subscriber,
    questions: u64,
    /// The number of the next record.
    next: u64,
    /// The connection over which it was opened.
    connection: u64,
    used: Tick,
}

impl Line {
    /// Opens a line at a number.
    pub(super) async fn open(api: &Api, stream: &str, from: u64) -> Result<Self, Fault> {
        let connection = api.link.connections();
        let client = api.link.client().await?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|error| Fault::Unsent(error.into()))?;

        let consumer = api.consumer(stream, &config(from)).await?;
        Ok(Self {
            consumer,
            inbox,
            answers,
            questions: 0,
            next: from,
            connection,
            used: api.link.clock.now(),
        })
    }

    /// Returns the consumer's name.
    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.consumer
    }

    /// Takes the available records: at most `limit` of them and roughly `bytes`, but one record if
    /// there is any.
    pub(super) async fn pull(
        &mut self,
        api: &Api,
        stream: &str,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let question = json!({ "batch": limit, "max_bytes": bytes, "no_wait": true });
        let (entries, end) = self.ask(api, stream, limit, question).await?;
        match end {
            // The next record is larger than the page.
            End::Status(StatusCode::REQUEST_TERMINATED) if entries.is_empty() => {
                let question = json!({ "batch": 1, "no_wait": true });
                let (entries, _) = self.ask(api, stream, 1, question).await?;
                Ok(entries)
            }
            End::Status(_) | End::Full => Ok(entries),
        }
    }

    async fn ask(
        &mut self,
        api: &Api,
        stream: &str,
        limit: usize,
        question: Value,
    ) -> Result<(Vec<Entry>, End), Fault> {
        self.questions += 1;
        let inbox = format!("{}.{}", self.inbox, self.questions);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", self.consumer);
        let client = api.link.client().await?;
        let asked = client
            .publish_with_reply(subject, inbox.clone(), question.to_string().into())
            .await;
        asked.map_err(|error| Fault::Unsent(error.into()))?;

        let mut entries = Vec::new();
        while entries.len() < limit {
            let message = match self.answers.next().now_or_never() {
                Some(message) => message.ok_or_else(ended)?,
                None => {
                    let next = async { self.answers.next().await.ok_or_else(ended) };
                    api.link.in_time(PATIENCE, next).await?
                }
            };
            match message.status {
                None | Some(StatusCode::OK) => entries.push(self.take(message)?),
                // A late answer to an earlier request.
                Some(_) if *message.subject != *inbox => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => return Err(Fault::NoResponders),
                Some(status) => return Ok((entries, End::Status(status))),
            }
        }
        Ok((entries, End::Full))
    }

    /// Takes a record, whose number the server writes into the subject for its acknowledgement.
    fn take(&mut self, message: Message) -> Result<Entry, Fault> {
        let reply = message.reply.as_deref().unwrap_or_default();
        let number = number_of(reply).ok_or_else(|| {
            Fault::Malformed("a consumer's message does not say which number it has".into())
        })?;
        self.next = number + 1;
        let bytes = message.payload.into();
        Ok(Entry { number, bytes })
    }
}

/// How an answer ended.
#[derive(Debug)]
enum End {
    /// With as many records as requested.
    Full,
    /// With a status message of the server.
    Status(StatusCode),
}

fn ended() -> Fault {
    Fault::Lost("the subscription of a consumer has ended".into())
}

/// The settings of a consumer that begins at a number. It needs no acknowledgements, and the server
/// removes it after its reader is gone.
fn config(from: u64) -> Value {
    json!({
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from,
        "ack_policy": "none",
        "replay_policy": "instant",
        "max_waiting": 16,
        "inactive_threshold": IDLE.as_nanos() as u64,
        "num_replicas": 1,
        "mem_storage": true,
    })
}

/// Reads the stream's number of a message from the subject for its acknowledgement:
/// `$JS.ACK.STREAM.CONSUMER.TIMES.NUMBER...`, with domain and account before the stream on later
/// servers.
pub(super) fn number_of(reply: &str) -> Option<u64> {
    let parts: Vec<&str> = reply.split('.').collect();
    let number = match (parts.first(), parts.get(1), parts.len()) {
        (Some(&"$JS"), Some(&"ACK"), 9) => parts.get(5),
        (Some(&"$JS"), Some(&"ACK"), 11..) => parts.get(7),
        _ => None,
    };
    number?.parse().ok()
}

/// The lines that are kept between reads, the last used one at the end.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<Line>>);

impl Lines {
    /// Takes the line that continues at a number over this connection; drops those that cannot be
    /// used again.
    pub(super) fn take(&self, from: u64, connection: u64, now: Tick) -> Option<Line> {
        let mut lines = self.0.lock();
        let of_use =
            |line: &mut Line| line.connection == connection && now.since(line.used) < FRESH;
        let of_no_use: Vec<Line> = lines.extract_if(.., |line| !of_use(line)).collect();
        let at = lines.iter().position(|line| line.next == from);
        let taken = at.map(|at| lines.remove(at));
        drop(lines);
        drop(of_no_use); // each unsubscribes, which is the library's code
        taken
    }

    /// Keeps a line for the next read.
    pub(super) fn put(&self, mut line: Line, clock: &dyn Clock) {
        line.used = clock.now();
        let mut lines = self.0.lock();
        let oldest = (lines.len() >= KEPT).then(|| lines.remove(0));
        lines.push(line);
        drop(lines);
        drop(oldest);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("consumer", &self.consumer)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_message_is_read_from_both_forms_of_its_reply() {
        let old = "$JS.ACK.tidings-a.5N8lld5C.1.42.1.1795783540734980225.3";
        assert_eq!(number_of(old), Some(42));
        let new = "$JS.ACK.hub.a1b2.tidings-a.5N8lld5C.1.42.1.1795783540734980225.3.xyz";
        assert_eq!(number_of(new), Some(42));
        for wrong in [
            "",
            "_INBOX.x",
            "$JS.ACK.tidings-a.c.1.x.1.2.3",
            "$JS.ACK.a.b.1.2.3.4.5.6",
        ] {
            assert_eq!(number_of(wrong), None, "{wrong}");
        }
    }
}
