//! Writes by programs that know nothing of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidings_core::{Operation, Value, log::Extent};
use tidings_store::{Logging, Store};

use crate::{
    reader::ReadItem,
    support::{Database, Reader, TABLES, at_head, changes, log_of, schemas},
};

#[tokio::test]
async fn every_row_is_told_once_with_what_it_was_and_what_it_is() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO consumers VALUES ('1', 'ann', NULL), ('2', 'bob', 'it''s');\
         UPDATE consumers SET note = username || '!';\
         DELETE FROM consumers WHERE id = '1';",
    );
    let changes = reader.changes(schemas()[0]).await;
    let operations: Vec<_> = changes.iter().map(|change| change.operation).collect();
    use Operation::{Create, Delete, Update};
    assert_eq!(operations, [Create, Create, Update, Update, Delete]);

    let update = &changes[3];
    let text = |text: &str| Value::from(text.to_owned());
    let (old, new) = (update.old.as_ref().unwrap(), update.new.as_ref().unwrap());
    assert_eq!(old.0, [text("2"), text("bob"), text("it's")]);
    assert_eq!(new.0, [text("2"), text("bob"), text("bob!")]);
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told_and_what_commits_late_is() {
    let (database, _store, mut reader) = at_head().await;
    database.python(
        "db.execute('BEGIN'); db.execute(\"INSERT INTO consumers VALUES ('1', 'a', NULL)\"); db.execute('ROLLBACK')\n\
         db.execute('BEGIN'); db.execute(\"INSERT INTO consumers VALUES ('2', 'b', NULL)\")\n\
         db.execute('SAVEPOINT s'); db.execute(\"INSERT INTO consumers VALUES ('3', 'c', NULL)\")\n\
         db.execute('ROLLBACK TO s'); db.execute('COMMIT')\n",
    );
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> b"]);
}

#[tokio::test]
async fn a_cascade_tells_each_row_and_a_key_that_moves_is_an_update() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "PRAGMA foreign_keys = ON;\
         INSERT INTO consumers VALUES ('1', 'ann', NULL);\
         INSERT INTO credentials VALUES (1, 'k1', '1'), (2, 'k2', '1');\
         UPDATE credentials SET id = 20 WHERE id = 2;\
         DELETE FROM consumers;",
    );
    let operations = reader.operations().await;
    assert_eq!(
        operations,
        [
            "create consumers \"1\"",
            "create credentials 1",
            "create credentials 2",
            "update credentials 20",
            // SQLite's cascades end before the delete that they follow.
            "delete credentials 1",
            "delete credentials 20",
            "delete consumers \"1\"",
        ]
    );
}

#[tokio::test]
async fn a_users_trigger_that_writes_the_row_again_leaves_a_true_history() {
    // SQLite fires the newest trigger first: one fires before ours, and one after it.
    let again = |name: &str, note: &str, event: &str| {
        format!(
            "CREATE TRIGGER {name} AFTER {event} ON consumers WHEN NEW.note IS NOT '{note}' \
             BEGIN UPDATE consumers SET note = '{note}' WHERE id = NEW.id; END;"
        )
    };
    for (event, first, last) in [
        (
            "INSERT",
            "INSERT INTO consumers VALUES ('1', 'ann', 'x');",
            "c",
        ),
        ("UPDATE", "UPDATE consumers SET note = 'x';", "c"),
    ] {
        for made in ["before", "after"] {
            let database = Database::with(TABLES);
            if event == "UPDATE" {
                database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', 'a');");
            }
            let trigger = again("again", last, event);
            if made == "before" {
                database.sqlite3(&trigger);
            }
            let _ = database
                .installer()
                .await
                .install(&schemas())
                .await
                .unwrap();
            if made == "after" {
                database.sqlite3(&trigger);
            }
            let store = database.store(Logging::On).await;
            let mut reader = Reader::over(log_of(&store, schemas())).await;
            database.sqlite3(first);

            // One event or two, each of which begins with the values at the end of the one before.
            let received = changes(&mut reader, 0, 2).await;
            let mut at = if event == "UPDATE" { "a" } else { "-" };
            for change in &received {
                let (_, images) = change.split_once(' ').unwrap();
                let (old, new) = images.split_once(" -> ").unwrap();
                assert_eq!(old, at, "{received:?} ({event}, made {made})");
                at = new;
            }
            assert_eq!(at, last, "{received:?} ({event}, made {made})");
        }
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_deletes_or_makes_again_is_told_in_order() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "CREATE TRIGGER gone AFTER INSERT ON consumers WHEN NEW.username = 'ghost' \
         BEGIN DELETE FROM consumers WHERE id = NEW.id; END;\
         CREATE TRIGGER back AFTER DELETE ON consumers WHEN OLD.username = 'phoenix' \
         BEGIN INSERT INTO consumers VALUES (OLD.id, 'ashes', NULL); END;\
         INSERT INTO consumers VALUES ('1', 'ghost', NULL), ('2', 'phoenix', NULL);\
         DELETE FROM consumers WHERE id = '2';",
    );
    let received = changes(&mut reader, 0, 1).await;
    assert_eq!(received, ["create - -> phoenix", "update phoenix -> ashes"]);
}

