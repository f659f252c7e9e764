//! Installing, checking and removing the triggers.

use tidings_core::{
    Field, Schema,
    log::{Body, Capture, Log as _, Read, Sealed},
};
use tidings_store::postgres::log::{InstallOptions, PgLogError, Wake, install, remove, status};
use tidings_testkit::Server;

use crate::support::{Reader, captured, log_of, run, schemas};

#[tokio::test]
async fn installing_twice_touches_nothing() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    let mut connection = database.connect().await;
    let again = install(&mut connection, &schemas(), InstallOptions::default()).await;
    let again = again.expect("captured");
    assert_eq!((again.changed.len(), again.unchanged.len()), (0, 5));
    assert_eq!(reader.operations().await, [""; 0]);
    let status = status(&mut connection, &schemas()).await.expect("a status");
    assert!(status.is_in_place(), "{status}");
}

/// A schema of `numbers` with fewer fields, or with one more.
pub(crate) fn numbers(fields: &[&str]) -> &'static Schema {
    let schema = Schema::builder("numbers").field(Field::of::<i64>("id").primary_key());
    let schema = fields.iter().fold(schema, |schema, name| {
        schema.field(Field::of::<Option<String>>(name))
    });
    Box::leak(Box::new(schema.build()))
}

#[tokio::test]
async fn the_functions_name_the_union_of_the_fields() {
    let database = captured().await;
    database.psql("alter table numbers add column further text");
    let mut connection = database.connect().await;
    let (narrow, wide) = (numbers(&[]), numbers(&["text", "further"]));
    let options = InstallOptions::default();
    let narrowed = install(&mut connection, &[narrow], options).await;
    assert_eq!(narrowed.expect("captured").changed, [""; 0]);
    let widened = install(&mut connection, &[wide], options).await;
    assert_eq!(
        widened.expect("captured").changed,
        [""; 0],
        "the triggers stay, the function changes"
    );

    let mut reader = Reader::of(log_of(&database, vec![wide])).await;
    database.psql("insert into numbers values (1, 'one', 'more')");
    let changes = reader.changes(wide).await;
    let row = changes[0].new.as_ref().expect("a row");
    assert_eq!(row.0, [1_i64.into(), "one".into(), "more".into()]);
}

/// On the server on which a dump is restored, a table may have the number of any other one.
#[tokio::test]
async fn a_capture_from_a_dump_goes_on_with_the_table_of_its_name() {
    let database = captured().await;
    let mut connection = database.connect().await;
    database.psql("alter table numbers add column further text");
    let wide = numbers(&["text", "further"]);
    let widened = install(&mut connection, &[wide], InstallOptions::default()).await;
    let _ = widened.expect("captured");
    database.psql(
        "update tidings.captures set relation = 'credentials'::regclass where entity = 'numbers'",
    );

    let again = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(again.expect("captured").changed, [""; 0]);
    let mut reader = Reader::of(log_of(&database, vec![wide])).await;
    database.psql("insert into numbers values (1, 'one', 'more')");
    let changes = reader.changes(wide).await;
    let row = changes[0].new.as_ref().expect("a row");
    assert_eq!(row.0, [1_i64.into(), "one".into(), "more".into()]);
}

#[tokio::test]
async fn what_does_not_fit_is_told_at_once_and_nothing_is_done() {
    let database = Server::shared().database().await;
    database.psql(
        "create view consumers as select 1 as id; create table numbers (id bigint primary key)",
    );
    let mut connection = database.connect().await;
    let refused = install(&mut connection, &schemas(), InstallOptions::default()).await;
    let Err(PgLogError::Incompatible { differences }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        differences,
        [
            "consumers lacks the column username",
            "consumers lacks the column note",
            "public.consumers is a view, whose changes no trigger can record",
            "there is no table credentials in the search path",
            "numbers lacks the column text",
        ]
    );
    let triggers = database.psql("select count(*) from pg_trigger where tgname like 'tidings%'");
    assert_eq!(triggers.trim(), "0");
}

