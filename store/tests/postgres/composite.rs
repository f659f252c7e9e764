//! Rows whose primary key is several fields, in the log: written by `psql`.

use serde::{Deserialize, Serialize};
use tidings_core::{
    CrudEvent, Entity, Operation, PrimaryKey, Ref, Row, Schema, Value,
    log::{Body, Read},
};
use tidings_store::{
    outbox,
    postgres::log::{InstallOptions, install, status},
};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

use crate::support::{Reader, log_of};

const TABLES: &str = "
    create table tenants (id uuid primary key, name text);
    create table stocks (
        tenant uuid not null references tenants on delete cascade, shelf text not null,
        open boolean not null default true, label text unique, note text, primary key (tenant, shelf, open)
    );
";

const ANN: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "tenants")]
struct Tenant {
    #[entity(primary_key)]
    id: Uuid,
    name: Option<String>,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "stocks")]
struct Stock {
    #[entity(primary_key, foreign, on_delete = "cascade", on_update = "evict")]
    tenant: Ref<Tenant>,
    #[entity(primary_key)]
    shelf: String,
    #[entity(primary_key)]
    open: bool,
    #[entity(unique)]
    label: Option<String>,
    note: Option<String>,
}

fn schemas() -> Vec<&'static Schema> {
    vec![Tenant::schema(), Stock::schema()]
}

async fn at_head() -> (Database, Reader) {
    let database = Server::shared().database().await;
    database.psql(TABLES);
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(installed.expect("captured").changed.len(), 2);
    database.psql(&format!(
        "insert into tenants values ('{ANN}', 'ann'), ('{BOB}', 'bob')"
    ));
    let reader = Reader::of(log_of(&database, schemas())).await;
    (database, reader)
}

/// The changes of rows of stocks, in short form: `update ann:a:true x -> y`, by the note.
async fn changes(reader: &mut Reader) -> Vec<String> {
    let changes = reader.changes(schemas()[1]).await;
    let mut short = Vec::new();
    for change in &changes {
        let row = change.new.as_ref().or(change.old.as_ref()).expect("a row");
        let side = |row: Option<&Row>| row.map_or("-".to_owned(), |row| row.0[4].to_text());
        let key = schemas()[1].key_of(row).to_text();
        let key = key.replace(&ANN.to_string(), "ann");
        short.push(format!(
            "{} {} {} -> {}",
            change.operation,
            key.replace(&BOB.to_string(), "bob"),
            side(change.old.as_ref()),
            side(change.new.as_ref())
        ));
    }
    short
}

#[tokio::test]
async fn records_hold_every_part_of_the_key() {
    let (database, mut reader) = at_head().await;
    database.psql(&format!(
        "insert into stocks (tenant, shelf, note) values ('{ANN}', 'a', 'x'), ('{ANN}', 'b', 'y'), ('{BOB}', 'a', 'z')"
    ));
    database.psql(&format!(
        "update stocks set note = 'w' where tenant = '{ANN}'"
    ));
    database.psql(&format!(
        "update stocks set open = false where tenant = '{BOB}'"
    ));
    database.psql("delete from stocks where shelf = 'a'");
    let mut received = changes(&mut reader).await;
    received.sort();
    let mut expected = [
        "create ann:a:true - -> x",
        "create ann:b:true - -> y",
        "create bob:a:true - -> z",
        "update ann:a:true x -> w",
        "update ann:b:true y -> w",
        // A changed key is a delete and a create.
        "delete bob:a:true z -> -",
        "create bob:a:false - -> z",
        "delete ann:a:true w -> -",
        "delete bob:a:false z -> -",
    ];
    expected.sort_unstable();
    assert_eq!(received, expected);
    let mut connection = database.connect().await;
    let status = status(&mut connection, &schemas()).await.expect("a status");
    assert!(status.is_in_place(), "{status}");
}

/// For any value of a part, the log finds the records of its row, because it writes keys as the
/// trigger does.
#[tokio::test]
async fn the_records_of_a_row_are_found_whatever_its_key_holds() {
    let (database, mut reader) = at_head().await;
    let shelves = [
        "a", "", "null", "NULL", "a b", "a,b", "{a}", "\"", "\\", "a\\\"b", "\t", "\u{a0}", "a:b",
        "é",
    ];
    for shelf in shelves {
        let text = format!("E'{}'", shelf.replace('\\', "\\\\").replace('\'', "''"));
        // Twice in one transaction: the group has both.
        database.psql(&format!(
            "begin; insert into stocks (tenant, shelf, note) values ('{ANN}', {text}, 'x'); \
             update stocks set note = 'y' where shelf = {text}; commit"
        ));
    }
    let received = changes(&mut reader).await;
    assert_eq!(received.len(), shelves.len(), "{received:?}");
    assert!(
        received.iter().all(|it| it.ends_with("- -> y")),
        "{received:?}"
    );
}

#[tokio::test]
async fn one_statement_that_swaps_rows_pairs_them_by_the_whole_key() {
    let (database, mut reader) = at_head().await;
    database.psql(&format!(
        "insert into stocks (tenant, shelf, note) values ('{ANN}', 'a', 'x'), ('{BOB}', 'a', 'y'), ('{ANN}', 'b', 'z')"
    ));
    let _ = reader.all().await;
    database.psql("update stocks set note = note || '!'");
    let mut received = changes(&mut reader).await;
    received.sort();
    assert_eq!(
        received,
        [
            "update ann:a:true x -> x!",
            "update ann:b:true z -> z!",
            "update bob:a:true y -> y!"
        ]
    );
}

#[tokio::test]
async fn a_row_that_is_too_long_is_recorded_by_its_whole_key() {
    let (database, reader) = at_head().await;
    database.psql(&format!(
        "insert into stocks (tenant, shelf, note) values ('{ANN}', 'a', repeat('x', 1100000))"
    ));
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
    let key = vec![ANN.into(), "a".into(), Value::Boolean(true)];
    assert_eq!(row.key, PrimaryKey::of(key));
}

#[tokio::test]
async fn rows_go_with_a_changed_parent_and_with_one_that_is_deleted() {
    let (database, mut reader) = at_head().await;
    database.psql(&format!(
        "insert into stocks (tenant, shelf, note) values ('{ANN}', 'a', 'x'), ('{ANN}', 'b:', 'y'), ('{BOB}', 'a', 'z')"
    ));
    let _ = reader.all().await;
    let keys = reader.log.children("tenants", vec![ANN.into()]).await;
    let mut keys: Vec<_> = keys.unwrap().iter().map(ToString::to_string).collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            format!("stocks@:{ANN}:a:true"),
            format!("stocks@:{ANN}:b%3A:true")
        ]
    );

    database.psql(&format!("delete from tenants where id = '{ANN}'"));
    let mut received = changes(&mut reader).await;
    received.sort();
    assert_eq!(
        received,
        ["delete ann:a:true x -> -", "delete ann:b%3A:true y -> -"]
    );
}

#[tokio::test]
async fn an_application_records_a_change_by_the_whole_key() {
    let (database, mut reader) = at_head().await;
    let mut connection = database.connect().await;
    let stock = |note: &str| Stock {
        tenant: Ref::new(ANN),
        shelf: "a, b".to_owned(),
        open: true,
        label: None,
        note: Some(note.to_owned()),
    };
    let change = CrudEvent::updated(stock("x"), stock("y"));
    outbox::record(&mut connection, &change).await.unwrap();
    assert_eq!(changes(&mut reader).await, ["update ann:a, b:true x -> y"]);
}
