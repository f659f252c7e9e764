//! The engine on a real server.

use serde_json::json;
use tidings_core::{
    clock::{Clock, ManualClock, SystemClock},
    spawn::CurrentRuntime,
};
use tidings_testkit::{Broker, Protocol};
use uuid::Uuid;

use super::*;
use crate::{nats::JetStreamServer, stream::Server as _};

const FIRST: Epoch = Epoch {
    number: 1,
    id: Uuid::from_u128(1),
};
const SECOND: Epoch = Epoch {
    number: 2,
    id: Uuid::from_u128(2),
};

fn engine(broker: &Broker) -> JetStreamEngine {
    engine_by(broker, Arc::new(SystemClock::new()))
}

fn engine_by(broker: &Broker, clock: Arc<dyn Clock>) -> JetStreamEngine {
    let server = JetStreamServer::read(&broker.url(), "a").expect("an address");
    let needs = Needs {
        clock,
        spawn: Arc::new(CurrentRuntime),
        largest: 256 << 10,
    };
    let shape = Shape::new(&server.cluster, server.replicas, needs.largest);
    JetStreamEngine::new(server.address, shape, needs)
}

async fn begun(broker: &Broker) -> JetStreamEngine {
    let engine = engine(broker);
    let begun = engine.begin(None, FIRST, b"begin").await.expect("begins");
    assert_eq!(begun, Begun::At(1));
    engine
}

/// Appends records, each with its number in it.
async fn append(engine: &JetStreamEngine, numbers: std::ops::RangeInclusive<u64>, size: usize) {
    for number in numbers {
        let appended = engine.append(FIRST, &record(number, size)).await;
        assert_eq!(appended.expect("appends"), Appended::At(number));
    }
}

fn record(number: u64, size: usize) -> Vec<u8> {
    format!("{number:0size$}").into_bytes()
}

/// Retries while the server is away.
async fn when_back<T, F: Future<Output = Result<T, LogError>>>(question: impl Fn() -> F) -> T {
    loop {
        match question().await {
            Ok(answer) => return answer,
            Err(LogError::Unreachable(_) | LogError::InDoubt(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn call(engine: &JetStreamEngine, call: &str, question: serde_json::Value) {
    let subject = format!("$JS.API.{call}");
    let question = question.to_string().into();
    let answer = engine.api.link.request(subject, None, question).await;
    let answer = answer.expect("the server answers").payload;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.contains("\"error\""), "{answer}");
}

fn numbers(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.number).collect()
}

#[tokio::test]
async fn pages_follow_each_other_and_say_what_is_left() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=25, 8).await;

    let mut from = 1;
    for expected in [1..=10, 10..=19, 19..=25, 25..=25] {
        let page = engine.read(from, 10, 1 << 20, &[]).await.expect("reads");
        assert_eq!(numbers(&page), expected.collect::<Vec<_>>());
        assert_eq!((page.epoch, page.first, page.last), (Some(FIRST), 1, 25));
        for entry in page.entries.iter().filter(|entry| entry.number > 1) {
            assert_eq!(entry.bytes, record(entry.number, 8));
        }
        from = page.entries.last().expect("has one").number;
    }

    // One line serves all reads, and another reader's position has a line of its own.
    append(&engine, 26..=26, 8).await;
    let page = engine.read(25, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [25, 26]);
    let page = engine.read(3, 2, 1 << 20, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [3, 4]);
    let page = engine.read(30, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!((numbers(&page), page.last), (vec![], 26));
}

#[tokio::test]
async fn a_page_holds_roughly_so_many_bytes_and_one_record_at_least() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=9, 4_000).await;

    let page = engine.read(2, 100, 10_000, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [2, 3, 4]);
    // Smaller than any record, so the page has the record at the cursor, and one beyond it.
    let page = engine.read(4, 100, 100, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [4, 5]);
}

#[tokio::test]
async fn a_consumer_that_is_gone_is_replaced() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=3, 8).await;
    let page = engine.read(1, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [1, 2, 3]);

    let line = engine
        .lines
        .take(4, engine.connections(), engine.needs.clock.now());
    let line = line.expect("it is kept");
    let subject = format!("CONSUMER.DELETE.{}.{}", engine.shape.stream, line.name());
    call(&engine, &subject, json!({})).await;
    engine.lines.put(line, &*engine.needs.clock);

    append(&engine, 4..=5, 8).await;
    let page = engine.read(3, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!(numbers(&page), [3, 4, 5]);
}