/// CL19, the log's side: the next read detects each way to disable capture, and when capture is
/// back, the entity is touched.
#[tokio::test]
async fn capture_that_is_taken_away_is_seen_by_the_next_read() {
    for harm in [
        "alter table consumers disable trigger tidings_update",
        "alter table consumers enable trigger tidings_update",
        "alter table consumers enable replica trigger tidings_update",
        "drop trigger tidings_insert on consumers",
        "drop function tidings.consumers_delete cascade",
        "create or replace function tidings.consumers_delete() returns trigger language plpgsql \
           as 'begin return null; end'",
        "alter table consumers rename to others",
        "create table numbers_middle (like numbers); alter table numbers_middle add primary key (id); \
         alter table numbers detach partition numbers_high; \
         alter table numbers attach partition numbers_middle for values from (100) to (200)",
    ] {
        let database = captured().await;
        let mut reader = Reader::at_head(&database).await;
        assert_eq!(reader.operations().await, [""; 0], "{harm}");
        database.psql(harm);

        let (touched, capture) = look(&mut reader).await;
        assert!(
            matches!(capture, Capture::Missing { .. }),
            "{harm}: {capture:?}"
        );
        assert_eq!(touched.len(), 1, "{harm}: {touched:?}");
        let mut connection = database.connect().await;
        let received = status(&mut connection, &schemas()).await.expect("a status");
        assert!(!received.is_in_place(), "{harm}: {received}");

        if harm.contains("rename") {
            database.psql("alter table others rename to consumers");
        }
        let mended = install(&mut connection, &schemas(), InstallOptions::default()).await;
        let _ = mended.expect("mended");
        let (touched, capture) = look(&mut reader).await;
        let (more, later) = look(&mut reader).await;
        assert_eq!(
            (capture, later),
            (Capture::InPlace, Capture::InPlace),
            "{harm}"
        );
        assert!(!touched.is_empty() || harm.contains("rename"), "{harm}");
        assert_eq!(more, [""; 0], "{harm}");
    }
}

#[tokio::test]
async fn capture_that_was_off_and_on_again_between_two_reads_is_seen() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql(
        "alter table numbers disable trigger tidings_insert; insert into numbers values (1); \
         alter table numbers enable always trigger tidings_insert",
    );
    let (touched, capture) = look(&mut reader).await;
    assert_eq!(
        (touched, capture),
        (vec!["numbers".to_owned()], Capture::InPlace)
    );
    assert_eq!(look(&mut reader).await.0, [""; 0]);
}

/// A check whether the log answers is not a read, and hides nothing from the evicting reader.
#[tokio::test]
async fn capture_that_was_off_is_seen_after_a_question_whether_the_log_answers() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("insert into numbers values (1)");
    reader.log.answers().await.expect("it answers");
    database.psql(
        "alter table numbers disable trigger tidings_insert; insert into numbers values (2); \
         alter table numbers enable always trigger tidings_insert",
    );
    assert_eq!(look(&mut reader).await.0, ["numbers"]);
}

async fn look(reader: &mut Reader) -> (Vec<String>, Capture) {
    let read = reader
        .log
        .read(&reader.cursor, 1_000, None)
        .await
        .expect("a read");
    let Read::Batch(batch) = read else {
        panic!("a gap");
    };
    reader.cursor = batch.cursor;
    let touched = batch
        .records
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Entity(entity) => Some(entity.to_string()),
            _ => None,
        });
    (touched.collect(), batch.sight.capture)
}

