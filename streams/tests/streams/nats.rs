//! A log in a stream of NATS JetStream.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tidings_cluster::kit::conformance::{Subject, check};
use tidings_core::{
    clock::ManualClock,
    log::{ApartNeeds, GapReason, Log, LogApart as _, LogError},
};
use tidings_streams::{JetStream, StreamError};
use tidings_testkit::{Broker, Protocol};

use crate::{append, event, head, open, read, redis::hold_when_told};

/// The names of the log's stream, and of the table's.
const STREAM: &str = "tidings-shop";
const TABLE: &str = "KV_tidings-shop";

/// Calls JetStream over a connection of its own, for requests that no log makes.
pub(crate) async fn call(url: &str, call: &str, question: Value) -> Value {
    let client = async_nats::connect(url).await.expect("a connection");
    let subject = format!("$JS.API.{call}");
    let answer = client.request(subject, question.to_string().into()).await;
    let answer: Value = serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON");
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}

/// Deletes stream and table.
pub(crate) async fn delete(url: &str) {
    for stream in [STREAM, TABLE] {
        call(url, &format!("STREAM.DELETE.{stream}"), json!({})).await;
    }
}

/// Returns all messages of the stream, as stored by the server.
pub(crate) async fn held(url: &str) -> String {
    let info = call(url, &format!("STREAM.INFO.{STREAM}"), json!({})).await;
    let numbers = |of: &str| info["state"][of].as_u64().expect("a number");
    let mut held = String::new();
    for number in numbers("first_seq")..=numbers("last_seq") {
        let which = json!({ "seq": number });
        let got = call(url, &format!("STREAM.MSG.GET.{STREAM}"), which).await;
        let data = got["message"]["data"].as_str().expect("a record");
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data);
        held += &String::from_utf8(bytes.expect("base64")).expect("text");
    }
    held
}

pub(crate) fn stream(broker: &Broker) -> JetStream {
    JetStream::new(&broker.url(), "shop").expect("an address")
}

/// Stops a server, cuts bytes from the end of the stream's newest file, as a power failure may, and
/// starts it again.
fn lose(broker: &mut Broker, bytes: u64) {
    broker.stop();
    let blocks = broker.blocks(STREAM);
    let newest = blocks.last().expect("there is one");
    let file = std::fs::File::options().write(true).open(newest);
    let file = file.expect("it can be written");
    let length = file.metadata().expect("it has a length").len();
    file.set_len(length - bytes).expect("it is cut");
    broker.restart();
}

struct OnJetStream {
    broker: Mutex<Broker>,
    url: String,
}

impl OnJetStream {
    fn start() -> Self {
        let broker = Broker::start(Protocol::Nats);
        Self {
            url: broker.url(),
            broker: Mutex::new(broker),
        }
    }
}

impl Subject for OnJetStream {
    fn open(&self) -> Arc<dyn Log> {
        open(&JetStream::new(&self.url, "shop").expect("an address"), "a")
    }

    async fn trim(&self) {
        let purge = format!("STREAM.PURGE.{STREAM}");
        call(&self.url, &purge, json!({ "keep": 1 })).await;
    }

    async fn end_epoch(&self) {
        delete(&self.url).await;
    }

    async fn lose_newest(&self, _: usize) -> bool {
        // A part of the newest record: the server drops the rest of it when it starts.
        let mut broker = self.broker.lock().expect("no test panics with it");
        lose(&mut broker, 5);
        true
    }

    async fn recreate(&self) -> bool {
        call(&self.url, &format!("STREAM.DELETE.{STREAM}"), json!({})).await;
        true
    }

    fn largest(&self) -> Option<usize> {
        Some(256 << 10)
    }