#[tokio::test]
async fn pages_lose_nothing_and_a_row_beyond_a_mebibyte_is_told_by_its_keys() {
    let (database, _store, mut reader) = at_head().await;
    reader.limit = 3;
    database.python(
        "for i in range(10): db.execute('INSERT INTO credentials VALUES (?, ?, NULL)', (i, f'k{i}'))\n\
         db.execute('INSERT INTO consumers VALUES (?, ?, ?)', ('1', 'ann', 'x' * 1100000))\n",
    );
    let (first, extent) = reader.page().await;
    assert_eq!((first.len(), extent), (3, Extent::More));
    let rest = reader.all().await;
    assert_eq!(rest.len(), 8);
    let ReadItem::Row(_, row) = &rest[7] else {
        panic!("{:?}", rest[7]);
    };
    assert!(row.new.is_partial());
    assert_eq!(
        row.new.value("username"),
        Some(&Value::from("ann".to_owned()))
    );
    assert_eq!(row.new.value("note"), None);
}

#[tokio::test]
async fn a_transaction_that_writes_a_row_again_is_one_change() {
    let (database, _store, mut reader) = at_head().await;
    // In one scan: two transactions of one connection, each of which writes a row twice.
    database.sqlite3(
        "BEGIN; INSERT INTO consumers VALUES ('1', 'a', NULL);\
         UPDATE consumers SET username = 'b'; COMMIT;\
         BEGIN; UPDATE consumers SET username = 'c'; INSERT INTO consumers VALUES ('2', 'x', NULL);\
         DELETE FROM consumers WHERE id = '2'; UPDATE consumers SET username = 'd'; COMMIT;\
         UPDATE consumers SET username = 'e'; UPDATE consumers SET username = 'f';",
    );
    let received = changes(&mut reader, 0, 1).await;
    assert_eq!(
        received,
        [
            "create - -> b",
            "update b -> d",
            "update d -> e",
            "update e -> f"
        ]
    );
}

#[tokio::test]
async fn a_transaction_is_one_change_on_several_pages_and_after_it_was_checkpointed() {
    let (database, _store, mut reader) = at_head().await;
    reader.limit = 2;
    database.sqlite3(
        "BEGIN; INSERT INTO consumers VALUES ('1', 'a', NULL), ('2', 'x', NULL);\
         UPDATE consumers SET username = 'b' WHERE id = '1';\
         UPDATE consumers SET username = 'c' WHERE id = '1'; COMMIT;",
    );
    let (first, extent) = reader.page().await;
    assert_eq!((first.len(), extent), (2, Extent::More));
    // The next write restarts the file.
    database
        .sqlite3("PRAGMA wal_checkpoint(RESTART); INSERT INTO credentials VALUES (1, 'k', NULL);");
    let rest = reader.all().await;
    let marks: Vec<_> = first.iter().chain(&rest).map(mark_of).collect();
    assert_eq!(marks[..4], [marks[0]; 4], "{marks:?}");
    assert_ne!(marks[4], marks[0], "{marks:?}");

    let ReadItem::Row(mark, row) = &first[0] else {
        panic!("{first:?}");
    };
    let group = reader
        .log
        .group(*mark, &row.entity, &row.key)
        .await
        .unwrap();
    assert_eq!(group.expect("it is there").rows.len(), 3);
}

#[tokio::test]
async fn the_first_transaction_after_the_file_began_again_is_one_change() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'a', NULL);");
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> a"]);
    // As seen by a reader that had read everything before the file was restarted.
    database.sqlite3("PRAGMA wal_checkpoint(RESTART);");
    database.sqlite3(
        "BEGIN; UPDATE consumers SET username = 'b'; UPDATE consumers SET username = 'c'; COMMIT;",
    );
    assert_eq!(changes(&mut reader, 0, 1).await, ["update a -> c"]);
}

#[tokio::test]
async fn transactions_that_cannot_be_told_apart_are_told_record_by_record() {
    // The file was restarted after a commit that this reader has not seen; or it was emptied.
    for how in ["RESTART", "TRUNCATE"] {
        let (database, _store, mut reader) = at_head().await;
        database.sqlite3(&format!(
            "INSERT INTO consumers VALUES ('1', 'a', NULL); UPDATE consumers SET username = 'b';\
             PRAGMA wal_checkpoint({how});\
             BEGIN; UPDATE consumers SET username = 'c'; UPDATE consumers SET username = 'd'; COMMIT;\
             BEGIN; UPDATE consumers SET username = 'e'; UPDATE consumers SET username = 'f'; COMMIT;"
        ));
        let received = changes(&mut reader, 0, 1).await;
        let each = [
            "create - -> a",
            "update a -> b",
            "update b -> c",
            "update c -> d",
            "update d -> f",
        ];
        assert_eq!(received, each, "{how}");
    }
}