#[tokio::test]
async fn an_append_of_another_epoch_is_told_so() {
    let broker = Broker::start(Protocol::Nats);
    let (one, other) = (begun(&broker).await, engine(&broker));
    let moved = other.append(SECOND, b"x").await.expect("is answered");
    assert_eq!(moved, Appended::Moved);

    let begun = other
        .begin(None, SECOND, b"begin")
        .await
        .expect("is answered");
    assert_eq!(begun, Begun::Is(Some(FIRST)));
    let begun = other
        .begin(Some(FIRST), SECOND, b"begin")
        .await
        .expect("begins");
    assert!(matches!(begun, Begun::At(_)), "{begun:?}");
    let moved = one.append(FIRST, b"y").await.expect("is answered");
    assert_eq!(moved, Appended::Moved);
}

#[tokio::test]
async fn of_several_that_begin_an_epoch_one_succeeds() {
    let broker = Broker::start(Protocol::Nats);
    let engines: Vec<_> = (0..4).map(|_| engine(&broker)).collect();
    let begins = engines.iter().zip(1..).map(async |(engine, number)| {
        let epoch = Epoch::new(number, Uuid::from_u128(number.into()));
        engine
            .begin(None, epoch, b"begin")
            .await
            .expect("is answered")
    });
    let begun = futures_util::future::join_all(begins).await;
    let won = begun.iter().filter(|begun| matches!(begun, Begun::At(_)));
    assert_eq!(won.count(), 1, "{begun:?}");
    let epoch = engines[0].look().await.expect("looks").epoch;
    for begun in begun {
        assert!(
            matches!(begun, Begun::At(_)) || begun == Begun::Is(epoch),
            "{begun:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_was_made_again_has_no_epoch() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=9, 8).await;
    engine.read(1, 5, 1 << 20, &[]).await.expect("reads");
    call(&engine, "STREAM.DELETE.tidings-a", json!({})).await;

    let page = engine.read(5, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!((page.epoch, page.last, page.entries), (None, 0, vec![]));
    let moved = engine.append(FIRST, b"x").await.expect("is answered");
    assert_eq!(moved, Appended::Moved);

    let begun = engine.begin(None, SECOND, b"begin").await.expect("begins");
    assert!(matches!(begun, Begun::At(_)), "{begun:?}");
    assert_eq!(engine.look().await.expect("looks").epoch, Some(SECOND));
}

#[tokio::test]
async fn a_stream_whose_bucket_is_gone_has_no_epoch() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    call(&engine, "STREAM.DELETE.KV_tidings-a", json!({})).await;
    let look = engine.look().await.expect("looks");
    assert_eq!((look.epoch, look.first), (None, 1));
}

/// A server forgets a stream before it has removed the stream's files.
#[tokio::test]
async fn what_was_deleted_is_made_again_after_a_moment_alone() {
    let broker = Broker::start(Protocol::Nats);
    let clock = ManualClock::new();
    let engine = engine_by(&broker, Arc::new(clock.clone()));
    engine
        .look()
        .await
        .expect("a stream that never was is made");
    for stream in ["tidings-a", "KV_tidings-a"] {
        call(&engine, &format!("STREAM.DELETE.{stream}"), json!({})).await;
        let mut look = std::pin::pin!(engine.look());
        for _ in 0..20 {
            let info = engine.api.info(stream);
            let gone = tokio::select! {
                biased;
                _ = &mut look => panic!("{stream} was made at once"),
                info = info => info.expect_err("it is deleted"),
            };
            assert!(gone.has_no_stream(), "{gone:?}");
        }
        clock.advance(Duration::from_millis(500));
        look.await.expect("it is made again");
    }
}

/// Like a bucket whose files the server has removed.
#[tokio::test]
async fn a_bucket_that_does_not_hold_the_epoch_is_named() {
    let broker = Broker::start(Protocol::Nats);
    let engine = engine(&broker);
    engine.look().await.expect("looks");
    let held = engine.check_held(FIRST).await.expect_err("nothing is held");
    let LogError::Unfit { reason } = held else {
        panic!("{held:?}");
    };
    assert!(
        reason.contains("KV_tidings-a") && reason.contains("delete it"),
        "{reason}"
    );
    engine.begin(None, FIRST, b"begin").await.expect("begins");
    engine.check_held(FIRST).await.expect("it is held");
}

#[tokio::test]
async fn purged_records_are_not_there() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=9, 8).await;
    call(&engine, "STREAM.PURGE.tidings-a", json!({ "keep": 2 })).await;

    let page = engine.read(3, 10, 1 << 20, &[]).await.expect("reads");
    assert_eq!((page.first, page.last, numbers(&page)), (8, 9, vec![8, 9]));
    call(&engine, "STREAM.PURGE.tidings-a", json!({})).await;
    let look = engine.look().await.expect("looks");
    assert_eq!((look.first, look.newest), (10, None));
    append(&engine, 10..=10, 8).await;
}

