//! Installing, removing, and noticing that a trigger is gone.

use tidings_core::{
    Field, Schema,
    log::{Body, Capture, Cursor, Incarnation, MemberId, Read, StartId},
};
use tidings_store::{KeptLog, Logging, sqlite::log::SqliteLogError};
use uuid::Uuid;

use crate::support::{Database, Reader, TABLES, at_head, log_of, schemas};

async fn look(reader: &mut Reader) -> (Vec<String>, Capture) {
    let received = reader.operations().await;
    let Read::Batch(batch) = reader.log.read(&reader.cursor, 10, None).await.unwrap() else {
        panic!("a gap");
    };
    (received, batch.sight.capture)
}

#[tokio::test]
async fn installing_again_changes_nothing_and_removing_leaves_the_tables() {
    let (database, store, mut reader) = at_head().await;
    let schema = database.sqlite3("PRAGMA schema_version;");
    let again = database
        .installer()
        .await
        .install(&schemas())
        .await
        .unwrap();
    assert_eq!(again.unchanged.len(), 2, "{again:?}");
    assert_eq!(database.sqlite3("PRAGMA schema_version;"), schema);
    assert!(
        database
            .installer()
            .await
            .status(&schemas())
            .await
            .unwrap()
            .is_in_place()
    );

    let refused = database.installer().await.remove().await;
    assert!(
        matches!(refused, Err(SqliteLogError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(look(&mut reader).await, (vec![], Capture::InPlace));
    store.close().await.unwrap();
    let removed = database.installer().await.remove().await.unwrap();
    assert_eq!(removed, ["consumers", "credentials"]);
    assert_eq!(database.installer().await.remove().await.unwrap(), [""; 0]);
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    let status = database.installer().await.status(&schemas()).await.unwrap();
    assert!(!status.is_in_place());
    assert!(
        status.to_string().contains("deletes: the trigger"),
        "{status}"
    );

    let installed = database
        .installer()
        .await
        .install(&schemas())
        .await
        .unwrap();
    assert_eq!(installed.changed.len(), 2);
}

#[tokio::test]
async fn a_dropped_trigger_is_seen_and_so_is_one_that_came_back() {
    let (database, _store, mut reader) = at_head().await;
    for trigger in [
        "before_insert",
        "before_update",
        "after_insert",
        "after_update",
        "after_delete",
    ] {
        database.sqlite3(&format!("DROP TRIGGER \"tidings:{trigger}:consumers\";"));
        let (received, capture) = look(&mut reader).await;
        assert!(!capture.is_in_place(), "{trigger}");
        assert_eq!(received, ["touched consumers"], "{trigger}");

        let _ = database
            .installer()
            .await
            .install(&schemas())
            .await
            .unwrap();
        let (received, capture) = look(&mut reader).await;
        assert!(capture.is_in_place(), "{trigger}");
        assert!(
            received.contains(&"touched consumers".to_owned()),
            "{trigger}: {received:?}"
        );
    }
    // Another table in place of the captured one, as after ALTER TABLE by hand.
    database.sqlite3(
        "CREATE TABLE made AS SELECT * FROM consumers; DROP TABLE consumers; ALTER TABLE made RENAME TO consumers;",
    );
    let (_, capture) = look(&mut reader).await;
    assert!(!capture.is_in_place());
}

#[tokio::test]
async fn capture_that_was_off_and_on_between_two_reads_is_told() {
    let (database, _store, mut reader) = at_head().await;
    let name = "tidings:after_insert:consumers";
    let sql = database.sqlite3(&format!(
        "SELECT sql FROM sqlite_schema WHERE name = '{name}';"
    ));
    database.sqlite3(&format!(
        "DROP TRIGGER \"{name}\"; INSERT INTO consumers VALUES ('1', 'ann', NULL); CREATE TABLE between_us (id);\
         {sql};"
    ));
    let (received, capture) = look(&mut reader).await;
    assert_eq!(received, ["touched consumers"]);
    assert!(capture.is_in_place());
}

/// A check whether the log answers is not a read, and hides nothing from the evicting reader.
#[tokio::test]
async fn capture_that_was_off_is_told_after_a_question_whether_the_log_answers() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    reader.log.answers().await.unwrap();
    let name = "tidings:after_insert:consumers";
    let sql = database.sqlite3(&format!(
        "SELECT sql FROM sqlite_schema WHERE name = '{name}';"
    ));
    database.sqlite3(&format!(
        "DROP TRIGGER \"{name}\"; INSERT INTO consumers VALUES ('2', 'bob', NULL); {sql};"
    ));
    let (received, _) = look(&mut reader).await;
    assert_eq!(received, ["create consumers \"1\"", "touched consumers"]);
}

/// The evicting reader.
fn member() -> MemberId {
    MemberId {
        node: "one".into(),
        start: StartId(Uuid::nil()),
        incarnation: Incarnation(1),
    }
}

/// Reads once. Returns the touched entities, and the cursor after them.
async fn touched(
    log: &dyn KeptLog,
    from: &Cursor,
    member: Option<&MemberId>,
) -> (Vec<String>, Cursor) {
    let Read::Batch(batch) = log.read(from, 10, member).await.expect("a read") else {
        panic!("a gap");
    };
    let touched = batch
        .records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Entity(entity) => Some(entity.to_string()),
            _ => None,
        });
    (touched.collect(), batch.cursor)
}

