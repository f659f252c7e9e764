//! The identity of the log, lost records, and pruned records.

use std::time::Duration;

use tidings_core::{
    clock::ManualClock,
    log::{GapReason, LogError, Read},
};
use tidings_store::{Error, Logging, Store};

use crate::support::{Database, Reader, TABLES, at_head, changes, log_at, log_of, schemas};

async fn gap(reader: &Reader) -> Option<GapReason> {
    match reader.log.read(&reader.cursor, 10, None).await.unwrap() {
        Read::Gap(gap) => Some(gap.reason),
        Read::Batch(_) => None,
    }
}

#[tokio::test]
async fn a_reader_opened_again_goes_on_in_the_same_epoch() {
    let (database, store, mut reader) = at_head().await;
    store.close().await.unwrap();
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    let store = database.store(Logging::On).await;
    let log = log_of(&store, schemas());
    let closed = reader.log.read(&reader.cursor, 10, None).await;
    assert!(matches!(closed, Err(LogError::Closed)), "{closed:?}");
    reader.log = log;
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> ann"]);
}

#[tokio::test]
async fn a_copied_file_is_another_epoch() {
    let (database, store, reader) = at_head().await;
    store.close().await.unwrap();
    let copy = Database::with("");
    std::fs::copy(database.path(), copy.path()).unwrap();
    let store = copy.store(Logging::On).await;
    let mut other = Reader::over(log_of(&store, schemas())).await;
    assert_ne!(other.cursor.epoch(), reader.cursor.epoch());
    assert!(other.cursor.epoch().number > reader.cursor.epoch().number);
    other.cursor = reader.cursor;
    assert_eq!(gap(&other).await, Some(GapReason::Epoch));
}

#[tokio::test]
async fn a_head_is_taken_while_another_program_holds_the_file() {
    let database = Database::captured(TABLES, &schemas()).await;
    let store = database.store(Logging::On).await;
    let mut reader = Reader::over(log_of(&store, schemas())).await;
    // The last record of the last commit is unknown, and nothing can be written.
    database.sqlite3("PRAGMA wal_checkpoint(TRUNCATE);");
    let holder = database.held();
    let head = reader.log.head(None).await.expect("it is only read");
    assert_eq!(head.cursor, reader.cursor);

    drop(holder);
    reader.cursor = reader.log.head(None).await.expect("a head").cursor;
    database.sqlite3(
        "BEGIN; INSERT INTO consumers VALUES ('1', 'a', NULL);\
         UPDATE consumers SET username = 'b'; COMMIT;",
    );
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> b"]);
}

#[tokio::test]
async fn a_file_that_was_put_back_in_place_has_lost_its_newest_records() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    let backup = database.directory.path().join("backup.db");
    database.sqlite3(&format!(".backup {}", backup.display()));
    database.sqlite3("INSERT INTO consumers VALUES ('2', 'bob', NULL);");
    let _ = reader.all().await;
    let before = reader.cursor.epoch();

    // Restored, and continued to the same number.
    database.sqlite3(&format!(
        ".restore {}\nINSERT INTO consumers VALUES ('3', 'cid', NULL);",
        backup.display()
    ));
    assert_eq!(gap(&reader).await, Some(GapReason::LostTail));
    let after = reader.log.head(None).await.unwrap().cursor;
    assert!(after.epoch().number > before.number);
    assert_eq!(
        gap(&reader).await,
        Some(GapReason::Epoch),
        "marks of before mean nothing"
    );
}

/// The reader keeps its connection throughout.
// CL11
#[tokio::test]
async fn a_log_that_was_deleted_and_made_again_is_a_gap_for_a_reader_that_stayed() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> ann"]);

    database.python(
        "ours = db.execute(\"SELECT type, name FROM sqlite_schema WHERE name LIKE 'tidings%' \"\n\
         \x20   \"AND type IN ('trigger', 'table') ORDER BY type DESC\").fetchall()\n\
         for kind, name in ours: db.execute(f'DROP {kind} \"{name}\"')\n",
    );
    let made = database.installer().await.install(&schemas()).await;
    assert!(!made.unwrap().changed.is_empty());
    database.sqlite3("INSERT INTO consumers VALUES ('2', 'bob', NULL);");

    assert_eq!(gap(&reader).await, Some(GapReason::Epoch));
    let mut later = Reader::over(reader.log).await;
    assert_ne!(later.cursor.epoch(), reader.cursor.epoch());
    database.sqlite3("INSERT INTO consumers VALUES ('3', 'cid', NULL);");
    assert_eq!(changes(&mut later, 0, 1).await, ["create - -> cid"]);
}

#[tokio::test]
async fn a_file_that_was_removed_is_not_read_any_more() {
    let (database, _store, reader) = at_head().await;
    std::fs::remove_file(database.path()).unwrap();
    let failed = reader.log.read(&reader.cursor, 10, None).await;
    assert!(failed.is_err(), "{failed:?}");
}

#[tokio::test]
async fn pruning_keeps_the_retention_and_the_newest_record() {
    let database = Database::captured(TABLES, &schemas()).await;
    let store = database.store(Logging::On).await;
    let clock = ManualClock::new();
    let mut late = Reader::over(log_at(&store, schemas(), &clock)).await;
    let hour = Duration::from_secs(3_600);
    database.python(
        "for i in range(2500): db.execute('INSERT INTO credentials VALUES (?, ?, NULL)', (i, str(i)))\n",
    );
    assert_eq!(late.log.prune(hour).await.unwrap(), 0);
    clock.advance(hour - Duration::from_secs(1));
    assert_eq!(late.log.prune(hour).await.unwrap(), 0);
    assert_eq!(gap(&late).await, None);

    clock.advance(Duration::from_secs(1));
    assert!(late.log.prune(hour).await.unwrap() >= 2_499);
    assert_eq!(database.sqlite3("SELECT count(*) FROM tidings_log;"), "1\n");
    assert_eq!(
        database.sqlite3("SELECT count(*) FROM \"tidings_log:credentials\";"),
        "1\n"
    );
    assert_eq!(gap(&late).await, Some(GapReason::Trimmed));
    let head = late.log.head(None).await.unwrap();
    late.cursor = head.cursor;
    assert_eq!(gap(&late).await, None);
    assert_eq!(late.log.prune(hour).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_in_memory_keeps_no_log() {
    let opened = Store::options("sqlite::memory:")
        .logging(Logging::On)
        .open()
        .await;
    assert!(
        matches!(
            opened,
            Err(Error::Setting {
                option: "logging",
                ..
            })
        ),
        "{opened:?}"
    );
    let store = Store::open("sqlite::memory:").await.unwrap();
    assert!(store.log(crate::support::needs(schemas())).is_none());
}