#[tokio::test]
async fn a_killed_server_keeps_what_it_acknowledged() {
    let mut broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=9, 8).await;
    engine.read(1, 20, 1 << 20, &[]).await.expect("reads");
    let connections = engine.connections();

    broker.stop();
    let away = engine.look().await.expect_err("the server is away");
    assert!(matches!(away, LogError::Unreachable(_)), "{away}");
    broker.restart();

    let page = when_back(|| engine.read(4, 20, 1 << 20, &[])).await;
    assert_eq!(
        (page.epoch, numbers(&page)),
        (Some(FIRST), (4..=9).collect())
    );
    assert!(engine.connections() > connections);
    append(&engine, 10..=10, 8).await;
}

#[tokio::test]
async fn a_lost_tail_is_seen_and_its_numbers_are_handed_out_again() {
    let mut broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    append(&engine, 2..=100, 400).await;
    let before = engine.read(99, 1, 1 << 20, &[]).await.expect("reads");

    broker.stop();
    // As after a power failure: the newest block was not completely on the disk.
    let blocks = broker.blocks("tidings-a");
    let newest = blocks.last().expect("there is one");
    let file = std::fs::OpenOptions::new().write(true).open(newest);
    let file = file.expect("it can be written");
    let length = file.metadata().expect("it has a length").len();
    file.set_len(length - 5_000).expect("it can be cut");
    drop(file);
    broker.restart();

    let look = when_back(|| engine.look()).await;
    let last = look.newest.expect("there is one").number;
    assert!((50..99).contains(&last), "{last}");
    assert_eq!(look.epoch, Some(FIRST), "the server does not tell");
    let again = engine.append(FIRST, b"another").await.expect("appends");
    assert_eq!(again, Appended::At(last + 1));
    append(&engine, last + 2..=100, 401).await;
    let after = engine.read(99, 1, 1 << 20, &[]).await.expect("reads");
    assert_ne!(before.entries, after.entries);
}

#[tokio::test]
async fn values_are_written_if_they_are_as_expected() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    let replace = async |expected, value| {
        let written = engine.replace("member.61", expected, value).await;
        written.expect("is answered")
    };
    assert_eq!(engine.value("member.61").await.expect("reads"), None);
    assert_eq!(replace(Expected::Revision(7), Some("x")).await, Written::No);
    assert_eq!(replace(Expected::Absent, Some("one")).await, Written::Yes);
    assert_eq!(replace(Expected::Absent, Some("x")).await, Written::No);
    let held = engine
        .value("member.61")
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(held.value, "one");

    assert_eq!(replace(Expected::Any, Some("two")).await, Written::Yes);
    assert_eq!(
        replace(Expected::Revision(held.revision), None).await,
        Written::No
    );
    let page = engine
        .read(1, 1, 1 << 20, &["demand", "member.61"])
        .await
        .expect("reads");
    assert_eq!(page.values, [None, Some("two".to_owned())]);

    assert_eq!(replace(Expected::Any, None).await, Written::Yes);
    assert_eq!(engine.value("member.61").await.expect("reads"), None);
    assert_eq!(replace(Expected::Absent, Some("three")).await, Written::Yes);
    let again = engine
        .value("member.61")
        .await
        .expect("reads")
        .expect("is there");
    assert!(again.revision > held.revision);
}