    fn records(&self) -> usize {
        2_000
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jetstream_does_what_every_log_has_to_do() {
    check(async || OnJetStream::start()).await.assert_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_the_server_lost_is_told_by_its_publisher_to_a_reader_that_had_not_read_it() {
    let mut broker = Broker::start(Protocol::Nats);
    let stream = stream(&broker);
    let (publisher, reader) = (open(&stream, "a"), open(&stream, "b"));
    append(&*publisher, 1).await;
    let cursor = head(&*reader).await;
    append(&*publisher, 2).await;
    lose(&mut broker, 5);

    // The reader alone cannot notice: it has not read the lost record.
    assert_eq!(read(&*reader, &cursor).await, Ok((vec![], cursor.clone())));
    append(&*publisher, 3).await;
    assert_eq!(read(&*reader, &cursor).await, Err(GapReason::Epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_tail_whose_numbers_were_handed_out_again_is_a_gap_for_one_that_had_read_it() {
    let mut broker = Broker::start(Protocol::Nats);
    let stream = stream(&broker);
    let reader = open(&stream, "b");
    let cursor = {
        let publisher = open(&stream, "a");
        let before = head(&*reader).await;
        append(&*publisher, 1).await;
        read(&*reader, &before).await.expect("no gap").1
    };
    lose(&mut broker, 5);

    // Its publisher is gone, and another node appends at least as many records.
    let other = open(&stream, "c");
    append(&*other, 2).await;
    append(&*other, 3).await;
    read(&*reader, &cursor).await.expect_err("a gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_while_it_is_read_is_a_gap() {
    let broker = Broker::start(Protocol::Nats);
    let stream = stream(&broker);
    let log = open(&stream, "a");
    let cursor = head(&*log).await;
    append(&*log, 1).await;
    let (_, cursor) = read(&*log, &cursor).await.expect("no gap");

    // The table stays, and names the epoch of another stream.
    call(&broker.url(), "STREAM.DELETE.tidings-shop", json!({})).await;
    assert_eq!(read(&*log, &cursor).await, Err(GapReason::Epoch));
    let fresh = head(&*log).await;
    assert!(fresh.epoch().number > cursor.epoch().number);
    append(&*log, 2).await;
    assert_eq!(read(&*log, &fresh).await.expect("no gap").0, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_again_with_all_that_it_had_is_no_gap() {
    let mut broker = Broker::start(Protocol::Nats);
    let stream = stream(&broker);
    let (publisher, reader) = (open(&stream, "a"), open(&stream, "b"));
    let cursor = head(&*reader).await;
    append(&*publisher, 1).await;
    broker.stop();
    broker.restart();
    append(&*publisher, 2).await;
    let (records, _) = read(&*reader, &cursor).await.expect("no gap");
    assert_eq!(records, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_behind_a_purge_by_hand_is_told() {
    let broker = Broker::start(Protocol::Nats);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    append(&*log, 1).await;
    append(&*log, 2).await;
    call(&broker.url(), "STREAM.PURGE.tidings-shop", json!({})).await;
    read(&*log, &cursor).await.expect_err("a gap");
    let cursor = head(&*log).await;
    append(&*log, 3).await;
    assert_eq!(read(&*log, &cursor).await.expect("no gap").0, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retention_of_a_node_becomes_the_streams() {
    let broker = Broker::start(Protocol::Nats);
    let log = open(&stream(&broker), "a");
    head(&*log).await;
    log.prune(Duration::from_secs(60)).await.expect("pruned");
    let info = call(&broker.url(), "STREAM.INFO.tidings-shop", json!({})).await;
    assert_eq!(info["config"]["max_age"], 60_000_000_000_u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_would_drop_records_is_refused_until_it_is_mended() {
    let broker = Broker::start(Protocol::Nats);
    let mut config = json!({
        "name": STREAM, "subjects": ["tidings-log.shop"], "retention": "limits",
        "storage": "file", "discard": "old", "num_replicas": 1, "max_consumers": -1,
        "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": 3, "max_age": 0,
    });
    call(&broker.url(), "STREAM.CREATE.tidings-shop", config.clone()).await;
    let log = open(&stream(&broker), "a");
    let refused = log.head(None).await;
    let Err(LogError::Unfit { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("max_msgs_per_subject 3"), "{reason}");

    config["max_msgs_per_subject"] = json!(-1);
    call(&broker.url(), "STREAM.UPDATE.tidings-shop", config).await;
    head(&*log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_program_is_a_gap_in_its_place() {
    let broker = Broker::start(Protocol::Nats);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    let client = async_nats::connect(broker.url()).await.expect("connects");
    let taken = client.request("tidings-log.shop", "hello".into()).await;
    taken.expect("the stream takes it");
    append(&*log, 1).await;
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["Unreadable { entity: None }", "1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_ends_listeners_and_calls() {
    let broker = Broker::start(Protocol::Nats);
    let (tell, told) = tokio::sync::watch::channel(false);
    let address = hold_when_told(&broker, told).await;
    let clock = Arc::new(ManualClock::new());
    let needs = ApartNeeds {
        clock: Arc::clone(&clock) as _,
        ..crate::needs("a")
    };
    let stream = JetStream::new(&address, "shop").expect("an address");
    let log = stream.open(&needs).expect("no secrets");
    log.append(event(1)).await.expect("appended");
    let mut listener = log.listen().await.expect("it listens");
    log.append(event(2)).await.expect("appended");
    let heard = listener.next().await;
    assert!(heard.is_ok(), "while bytes pass it is heard");

    tell.send(true).expect("it is held");
    let mut heard = listener.next();
    let error = loop {
        clock.advance(Duration::from_secs(1));
        tokio::select! {
            biased;
            heard = &mut heard => break heard.expect_err("nothing was appended"),
            () = tokio::task::yield_now() => {}
        }
    };
    assert!(matches!(error, LogError::Unreachable(_)), "{error:?}");

    // A call may have taken effect.
    let mut appended = log.append(event(3));
    let error = loop {
        clock.advance(Duration::from_secs(1));
        tokio::select! {
            biased;
            appended = &mut appended => break appended.expect_err("held"),
            () = tokio::task::yield_now() => {}
        }
    };
    assert!(matches!(error, LogError::InDoubt(_)), "{error:?}");
}

#[test]
fn what_is_no_address_or_name_is_refused_and_no_password_is_shown() {
    for wrong in [
        "127.0.0.1:4222",
        "http://user:secret@host",
        "nats://user:secret@",
    ] {
        let error = JetStream::new(wrong, "shop").expect_err(wrong);
        let text = format!("{}", tidings_core::Chain(&error));
        assert!(matches!(error, StreamError::Address { .. }), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for wrong in ["", "a b", "a>", "a.b", "\u{e4}"] {
        let error = JetStream::new("nats://host", wrong).expect_err(wrong);
        assert!(matches!(error, StreamError::Name(_)), "{error}");
    }
    let stream = JetStream::new("nats://user:secret@host:1", "shop").expect("an address");
    assert!(!format!("{stream:?}").contains("secret"), "{stream:?}");
    for wrong in [0, 6] {
        let stream = JetStream::new("nats://host", "shop").expect("an address");
        let error = stream.replicas(wrong).expect_err("out of range");
        assert!(matches!(error, StreamError::Replicas(_)), "{error}");
    }
}
