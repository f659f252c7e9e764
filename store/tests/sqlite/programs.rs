//! Writes by programs that know nothing of the log.

use tidings_core::{Operation, Value, log::Extent};
use tidings_store::Logging;

use crate::support::{Database, Reader, TABLES, at_head, changes, log_of, schemas};

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
    // SQLite fires the trigger that was made last first: one before ours, and one after it.
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

            // One event or two: each begins where the one before it ended.
            let told = changes(&mut reader, 0, 2).await;
            let mut at = if event == "UPDATE" { "a" } else { "-" };
            for change in &told {
                let (_, images) = change.split_once(' ').unwrap();
                let (old, new) = images.split_once(" -> ").unwrap();
                assert_eq!(old, at, "{told:?} ({event}, made {made})");
                at = new;
            }
            assert_eq!(at, last, "{told:?} ({event}, made {made})");
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
    let told = changes(&mut reader, 0, 1).await;
    assert_eq!(told, ["create - -> phoenix", "update phoenix -> ashes"]);
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
    let crate::reader::Told::Row(_, row) = &rest[7] else {
        panic!("{:?}", rest[7]);
    };
    assert!(row.new.is_partial());
    assert_eq!(
        row.new.value("username"),
        Some(&Value::from("ann".to_owned()))
    );
    assert_eq!(row.new.value("note"), None);
}
