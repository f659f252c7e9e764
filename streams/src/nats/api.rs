//! [`Api`]: JetStream's API, which is JSON over requests.
//!
//! The client library's own implementation is not used, because its consumers recover by
//! themselves: they silently continue in a stream that was deleted and created again, and silently
//! wait beyond the end of a stream that has lost its newest messages. These are the events that a
//! log must detect.

use std::{collections::BTreeMap, sync::Arc};

use async_nats::HeaderMap;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    fault::{Fault, Refused},
    link::Link,
};

/// The API over one connection.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) link: Arc<Link>,
}

/// A stream's settings and state.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Info {
    /// When it was created, in the server's form. Another stream of the same name has another time.
    pub(super) created: String,
    /// All settings, including those of newer servers.
    pub(super) config: Map<String, Value>,
    pub(super) state: State,
}

/// The contents of a stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct State {
    messages: u64,
    first_seq: u64,
    /// The number of the newest message, which stays the same when that message is removed.
    pub(super) last_seq: u64,
    /// The requested subjects, each with its number of messages.
    #[serde(default)]
    pub(super) subjects: BTreeMap<String, u64>,
}

impl State {
    /// Returns the number of the oldest message, or of the next one if there is none.
    pub(super) fn first(&self) -> u64 {
        match self.messages {
            0 => self.last_seq + 1,
            _ => self.first_seq,
        }
    }
}

/// A message in a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
    pub(super) kind: Kind,
}

/// The kind of a message in the table's bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its payload is the value.
    Value,
    /// The value was removed.
    Removed,
}

/// The acknowledgement of a message.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Ack {
    #[serde(rename = "seq")]
    pub(super) number: u64,
    /// Whether the stream already had the message, under this number.
    #[serde(default)]
    pub(super) duplicate: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Refused { error: Refused },
    Given(T),
}

impl Api {
    /// Reads the settings and the state of a stream.
    pub(super) async fn info(&self, stream: &str) -> Result<Info, Fault> {
        self.ask(format!("STREAM.INFO.{stream}"), &()).await
    }

    /// Reads the settings and the state of a stream, with the matching subjects.
    pub(super) async fn info_of(&self, stream: &str, subjects: &str) -> Result<Info, Fault> {
        let question = json!({ "subjects_filter": subjects });
        self.ask(format!("STREAM.INFO.{stream}"), &question).await
    }

    /// Creates a stream, unless one with exactly these settings exists.
    pub(super) async fn create(&self, stream: &str, config: &Value) -> Result<Info, Fault> {
        self.ask(format!("STREAM.CREATE.{stream}"), config).await
    }

    /// Changes the settings of a stream.
    pub(super) async fn update(
        &self,
        stream: &str,
        config: &Map<String, Value>,
    ) -> Result<Info, Fault> {
        self.ask(format!("STREAM.UPDATE.{stream}"), config).await
    }

    /// Reads the message of a number, from the stream's leader.
    pub(super) async fn message(&self, stream: &str, number: u64) -> Result<Option<Stored>, Fault> {
        self.get(stream, json!({ "seq": number })).await
    }

    /// Reads the newest message of a subject, from the stream's leader.
    pub(super) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Fault> {
        self.get(stream, json!({ "last_by_subj": subject })).await
    }

