//! The log on a server in memory: the behaviour of every log, and the losses of a stream.

mod checker;
mod members;

use std::time::Duration;

use tidings_cluster::kit::conformance::{Subject, check};
use tidings_core::{
    entropy::{Entropy as _, SeededEntropy},
    log::{Body, Posted},
};
use uuid::Uuid;

use super::*;
use crate::kit::Memory;

pub(super) fn event(number: u64) -> Appended {
    Appended::Event(Posted {
        id: SeededEntropy::new(number).uuid(),
        origin: Some("a".into()),
        source: "test".into(),
        event: "happened".into(),
        payload: number.to_string().into(),
    })
}

/// Returns the payloads of the records beyond a cursor, and the cursor after them; or the gap.
pub(super) async fn read(
    log: &Numbered,
    from: &Cursor,
) -> Result<(Vec<String>, Cursor), GapReason> {
    match log.read(from, 1_000, None).await.expect("it answers") {
        Read::Gap(gap) => Err(gap.reason),
        Read::Batch(batch) => {
            let text = |body: &Body| match body {
                Body::Event(posted) => posted.payload.to_string(),
                other => format!("{other:?}"),
            };
            let read = batch.records.iter().map(|record| text(&record.body));
            Ok((read.collect(), batch.cursor))
        }
    }
}

pub(super) async fn head(log: &Numbered) -> Cursor {
    log.head(None).await.expect("it answers").cursor
}

async fn append(log: &Numbered, number: u64) -> Mark {
    log.append(event(number)).await.expect("appended")
}

struct InMemory(Memory);

impl Subject for InMemory {
    fn open(&self) -> Arc<dyn Log> {
        Arc::new(self.0.numbered("a"))
    }

    async fn trim(&self) {
        self.0.trim_to(1);
    }

    async fn end_epoch(&self) {
        self.0.delete_all();
    }

    async fn lose_newest(&self, records: usize) -> bool {
        self.0.lose(records);
        true
    }

    async fn recreate(&self) -> bool {
        self.0.delete_stream();
        true
    }

    fn largest(&self) -> Option<usize> {
        Some(256 << 10)
    }

    fn records(&self) -> usize {
        10_000
    }
}

#[tokio::test]
async fn a_stream_does_what_every_log_has_to_do() {
    check(async || InMemory(Memory::new())).await.assert_none();
}

#[tokio::test]
async fn a_lost_tail_that_no_reader_had_reached_is_told_by_the_node_that_appended_it() {
    let server = Memory::new();
    let (publisher, reader) = (server.numbered("a"), server.numbered("b"));
    append(&publisher, 1).await;
    let cursor = head(&reader).await;
    append(&publisher, 2).await;
    server.lose(1);

    // The reader alone cannot notice.
    assert_eq!(read(&reader, &cursor).await, Ok((vec![], cursor.clone())));
    let mark = append(&publisher, 3).await;
    assert_eq!(read(&reader, &cursor).await, Err(GapReason::Epoch));
    let fresh = head(&reader).await;
    assert!(fresh.covers(mark), "it was appended in the new epoch");
    assert!(fresh.epoch().number > cursor.epoch().number);
}

#[tokio::test]
async fn a_record_that_is_lost_right_after_its_acknowledgement_is_told() {
    let server = Memory::new();
    let (publisher, reader) = (server.numbered("a"), server.numbered("b"));
    append(&publisher, 1).await;
    let cursor = head(&reader).await;

    // The node is connected again before it has noted the acknowledged record.
    server.lose_next();
    let mark = append(&publisher, 2).await;
    assert_eq!(read(&reader, &cursor).await, Err(GapReason::Epoch));
    assert!(head(&reader).await.covers(mark));
}

#[tokio::test]
async fn an_idle_publisher_notices_by_the_next_read_of_its_own() {
    let server = Memory::new();
    let (publisher, reader) = (server.numbered("a"), server.numbered("b"));
    let (own, cursor) = (head(&publisher).await, head(&reader).await);
    append(&publisher, 1).await;
    server.lose(1);
    assert_eq!(read(&publisher, &own).await, Err(GapReason::Epoch));
    assert_eq!(read(&reader, &cursor).await, Err(GapReason::Epoch));
}

#[tokio::test]
async fn a_number_that_was_handed_out_again_is_told_from_the_one_that_was_read() {
    let server = Memory::new();
    let (reader, other) = (server.numbered("b"), server.numbered("c"));
    head(&reader).await;
    append(&other, 1).await;
    let cursor = head(&reader).await;
    // Lost with the node that had appended it; another node appends as many records.
    drop(other);
    server.lose(1);
    server.append_foreign(b"another record");
    server.append_foreign(b"and one more");

    let gap = read(&server.numbered("d"), &cursor).await;
    assert_eq!(
        gap,
        Err(GapReason::LostTail),
        "its number is there, and it is not"
    );
}

