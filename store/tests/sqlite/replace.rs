//! `REPLACE` and its relatives, under settings that change what SQLite fires.

use tidings_store::Logging;

use crate::support::{Database, Reader, at_head, changes, log_of, schemas};

const SETTINGS: [&str; 2] = ["", "PRAGMA recursive_triggers = ON;"];

#[tokio::test]
async fn a_row_that_is_replaced_under_its_own_key_is_an_update() {
    for settings in SETTINGS {
        let (database, _store, mut reader) = at_head().await;
        database.sqlite3(&format!(
            "{settings} INSERT INTO consumers VALUES ('1', 'ann', 'a');\
             REPLACE INTO consumers VALUES ('1', 'ann', 'b');"
        ));
        // Otherwise SQLite fires the delete triggers too: the row is deleted and created again in
        // one transaction.
        let received = changes(&mut reader, 0, 2).await;
        assert_eq!(received, ["create - -> a", "update a -> b"], "{settings}");
    }
}

#[tokio::test]
async fn every_row_that_is_replaced_is_deleted_once() {
    for settings in SETTINGS {
        for write in [
            "REPLACE INTO consumers VALUES ('1', 'bob', 'new');",
            "INSERT OR REPLACE INTO consumers SELECT '1', 'bob', 'new';",
            "UPDATE OR REPLACE consumers SET username = 'bob', note = 'new' WHERE id = '1';",
        ] {
            let (database, _store, mut reader) = at_head().await;
            database.sqlite3(&format!(
                "{settings} INSERT INTO consumers VALUES ('1', 'ann', 'a'), ('2', 'bob', 'b'), ('3', 'cid', 'c');"
            ));
            let _ = reader.all().await;
            database.sqlite3(&format!(
                "{settings} {write} DELETE FROM consumers WHERE id = '3';"
            ));
            let mut received = changes(&mut reader, 0, 2).await;
            received.sort();
            let expected = ["delete b -> -", "delete c -> -", "update a -> new"];
            assert_eq!(received, expected, "{settings} {write}");
            assert_eq!(
                database.sqlite3("SELECT count(*) FROM tidings_log WHERE kind = 'n';"),
                "0\n",
                "{settings} {write}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_that_moves_onto_another_row_replaces_it() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO credentials VALUES (1, 'k1', NULL), (2, 'k2', NULL);\
         UPDATE OR REPLACE credentials SET id = 2 WHERE id = 1;\
         INSERT OR REPLACE INTO consumers (rowid, id, username) VALUES (7, '1', 'ann');\
         INSERT OR REPLACE INTO consumers (rowid, id, username) VALUES (7, '2', 'bob');",
    );
    let received = changes(&mut reader, 1, 1).await;
    // One group: the deleted row and the one that took its key.
    assert_eq!(
        received,
        ["create - -> k1", "create - -> k2", "update k2 -> k1"],
    );
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT OR REPLACE INTO consumers (rowid, id, username) VALUES (7, '1', 'ann');\
         INSERT OR REPLACE INTO consumers (rowid, id, username) VALUES (7, '2', 'bob');",
    );
    let mut received = changes(&mut reader, 0, 1).await;
    received.sort();
    assert_eq!(
        received,
        ["create - -> ann", "create - -> bob", "delete ann -> -"]
    );
}

#[tokio::test]
async fn what_only_looked_like_a_replacement_tells_no_handler() {
    for settings in SETTINGS {
        let (database, _store, mut reader) = at_head().await;
        database.sqlite3(&format!(
            "{settings} INSERT INTO consumers VALUES ('1', 'ann', 'a');\
             INSERT OR IGNORE INTO consumers VALUES ('2', 'ann', 'no');\
             INSERT INTO consumers VALUES ('3', 'ann', 'b') ON CONFLICT (username) DO UPDATE SET note = excluded.note;\
             INSERT OR IGNORE INTO consumers VALUES ('1', 'eve', 'no');\
             DELETE FROM consumers WHERE id = '1';\
             INSERT INTO consumers VALUES ('1', 'ann', 'c');"
        ));
        let received = changes(&mut reader, 0, 2).await;
        assert_eq!(
            received,
            [
                "create - -> a",
                "update a -> b",
                "delete b -> -",
                "create - -> c"
            ],
            "{settings}"
        );
    }
}

#[tokio::test]
async fn a_default_that_takes_the_place_of_an_absent_value_replaces_too() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "CREATE TABLE other (id INTEGER PRIMARY KEY, code TEXT NOT NULL DEFAULT 'x' UNIQUE);",
    );
    let other: &'static tidings_core::Schema = Box::leak(Box::new(
        tidings_core::Schema::builder("other")
            .field(tidings_core::Field::of::<i64>("id").primary_key())
            .field(tidings_core::Field::of::<String>("code").unique())
            .build(),
    ));
    let _ = database.installer().await.install(&[other]).await.unwrap();
    let _ = reader.all().await;
    database.sqlite3(
        "INSERT INTO other VALUES (1, 'x'); INSERT OR REPLACE INTO other VALUES (2, NULL);",
    );
    assert_eq!(
        database.sqlite3(
            "SELECT kind, key FROM tidings_log WHERE kind IN ('c', 'd') ORDER BY key, kind;"
        ),
        "c|1\nd|1\nc|2\n"
    );
}

/// SQLite reads a bare or double-quoted default as text, but in a trigger as a column.
#[tokio::test]
async fn defaults_and_partial_indexes_are_repeated_as_they_are_meant() {
    let tables = "
        CREATE TABLE consumers (
            id TEXT PRIMARY KEY, username TEXT NOT NULL DEFAULT none UNIQUE, note TEXT,
            gone TEXT NOT NULL DEFAULT 'no'
        );
        CREATE UNIQUE INDEX live ON consumers (note) WHERE gone = 'no';
        CREATE TABLE credentials (id INTEGER PRIMARY KEY, key TEXT UNIQUE, consumer TEXT);
    ";
    let database = Database::captured(tables, &schemas()).await;
    let store = database.store(Logging::On).await;
    let mut reader = Reader::over(log_of(&store, schemas())).await;
    database.sqlite3(
        "INSERT INTO consumers (id, note) VALUES ('1', 'a');\
         REPLACE INTO consumers (id, username, note) VALUES ('2', NULL, 'b');\
         REPLACE INTO consumers (id, username, note) VALUES ('3', 'cid', 'b');",
    );
    let mut received = changes(&mut reader, 0, 2).await;
    received.sort();
    assert_eq!(
        received,
        [
            "create - -> a",
            "create - -> b",
            "create - -> b",
            "delete a -> -",
            "delete b -> -"
        ]
    );

    // Every term of the trigger's condition uses an index.
    let plan = database.sqlite3(
        "EXPLAIN QUERY PLAN SELECT 1 FROM consumers AS t \
         WHERE (t.note = 'a' COLLATE \"BINARY\" AND (gone = 'no'));",
    );
    assert!(plan.contains("USING INDEX live"), "{plan}");
}
