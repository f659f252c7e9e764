//! Tables that are older than the store.

use std::{path::Path, sync::LazyLock};

use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tidings_core::{Entity as _, Field, Row, Schema, Value};
use tidings_store::{Error, Store, WriteOptions};

use super::support::Fixture;
use crate::entities::{Acl, Consumer, Credential, Invoice};

const ID: &str = "00000000-0000-0000-0000-000000000001";

/// Runs SQL in a database that no store holds.
async fn sql(path: &Path, sql: &'static str) -> Vec<String> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn directory() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    (directory, path)
}

async fn attach(path: &Path, schemas: &[&'static Schema]) -> Result<Fixture, Error> {
    let store = Store::open(&format!("sqlite://{}", path.display())).await?;
    Fixture::attach(store, schemas).await
}

#[tokio::test]
async fn columns_that_may_be_absent_and_indexes_are_added_to_a_table_that_is_there() {
    let (_directory, path) = directory();
    sql(
        &path,
        "CREATE TABLE consumers (id varchar(36) NOT NULL PRIMARY KEY, username text,
            created_at bigint NOT NULL, updated_at bigint, extra text, more int NOT NULL DEFAULT 7);
         INSERT INTO consumers VALUES ('00000000-0000-0000-0000-000000000001', 'bob', 5, 6, 'kept', 8);",
    )
    .await;
    let fixture = attach(&path, &[Consumer::schema(), Acl::schema()])
        .await
        .unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers
        .select_by("username", "bob")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (bob.id.to_string().as_str(), bob.created_at.as_unix()),
        (ID, 5)
    );
    assert_eq!((bob.custom_id, bob.tags), (None, None));
    let custom = |row: &mut Consumer| row.custom_id = Some("b".to_owned());
    consumers.update(bob.id, custom).await.unwrap().unwrap();
    let second = Consumer {
        custom_id: Some("b".to_owned()),
        ..Consumer::default()
    };
    let error = consumers.insert(second).await.unwrap_err();
    assert!(matches!(error, Error::Unique { ref fields, .. } if fields == &["custom_id"]));
    fixture.store.close().await.unwrap();
    let kept = sql(&path, "SELECT extra || more || custom_id FROM consumers").await;
    assert_eq!(kept, ["kept8b"]);
    // A second start changes nothing.
    let before = sql(&path, "SELECT sql FROM sqlite_schema ORDER BY name").await;
    let again = attach(&path, &[Consumer::schema(), Acl::schema()])
        .await
        .unwrap();
    again.store.close().await.unwrap();
    assert_eq!(
        sql(&path, "SELECT sql FROM sqlite_schema ORDER BY name").await,
        before
    );
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_with_every_difference_and_left_alone() {
    let (_directory, path) = directory();
    sql(
        &path,
        "CREATE TABLE consumers (id text PRIMARY KEY, username integer, custom_id text NOT NULL, updated_at integer,
            created_at integer, tags text, novel text NOT NULL);
         INSERT INTO consumers VALUES ('x', 1, 'c', NULL, 1, NULL, '');
         CREATE TABLE keyauth_credentials (id text NOT NULL, created_at integer NOT NULL, key text, tags text,
            consumer text NOT NULL REFERENCES consumers ON DELETE CASCADE);
         CREATE TABLE acls (id text PRIMARY KEY, \"group\" text, consumer text);
         CREATE VIEW invoices AS SELECT 1 AS id, 2 AS consumer;",
    )
    .await;
    let schemas = [
        Consumer::schema(),
        Credential::schema(),
        Acl::schema(),
        Invoice::schema(),
    ];
    let before = sql(&path, "SELECT sql FROM sqlite_schema ORDER BY name").await;
    match attach(&path, &schemas).await.unwrap_err() {
        Error::Incompatible { differences } => assert_eq!(
            differences,
            [
                "consumers.username is declared \"INTEGER\", and TEXT is needed",
                "consumers.custom_id is NOT NULL, and may be absent",
                "consumers.updated_at is required, and absent in 1 row",
                "consumers.novel is NOT NULL without a default, and the schema does not know it",
                "keyauth_credentials.id is not the primary key, and should be",
                "keyauth_credentials.consumer has ON DELETE CASCADE, which would change rows without events",
                "acls.consumer does not refer to consumers (id)",
                "invoices is a view and not a table",
            ]
        ),
        error => panic!("{error:?}"),
    }
    assert_eq!(
        sql(&path, "SELECT sql FROM sqlite_schema ORDER BY name").await,
        before
    );

    let (_directory, path) = directory_with_clash().await;
    match attach(&path, &[Consumer::schema()]).await.unwrap_err() {
        Error::Incompatible { differences } => {
            assert_eq!(
                differences,
                ["2 rows of consumers violate unique:consumers(username)"]
            );
        }
        error => panic!("{error:?}"),
    }
}

async fn directory_with_clash() -> (TempDir, std::path::PathBuf) {
    let (directory, path) = directory();
    sql(
        &path,
        "CREATE TABLE consumers (id text PRIMARY KEY, username text, created_at int, updated_at int);
         INSERT INTO consumers VALUES ('1', 'bob', 1, 1), ('2', 'bob', 1, 1);",
    )
    .await;
    (directory, path)
}

fn words(make: impl FnOnce(Field) -> Field) -> Schema {
    Schema::builder("words")
        .field(Field::of::<i64>("id").primary_key())
        .field(make(Field::of::<Option<String>>("word")))
        .build()
}

static UNIQUE: LazyLock<Schema> = LazyLock::new(|| words(Field::unique));
static FREE: LazyLock<Schema> = LazyLock::new(|| words(|field| field));

#[tokio::test]
async fn a_field_that_is_not_unique_any_more_may_hold_a_value_twice() {
    let (_directory, path) = directory();
    for (schema, clashes) in [(&*UNIQUE, true), (&*FREE, false)] {
        let fixture = attach(&path, &[schema]).await.unwrap();
        let table = fixture.store.table("words").unwrap();
        let row = |id| Row(vec![Value::Integer(id), "tidings".into()]);
        for id in [1, 2] {
            let selector = tidings_store::Selector::primary(Value::Integer(id));
            table
                .delete(selector, WriteOptions::default())
                .await
                .unwrap();
        }
        table.insert(row(1), WriteOptions::default()).await.unwrap();
        let second = table.insert(row(2), WriteOptions::default()).await;
        assert_eq!(second.is_err(), clashes);
        fixture.store.close().await.unwrap();
    }
    let error = attach(&path, &[&*UNIQUE]).await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stored_row_that_does_not_fit_its_struct_is_an_error_and_not_a_panic() {
    let (_directory, path) = directory();
    sql(
        &path,
        "CREATE TABLE consumers (id text PRIMARY KEY, username text, custom_id text, created_at integer,
            updated_at integer, tags text);
         INSERT INTO consumers VALUES ('not a uuid', 'bob', NULL, 1, 1, NULL),
            ('00000000-0000-0000-0000-000000000001', 'eve', NULL, 'soon', 1, NULL),
            ('00000000-0000-0000-0000-000000000002', 'mallory', NULL, 1, 1, '[1');",
    )
    .await;
    let fixture = attach(&path, &[Consumer::schema()]).await.unwrap();
    for (username, field) in [("bob", "id"), ("eve", "created_at"), ("mallory", "tags")] {
        let read = fixture
            .dao::<Consumer>()
            .select_by("username", username)
            .await;
        match read.unwrap_err() {
            Error::Row(error) => assert_eq!(error.field, field),
            error => panic!("{error:?}"),
        }
    }
}