#[tokio::test]
async fn a_removed_value_leaves_nothing_in_the_bucket() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    for number in 0..100 {
        let name = format!("report.{number}");
        let written = engine.replace(&name, Expected::Absent, Some("x")).await;
        assert_eq!(written.expect("is answered"), Written::Yes);
    }
    let all = engine.values().await.expect("lists");
    assert_eq!(all.len(), 100);
    for (name, held) in &all[1..] {
        let written = engine
            .replace(name, Expected::Revision(held.revision), None)
            .await;
        assert_eq!(written.expect("is answered"), Written::Yes);
    }

    assert_eq!(engine.values().await.expect("lists"), all[..1]);
    let info = engine
        .api
        .info_of(&engine.shape.bucket, "$KV.tidings-a.>")
        .await;
    let subjects = info.expect("is answered").state.subjects;
    assert_eq!(subjects.len(), 2, "{subjects:?}"); // the epoch's too
}

#[tokio::test]
async fn a_note_of_a_removed_value_that_was_left_is_no_value() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    let note = engine
        .api
        .publish("$KV.tidings-a.demand", headers, Vec::new())
        .await;
    note.expect("is taken");

    assert_eq!(engine.value("demand").await.expect("reads"), None);
    assert_eq!(engine.values().await.expect("lists"), []);
    let written = engine.replace("demand", Expected::Absent, Some("1")).await;
    assert_eq!(written.expect("is answered"), Written::Yes);
}

#[tokio::test]
async fn a_listener_hears_records_and_nudges_and_ends_with_its_server() {
    let mut broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    let mut listener = engine.listen().await.expect("listens");
    append(&engine, 2..=2, 8).await;
    assert_eq!(listener.next().await.expect("hears"), Wake::Look);
    engine.nudge(Wake::Reported);
    assert_eq!(listener.next().await.expect("hears"), Wake::Reported);

    // More than one request asks for.
    append(&engine, 3..=600, 8).await;
    let mut newest = 0;
    while newest < 600 {
        listener.next().await.expect("hears");
        newest = engine
            .look()
            .await
            .expect("looks")
            .newest
            .expect("has one")
            .number;
    }

    broker.stop();
    while listener.next().await.is_ok() {}
}

#[tokio::test]
async fn the_retention_becomes_the_streams() {
    let broker = Broker::start(Protocol::Nats);
    let engine = begun(&broker).await;
    for seconds in [3_600, 60, 60] {
        let removed = engine.trim(Duration::from_secs(seconds)).await;
        assert_eq!(removed.expect("is answered"), 0);
        let info = engine
            .api
            .info(&engine.shape.stream)
            .await
            .expect("is there");
        assert_eq!(info.config["max_age"], seconds * 1_000_000_000);
        assert_eq!(info.config["deny_delete"], true);
    }
    append(&engine, 2..=2, 8).await;
}

#[tokio::test]
async fn a_stream_that_would_drop_records_is_refused() {
    let broker = Broker::start(Protocol::Nats);
    let engine = engine(&broker);
    let config = json!({
        "name": "tidings-a", "subjects": ["tidings-log.a"], "retention": "limits",
        "storage": "memory", "discard": "old", "num_replicas": 1, "max_consumers": -1,
        "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": 3, "max_age": 0,
    });
    call(&engine, "STREAM.CREATE.tidings-a", config).await;

    let refused = engine.look().await.expect_err("it does not fit");
    let LogError::Unfit { reason } = refused else {
        panic!("{refused}");
    };
    assert!(reason.contains("max_msgs_per_subject 3"), "{reason}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_answer() {
    let mut broker = Broker::start(Protocol::Nats);
    broker.stop();
    let engine = engine(&broker);
    let away = engine
        .append(FIRST, b"x")
        .await
        .expect_err("no one is there");
    assert!(matches!(away, LogError::Unreachable(_)), "{away}");
    assert!(engine.listen().await.is_err());
    assert_eq!(engine.connections(), 0);
    broker.restart();
    when_back(|| engine.look()).await;
    assert_eq!(engine.connections(), 1);
}