/// A transaction of more frames than one scan reads, in small pages. The file is not restarted
/// after it.
const LARGE: &str = "PRAGMA wal_autocheckpoint = 0;\
     BEGIN; INSERT INTO filler VALUES (zeroblob(9000000));\
     INSERT INTO consumers VALUES ('1', 'a', NULL); COMMIT;";

/// As [`at_head`], in small pages.
async fn at_head_of_small_pages() -> (Database, Store, Reader) {
    let tables = format!("CREATE TABLE filler (bytes); {TABLES}");
    let database = Database::in_pages_of(512, &tables);
    let installed = database.installer().await.install(&schemas()).await;
    let _ = installed.expect("captured");
    let store = database.store(Logging::On).await;
    let reader = Reader::over(log_of(&store, schemas())).await;
    (database, store, reader)
}

#[tokio::test]
async fn transactions_after_a_large_one_are_told_apart() {
    let (database, _store, mut reader) = at_head_of_small_pages().await;
    database.sqlite3(LARGE);
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> a"]);
    database.sqlite3(
        "PRAGMA wal_autocheckpoint = 0;\
         BEGIN; UPDATE consumers SET username = 'b'; UPDATE consumers SET username = 'c'; COMMIT;",
    );
    assert_eq!(changes(&mut reader, 0, 1).await, ["update a -> c"]);
}

#[tokio::test]
async fn a_transaction_that_was_told_record_by_record_keeps_its_marks() {
    let (database, _store, mut reader) = at_head_of_small_pages().await;
    let before = reader.cursor.clone();
    database.sqlite3(&format!(
        "{LARGE} BEGIN; UPDATE consumers SET username = 'b';\
         UPDATE consumers SET username = 'c'; COMMIT;"
    ));
    let marks = |received: &[ReadItem]| received.iter().map(mark_of).collect::<Vec<_>>();
    let first = reader.all().await;
    for _ in 0..3 {
        reader.cursor = before.clone();
        assert_eq!(marks(&reader.all().await), marks(&first));
    }

    // Handlers run for the changes that the marks group.
    let ReadItem::Row(mark, row) = &first[1] else {
        panic!("{first:?}");
    };
    let group = reader.log.group(*mark, &row.entity, &row.key).await;
    assert_eq!(
        group.expect("an answer").expect("it is there").rows.len(),
        1
    );
}

#[tokio::test]
async fn no_two_transactions_are_taken_for_one() {
    let (database, _store, mut reader) = at_head().await;
    let database = Arc::new(database);
    reader.limit = 7;
    let writers = [1, 2].map(|writer| {
        let database = Arc::clone(&database);
        std::thread::spawn(move || {
            database.python(&format!(
                "import random\nr = random.Random({writer})\n\
                 for p in ('cache_size = 4', 'synchronous = OFF', 'wal_autocheckpoint = 30'): db.execute(f'PRAGMA {{p}}')\n\
                 for t in range(120):\n \
                   db.execute('BEGIN IMMEDIATE')\n \
                   for i in range(r.randint(1, 6)):\n  \
                     row, name = f'{writer}-{{t}}-{{i}}', f'{writer}-{{t}}'\n  \
                     db.execute('INSERT INTO consumers VALUES (?, NULL, ?)', (row, name))\n  \
                     if r.random() < .5: db.execute('UPDATE consumers SET username = id WHERE id = ?', (row,))\n \
                   db.execute(r.choice(['COMMIT', 'COMMIT', 'ROLLBACK']))\n \
                   if r.random() < .1: db.execute('PRAGMA wal_checkpoint(%s)' % r.choice(['PASSIVE', 'RESTART', 'TRUNCATE']))\n"
            ));
        })
    });

    let mut transactions = BTreeMap::<u64, BTreeSet<String>>::new();
    let (mut records, mut over) = (0, false);
    while !over {
        over = writers.iter().all(std::thread::JoinHandle::is_finished);
        for received in reader.all().await {
            let ReadItem::Row(mark, row) = received else {
                panic!("{received:?}");
            };
            let note = row.new.value("note").expect("a row");
            let transaction = transactions.entry(mark.number()).or_default();
            transaction.insert(format!("{note:?}"));
            records += 1;
        }
    }
    for writer in writers {
        writer.join().expect("a writer");
    }
    let mixed: Vec<_> = transactions.iter().filter(|(_, of)| of.len() > 1).collect();
    assert_eq!(mixed, [], "records of several transactions under one mark");
    assert!(transactions.len() < records, "none was known");
}

fn mark_of(received: &ReadItem) -> u64 {
    let ReadItem::Row(mark, _) = received else {
        panic!("{received:?}");
    };
    mark.number()
}