#[tokio::test]
async fn records_that_are_lost_while_the_connection_stays_end_the_epoch() {
    let server = Memory::new();
    let (publisher, reader) = (server.numbered("a"), server.numbered("b"));
    let cursor = head(&reader).await;
    append(&publisher, 1).await;
    let (_, cursor) = read(&reader, &cursor).await.expect("no gap");
    server.lose_unseen(1);
    server.append_foreign(b"another record");

    assert_eq!(read(&reader, &cursor).await, Err(GapReason::LostTail));
    let fresh = head(&reader).await;
    assert!(fresh.epoch().number > cursor.epoch().number);
}

#[tokio::test]
async fn a_cursor_that_was_made_up_ends_no_epoch() {
    let server = Memory::new();
    let reader = server.numbered("b");
    append(&reader, 1).await;
    let cursor = head(&reader).await;
    let Position::Numbered { last, .. } = *cursor.position() else {
        panic!("{cursor}");
    };
    for (last, id) in [(last, Uuid::nil()), (last + 9, Uuid::nil())] {
        let made_up = Cursor::numbered(cursor.epoch(), last, id);
        assert_eq!(read(&reader, &made_up).await, Err(GapReason::LostTail));
    }
    assert_eq!(head(&reader).await, cursor);
}

#[tokio::test]
async fn what_is_no_record_is_a_gap_in_its_place_and_the_rest_is_read() {
    let server = Memory::new();
    let log = server.numbered("a");
    let cursor = head(&log).await;
    append(&log, 1).await;
    server.append_foreign(b"");
    server.append_foreign(br#"{"v":2,"kind":"of later"}"#);
    append(&log, 2).await;

    let (read, cursor) = read(&log, &cursor).await.expect("records");
    let unreadable = "Unreadable { entity: None }";
    assert_eq!(read, ["1", unreadable, unreadable, "2"]);
    assert_eq!(
        super::tests::read(&log, &cursor).await,
        Ok((vec![], cursor))
    );
}

#[tokio::test]
async fn a_record_that_is_missing_in_the_middle_is_a_gap() {
    let server = Memory::new();
    let log = server.numbered("a");
    let cursor = head(&log).await;
    let mark = append(&log, 1).await;
    append(&log, 2).await;
    server.remove(mark.number());
    let gap = read(&log, &cursor).await;
    assert!(gap.is_err(), "{gap:?}");
}

#[tokio::test]
async fn a_node_that_lives_keeps_the_newest_record_young() {
    let server = Memory::new();
    let (log, reader) = (server.numbered("a"), server.numbered("b"));
    append(&log, 1).await;
    let mut cursor = head(&reader).await;
    let retention = Duration::from_secs(60);
    for _ in 0..10 {
        server.pass(retention / 4);
        log.prune(retention).await.expect("pruned");
        let (records, next) = read(&reader, &cursor).await.expect("no gap");
        assert_eq!(records, [""; 0], "a beat is no record to a reader");
        cursor = next;
    }
    // A reader that was away for longer than the retention gets a gap.
    let away = cursor;
    for _ in 0..6 {
        server.pass(retention / 4);
        log.prune(retention).await.expect("pruned");
    }
    assert_eq!(read(&reader, &away).await, Err(GapReason::Trimmed));
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable_and_nothing_is_lost() {
    let server = Memory::new();
    let log = server.numbered("a");
    let cursor = head(&log).await;
    append(&log, 1).await;
    server.stop();
    let refused = log.append(event(2)).await;
    assert!(
        matches!(refused, Err(LogError::Unreachable(_))),
        "{refused:?}"
    );
    assert!(log.read(&cursor, 10, None).await.is_err());
    server.start();
    let (read, _) = read(&log, &cursor).await.expect("no gap");
    assert_eq!(read, ["1"]);
}

#[tokio::test]
async fn a_record_beyond_the_limit_is_refused_with_both_numbers() {
    let log = Memory::new().numbered("a");
    let mut long = event(1);
    if let Appended::Event(posted) = &mut long {
        posted.payload = "x".repeat(300 << 10).into();
    }
    let refused = log.append(long).await;
    let Err(LogError::TooLarge { size, limit }) = refused else {
        panic!("{refused:?}");
    };
    assert!(size > 300 << 10 && limit == 256 << 10, "{size}, {limit}");
}

#[tokio::test]
async fn nodes_that_begin_at_once_begin_one_epoch() {
    let server = Memory::new();
    let heads = [server.numbered("a"), server.numbered("b")];
    let (one, other) = tokio::join!(head(&heads[0]), head(&heads[1]));
    assert_eq!(one.epoch(), other.epoch());
}