#[tokio::test]
async fn removing_leaves_the_log_and_no_trigger() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    let mut connection = database.connect().await;
    let mut node = database.connect().await;
    run(
        &mut node,
        "select pg_advisory_lock_shared(hashtextextended('tidings node', 0))",
    )
    .await;
    let refused = remove(&mut connection).await;
    assert!(
        matches!(refused, Err(PgLogError::Refused { .. })),
        "{refused:?}"
    );
    run(
        &mut node,
        "select pg_advisory_unlock_shared(hashtextextended('tidings node', 0))",
    )
    .await;
    let removed = remove(&mut connection).await.expect("removed");
    assert_eq!(removed.len(), 5, "{removed:?}");
    database.psql("insert into numbers values (1)");
    let mut received = reader.operations().await;
    received.sort();
    received.dedup();
    assert_eq!(
        received,
        [
            "touched consumers",
            "touched credentials",
            "touched numbers"
        ]
    );
    assert_eq!(remove(&mut connection).await.expect("removed"), [""; 0]);
    let again = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(again.expect("captured").changed.len(), 5);
}

#[tokio::test]
async fn notify_is_refused_where_prepared_transactions_are_in_use_unless_forced() {
    let database = captured().await;
    let mut connection = database.connect().await;
    let options = |wake| InstallOptions { wake };
    let refused = install(&mut connection, &schemas(), options(Wake::Notify)).await;
    assert!(
        matches!(refused, Err(PgLogError::Refused { .. })),
        "{refused:?}"
    );
    let forced = install(&mut connection, &schemas(), options(Wake::NotifyAtAnyPrice)).await;
    let _ = forced.expect("installed");
    let received = status(&mut connection, &schemas()).await.expect("a status");
    assert!(received.notify && received.is_in_place());

    let log = log_of(&database, schemas());
    let mut listener = log.listen().await.expect("a listener");
    database.psql("insert into numbers values (1)");
    listener.next().await.expect("woken by the trigger");

    let polled = install(&mut connection, &schemas(), options(Wake::Poll)).await;
    let _ = polled.expect("installed");
    database.psql(
        "begin; insert into numbers values (2); prepare transaction 'p'; rollback prepared 'p'",
    );
}

#[tokio::test]
async fn sealed_commits_are_heard_as_they_were_sent() {
    let database = captured().await;
    let [log, other] = [(); 2].map(|()| log_of(&database, schemas()));
    let mut listener = other.listen().await.expect("a listener");
    let longest = format!("c1.{}", "a".repeat(Sealed::LONGEST - 3));
    for word in ["c1.a-_Z9 c1.b", &longest, "reported"] {
        let sent = tidings_core::log::Wake::of_word(word);
        assert_eq!(sent.word(), word);
        log.wake(sent.clone());
        assert_eq!(listener.next().await.expect("a wake-up"), sent);
    }
}

#[tokio::test]
async fn a_subscribed_table_gets_row_triggers() {
    let database = captured().await;
    // The publisher need not exist: the table only has to be listed as subscribed.
    database.psql(
        "create subscription s connection 'host=127.0.0.1 port=1' publication p with (connect = false); \
         set allow_system_table_mods = on; \
         insert into pg_subscription_rel select oid, 'numbers_low'::regclass, 'r', null from pg_subscription \
           where subname = 's' and subdbid = (select oid from pg_database where datname = current_database())",
    );
    let mut reader = Reader::at_head(&database).await;
    let (_, capture) = look(&mut reader).await;
    assert!(matches!(capture, Capture::Missing { .. }));
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(installed.expect("captured").changed, ["public.numbers_low"]);
    let (_, capture) = look(&mut reader).await;
    assert_eq!(capture, Capture::InPlace);

    database.psql(
        "insert into numbers_low values (1, 'a'), (2, 'b'); update numbers_low set text = 'c' where id = 1; \
         update numbers_low set text = text; delete from numbers_low where id = 2; truncate numbers_low",
    );
    assert_eq!(
        reader.operations().await,
        [
            "create numbers 1",
            "create numbers 2",
            "update numbers 1",
            "delete numbers 2",
            "touched numbers"
        ]
    );
    database.psql("alter subscription s disable; alter subscription s set (slot_name = none); drop subscription s");
}