/// Handlers that are behind read the log again, not as a member. Their position may be the last one
/// of the evicting reader; that hides nothing from it.
#[tokio::test]
async fn capture_that_was_off_is_told_after_a_read_by_another_reader() {
    let (database, _store, reader) = at_head().await;
    let (log, member) = (reader.log, member());
    let read = async |from: &Cursor, member| touched(&*log, from, member).await;
    let before = log.head(Some(&member)).await.expect("a head").cursor;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    let (_, at) = read(&before, Some(&member)).await;
    let name = "tidings:after_insert:consumers";
    let sql = database.sqlite3(&format!(
        "SELECT sql FROM sqlite_schema WHERE name = '{name}';"
    ));

    // One reader sees it while it is off, and only the other once it is back.
    for (id, other) in [(2, &before), (3, &at), (4, &before)] {
        let unseen = format!("INSERT INTO consumers VALUES ('{id}', NULL, NULL)");
        database.sqlite3(&format!("DROP TRIGGER \"{name}\"; {unseen};"));
        assert_eq!(read(other, None).await.0, [""; 0]);
        database.sqlite3(&format!("{sql};"));
        assert_eq!(read(other, None).await.0, [""; 0]);
        assert_eq!(read(&at, Some(&member)).await.0, ["consumers"]);
        assert_eq!(read(&at, Some(&member)).await.0, [""; 0], "once");
    }
}

/// A read that failed has reported nothing, and hides nothing from the next.
#[tokio::test]
async fn capture_that_was_off_is_told_after_a_read_that_failed() {
    let (database, _store, reader) = at_head().await;
    let (log, member) = (reader.log, member());
    let at = log.head(Some(&member)).await.expect("a head").cursor;
    let name = "tidings:after_insert:consumers";
    let sql = database.sqlite3(&format!(
        "SELECT sql FROM sqlite_schema WHERE name = '{name}';"
    ));

    database.sqlite3(&format!(
        "DROP TRIGGER \"{name}\"; INSERT INTO consumers VALUES ('1', 'ann', NULL); {sql};\
         INSERT INTO tidings_members (node, start, incarnation) VALUES ('one', 'of another form', 1);"
    ));
    let failed = log.read(&at, 10, Some(&member)).await;
    assert!(failed.is_err(), "{failed:?}");
    database.sqlite3("DELETE FROM tidings_members;");
    assert_eq!(touched(&*log, &at, Some(&member)).await.0, ["consumers"]);
}

#[tokio::test]
async fn a_unique_index_that_triggers_do_not_know_is_no_capture() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3("CREATE UNIQUE INDEX by_note ON consumers (note);");
    assert!(!look(&mut reader).await.1.is_in_place());
    let _ = database
        .installer()
        .await
        .install(&schemas())
        .await
        .unwrap();
    assert!(look(&mut reader).await.1.is_in_place());
    database.sqlite3("CREATE UNIQUE INDEX by_length ON consumers (length(note));");
    let refused = database.installer().await.install(&schemas()).await;
    let Err(SqliteLogError::Incompatible { differences }) = refused else {
        panic!("{refused:?}");
    };
    assert!(differences[0].contains("by_length"), "{differences:?}");
}

#[tokio::test]
async fn what_cannot_be_captured_is_told_at_once_and_changes_nothing() {
    let database = Database::with("CREATE VIEW consumers AS SELECT 1 AS id;");
    let refused = database.installer().await.install(&schemas()).await;
    let Err(SqliteLogError::Incompatible { differences }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        differences,
        [
            "consumers is a view, whose changes no trigger can record",
            "there is no table credentials"
        ]
    );
    assert_eq!(
        database.sqlite3("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'tidings*';"),
        "0\n"
    );
}

/// A schema of `consumers` with some of its fields, including the user's name.
pub(crate) fn consumers(fields: &[&str]) -> &'static Schema {
    let schema = Schema::builder("consumers").field(Field::of::<String>("id").primary_key());
    let schema = fields.iter().fold(schema, |schema, name| {
        let field = Field::of::<Option<String>>(name);
        schema.field(match *name {
            "username" => field.unique(),
            _ => field,
        })
    });
    Box::leak(Box::new(schema.build()))
}

#[tokio::test]
async fn a_later_program_adds_fields_and_an_earlier_one_takes_none_away() {
    let (earlier, later) = (consumers(&["username"]), consumers(&["username", "note"]));
    let database = Database::captured(TABLES, &[earlier]).await;
    let store = database.store(Logging::On).await;
    let mut reader = Reader::over(log_of(&store, vec![later])).await;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', 'a');");
    assert!(
        look(&mut reader).await.1.is_in_place(),
        "all that its keys need is recorded"
    );

    let _ = database.installer().await.install(&[later]).await.unwrap();
    let kept = database
        .installer()
        .await
        .install(&[earlier])
        .await
        .unwrap();
    assert_eq!(kept.unchanged, ["consumers"]);
    let _ = reader.all().await;
    database.sqlite3("INSERT INTO consumers VALUES ('2', 'bob', 'b');");
    let received = reader.changes(later).await;
    assert_eq!(
        crate::support::text(received[0].new.as_ref(), 2).as_deref(),
        Some("b")
    );
}
