//! Rows whose primary key is several fields, in the log: written by the store and by `sqlite3`.

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, SqliteConnection};
use tidings_core::{
    CrudEvent, Entity, Operation, PrimaryKey, Ref, Row, Schema, Value,
    log::{Body, Read},
};
use tidings_store::{Logging, Store, outbox};

use crate::support::{Database, Reader, log_of};

const TABLES: &str = "
    CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE stocks (
        tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE, shelf TEXT NOT NULL,
        label TEXT UNIQUE, note TEXT, PRIMARY KEY (tenant, shelf)
    );
";

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "tenants")]
struct Tenant {
    #[entity(primary_key)]
    id: i64,
    name: Option<String>,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "stocks")]
struct Stock {
    #[entity(primary_key, foreign, on_delete = "cascade", on_update = "evict")]
    tenant: Ref<Tenant>,
    #[entity(primary_key)]
    shelf: String,
    #[entity(unique)]
    label: Option<String>,
    note: Option<String>,
}

fn schemas() -> Vec<&'static Schema> {
    vec![Tenant::schema(), Stock::schema()]
}

async fn at_head() -> (Database, Store, Reader) {
    let database = Database::captured(TABLES, &schemas()).await;
    database.sqlite3("INSERT INTO tenants VALUES (1, 'ann'), (2, 'bob');");
    let store = database.store(Logging::On).await;
    let reader = Reader::over(log_of(&store, schemas())).await;
    (database, store, reader)
}

/// The changes of rows of stocks, in short form: `update 1:a x -> y`, by the note.
async fn changes(reader: &mut Reader) -> Vec<String> {
    let changes = reader.changes(schemas()[1]).await;
    let mut short = Vec::new();
    for change in &changes {
        let row = change.new.as_ref().or(change.old.as_ref()).expect("a row");
        let side = |row: Option<&Row>| row.map_or("-".to_owned(), |row| row.0[3].to_text());
        short.push(format!(
            "{} {} {} -> {}",
            change.operation,
            schemas()[1].key_of(row).to_text(),
            side(change.old.as_ref()),
            side(change.new.as_ref())
        ));
    }
    short
}

#[tokio::test]
async fn records_hold_every_part_of_the_key() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO stocks VALUES (1, 'a', NULL, 'x'), (1, 'b', NULL, 'y'), (2, 'a', NULL, 'z');\
         UPDATE stocks SET note = 'w' WHERE tenant = 1;\
         DELETE FROM stocks WHERE shelf = 'a';",
    );
    let received = changes(&mut reader).await;
    assert_eq!(
        received,
        [
            "create 1:a - -> x",
            "create 1:b - -> y",
            "create 2:a - -> z",
            "update 1:a x -> w",
            "update 1:b y -> w",
            "delete 1:a w -> -",
            "delete 2:a z -> -",
        ]
    );
    let status = database.installer().await.status(&schemas()).await;
    let status = status.expect("a status");
    assert!(status.is_in_place(), "{status}");
}

/// Parts that contain characters of the log's key texts, or look like the end of another part.
#[tokio::test]
async fn keys_whose_parts_run_together_are_different_rows() {
    let (database, _store, mut reader) = at_head().await;
    let shelves = ["a.b", "a", "", "2E", "'", "char(0)", "a:b", "%"];
    for shelf in shelves {
        let text = if shelf == "char(0)" {
            "'a' || char(0) || 'b'".to_owned()
        } else {
            format!("'{}'", shelf.replace('\'', "''"))
        };
        database.sqlite3(&format!(
            "INSERT INTO stocks VALUES (1, {text}, NULL, 'x'); UPDATE stocks SET note = 'y' WHERE shelf = {text};"
        ));
    }
    // Each row has a create and an update of its own, in whichever transaction.
    let received = changes(&mut reader).await;
    assert_eq!(received.len(), 2 * shelves.len(), "{received:?}");
    let updates = received.iter().filter(|it| it.ends_with("x -> y")).count();
    assert_eq!(updates, shelves.len(), "{received:?}");
}