    async fn get(&self, stream: &str, which: Value) -> Result<Option<Stored>, Fault> {
        #[derive(Deserialize)]
        struct Got {
            message: Raw,
        }
        #[derive(Deserialize)]
        struct Raw {
            seq: u64,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
        }

        let got: Result<Got, Fault> = self.ask(format!("STREAM.MSG.GET.{stream}"), &which).await;
        let raw = match got {
            Ok(got) => got.message,
            Err(Fault::Refused(refused)) if refused.has_no_message() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let decoded = |text: &str| {
            let bytes = BASE64_STANDARD.decode(text);
            bytes.map_err(|error| Fault::Malformed(error.into()))
        };
        Ok(Some(Stored {
            number: raw.seq,
            payload: decoded(&raw.data)?,
            kind: Kind::of_headers(&decoded(&raw.hdrs)?),
        }))
    }

    /// Removes the messages of a subject with lower numbers.
    pub(super) async fn purge(&self, stream: &str, subject: &str, below: u64) -> Result<(), Fault> {
        let which = json!({ "filter": subject, "seq": below });
        let purged: Value = self.ask(format!("STREAM.PURGE.{stream}"), &which).await?;
        drop(purged);
        Ok(())
    }

    /// Creates a consumer that the server removes once it is unused. Returns its name.
    pub(super) async fn consumer(&self, stream: &str, config: &Value) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Made {
            name: String,
        }

        let question = json!({ "stream_name": stream, "config": config });
        let subject = format!("CONSUMER.CREATE.{stream}");
        let made: Made = self.ask(subject, &question).await?;
        Ok(made.name)
    }

    /// Publishes a message into a stream.
    pub(super) async fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<Ack, Fault> {
        let headers = (!headers.is_empty()).then_some(headers);
        let answer = self
            .link
            .request(subject.to_owned(), headers, payload.into())
            .await?;
        read(&answer.payload)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        call: String,
        question: &impl Serialize,
    ) -> Result<T, Fault> {
        let question = serde_json::to_vec(question);
        let question = question.map_err(|error| Fault::Unsent(error.into()))?;
        let subject = format!("$JS.API.{call}");
        let answer = self.link.request(subject, None, question.into()).await?;
        read(&answer.payload)
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Fault> {
    match serde_json::from_slice(answer) {
        Ok(Answer::Given(given)) => Ok(given),
        Ok(Answer::Refused { error }) => Err(Fault::Refused(error)),
        Err(error) => Err(Fault::Malformed(error.into())),
    }
}

impl Kind {
    /// The header by which a bucket's clients mark a removed key.
    pub(super) const HEADER: &'static str = "KV-Operation";
    /// The header's value for a removed key.
    pub(super) const REMOVAL: &'static str = "DEL";

    fn of_headers(headers: &[u8]) -> Self {
        let headers = String::from_utf8_lossy(headers);
        let said = headers.lines().filter_map(|line| line.split_once(':'));
        let removed = said
            .filter(|(name, _)| name.eq_ignore_ascii_case(Self::HEADER))
            .any(|(_, word)| matches!(word.trim(), Self::REMOVAL | "PURGE"));
        match removed {
            true => Self::Removed,
            false => Self::Value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_messages_begins_at_the_next_one() {
        let state = |messages, first_seq, last_seq| State {
            messages,
            first_seq,
            last_seq,
            subjects: BTreeMap::new(),
        };
        assert_eq!(state(0, 0, 0).first(), 1);
        assert_eq!(state(0, 31, 30).first(), 31);
        assert_eq!(state(2, 29, 30).first(), 29);
    }

    #[test]
    fn a_removed_value_is_told_by_its_header() {
        let of = |text: &str| Kind::of_headers(text.as_bytes());
        assert_eq!(of("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"), Kind::Removed);
        assert_eq!(of("NATS/1.0\r\nkv-operation: PURGE\r\n\r\n"), Kind::Removed);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: PUT\r\n\r\n"), Kind::Value);
        assert_eq!(of(""), Kind::Value);
    }

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        let refused =
            br#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let fault = read::<Ack>(refused).expect_err("it is refused");
        assert!(fault.has_no_stream(), "{fault:?}");

        let ack: Ack = read(br#"{"stream":"s", "seq":5,"duplicate": true}"#).expect("it is an ack");
        assert_eq!((ack.number, ack.duplicate), (5, true));
        assert!(matches!(read::<Ack>(b"+OK"), Err(Fault::Malformed(_))));
    }
}