#[tokio::test]
async fn a_row_that_is_replaced_is_an_update_and_those_in_its_way_are_deletes() {
    for settings in ["", "PRAGMA recursive_triggers = ON;"] {
        let (database, _store, mut reader) = at_head().await;
        database.sqlite3(&format!(
            "{settings} INSERT INTO stocks VALUES (1, 'a', 'l', 'x'), (1, 'b', 'm', 'y'), (2, 'a', 'n', 'z');"
        ));
        let _ = reader.all().await;
        // Its own key, and the label of another row.
        database.sqlite3(&format!(
            "{settings} REPLACE INTO stocks VALUES (1, 'a', 'n', 'new');"
        ));
        let mut received = changes(&mut reader).await;
        received.sort();
        let expected = ["delete 2:a z -> -", "update 1:a x -> new"];
        assert_eq!(received, expected, "{settings}");

        // A key that changes to that of another row.
        database.sqlite3(&format!(
            "{settings} UPDATE OR REPLACE stocks SET shelf = 'b' WHERE shelf = 'a';"
        ));
        let read = reader.all().await;
        assert!(!read.is_empty());
        let left = database.sqlite3("SELECT tenant, shelf, note FROM stocks ORDER BY 1, 2;");
        assert_eq!(left, "1|b|new\n");
        let notes = database.sqlite3("SELECT count(*) FROM tidings_log WHERE kind = 'n';");
        assert_eq!(notes, "0\n", "{settings}");
    }
}

#[tokio::test]
async fn what_only_looked_like_a_replacement_tells_no_handler() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO stocks VALUES (1, 'a', 'l', 'x');\
         INSERT OR IGNORE INTO stocks VALUES (1, 'a', 'm', 'no');\
         INSERT OR IGNORE INTO stocks VALUES (2, 'a', 'l', 'no');\
         INSERT INTO stocks VALUES (1, 'a', 'm', 'y') ON CONFLICT (tenant, shelf) DO UPDATE SET note = excluded.note;\
         DELETE FROM stocks; INSERT INTO stocks VALUES (1, 'a', 'l', 'z');",
    );
    assert_eq!(
        changes(&mut reader).await,
        [
            "create 1:a - -> x",
            "update 1:a x -> y",
            "delete 1:a y -> -",
            "create 1:a - -> z"
        ]
    );
}

#[tokio::test]
async fn a_row_that_is_too_long_is_recorded_by_its_whole_key() {
    let (database, _store, reader) = at_head().await;
    database.sqlite3("INSERT INTO stocks VALUES (1, 'a', NULL, printf('%.*c', 1100000, 'x'));");
    let Read::Batch(batch) = reader.log.read(&reader.cursor, 10, None).await.unwrap() else {
        panic!("a gap");
    };
    let mut rows = batch
        .records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Row(row) => Some(row),
            Body::Entity(_) | Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => None,
        });
    let row = rows.next_back().expect("a row");
    assert!(row.new.is_partial() && row.operation == Operation::Create);
    assert_eq!(row.key, PrimaryKey::of(vec![Value::Integer(1), "a".into()]));
}

#[tokio::test]
async fn rows_go_with_a_changed_parent_and_with_one_that_is_deleted() {
    let (database, _store, mut reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO stocks VALUES (1, 'a', NULL, 'x'), (1, 'b:', NULL, 'y'), (2, 'a', NULL, 'z');",
    );
    let _ = reader.all().await;
    let keys = reader
        .log
        .children("tenants", vec![Value::Integer(1)])
        .await;
    let mut keys: Vec<_> = keys.unwrap().iter().map(ToString::to_string).collect();
    keys.sort();
    assert_eq!(keys, ["stocks@:1:a", "stocks@:1:b%3A"]);

    database.sqlite3("PRAGMA foreign_keys = ON; DELETE FROM tenants WHERE id = 1;");
    let mut received = changes(&mut reader).await;
    received.sort();
    assert_eq!(received, ["delete 1:a x -> -", "delete 1:b%3A y -> -"]);
}

#[tokio::test]
async fn an_application_records_a_change_by_the_whole_key() {
    let (database, _store, mut reader) = at_head().await;
    let url = database.url();
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let stock = |note: &str| Stock {
        tenant: Ref::new(1),
        shelf: "a:b".to_owned(),
        label: None,
        note: Some(note.to_owned()),
    };
    for change in [
        CrudEvent::created(stock("x")),
        CrudEvent::updated(stock("x"), stock("y")),
    ] {
        outbox::record(&mut connection, &change).await.unwrap();
    }
    assert_eq!(
        changes(&mut reader).await,
        ["create 1:a%3Ab - -> x", "update 1:a%3Ab x -> y"]
    );
}

#[tokio::test]
async fn a_table_whose_rows_the_key_does_not_name_is_not_captured() {
    let database = Database::with(
        "CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT);\
         CREATE TABLE stocks (tenant INTEGER NOT NULL, shelf TEXT NOT NULL, label TEXT UNIQUE, note TEXT);",
    );
    let refused = database.installer().await.install(&schemas()).await;
    let error = refused.expect_err("refused").to_string();
    let expected = "tenant, shelf of stocks do not name one row: they are not unique together";
    assert!(error.contains(expected), "{error}");

    // A part that is unique alone also identifies one row.
    database.sqlite3("CREATE UNIQUE INDEX shelves ON stocks (shelf);");
    let installed = database.installer().await.install(&schemas()).await;
    let _ = installed.expect("captured");
}
