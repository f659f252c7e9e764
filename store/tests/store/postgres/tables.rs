//! Existing tables, and created ones.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Field, Schema, Timestamp};
use tidings_store::{Error, PageQuery, Store};
use uuid::Uuid;

use super::{database::place, support::Fixture};
use crate::entities::{Consumer, Credential, consumer, credential};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "legacy", cache_key("code"))]
struct Legacy {
    #[entity(primary_key)]
    id: i32,
    #[entity(unique)]
    code: String,
    seen: Option<Timestamp>,
    weight: Option<f64>,
    active: bool,
    owner: Option<Uuid>,
    labels: Option<BTreeSet<String>>,
    extra: Option<serde_json::Value>,
}

#[tokio::test]
async fn tables_of_other_programs_are_used_as_they_are() {
    let place = place().await;
    place.database.psql(
        "CREATE TABLE legacy (id integer PRIMARY KEY, code varchar(20) NOT NULL, seen bigint, \
           weight double precision, active boolean NOT NULL, owner uuid, labels jsonb, extra jsonb, \
           note text, made timestamptz NOT NULL DEFAULT now());
         ALTER TABLE legacy ADD CONSTRAINT one_code_each UNIQUE (code);
         INSERT INTO legacy VALUES (1, 'a', 7, 0.1, true, NULL, '[\"x\"]', '{\"b\": [1, 2.50]}', 'kept');",
    );
    let store = Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &[Legacy::schema()]).await.unwrap();
    let legacy = fixture.dao::<Legacy>();
    let mut row = legacy.select(1).await.unwrap().unwrap();
    assert_eq!(
        (row.seen, row.weight),
        (Some(Timestamp::from_unix(7)), Some(0.1))
    );
    assert_eq!(row.labels, Some(BTreeSet::from(["x".to_owned()])));
    assert_eq!(row.extra, Some(serde_json::json!({"b": [1, 2.5]})));

    row.owner = Some(Uuid::from_u128(9));
    let updated = legacy.update(1, |row| row.owner = Some(Uuid::from_u128(9)));
    assert_eq!(updated.await.unwrap().as_ref(), Some(&row));
    let found = legacy.page(PageQuery::new().filter("owner", Uuid::from_u128(9)));
    assert_eq!(found.await.unwrap().data, [row.clone()]);
    let said = place
        .database
        .psql("SELECT note FROM legacy WHERE owner = '00000000-0000-0000-0000-000000000009';");
    assert_eq!(said.trim(), "kept");

    let clash = legacy
        .insert(Legacy {
            id: 2,
            ..row.clone()
        })
        .await
        .unwrap_err();
    match clash {
        Error::Unique { fields, values, .. } => {
            assert_eq!(
                (fields, values),
                (vec!["code".to_owned()], vec!["a".into()])
            );
        }
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_with_every_difference_and_left_alone() {
    let place = place().await;
    place.database.psql(
        "CREATE TABLE consumers (id text PRIMARY KEY, username varchar, custom_id integer, \
           created_at timestamptz, updated_at bigint NOT NULL, tags text[], age integer NOT NULL);
         INSERT INTO consumers VALUES ('x', 'bob', NULL, NULL, 1, NULL, 7);
         CREATE TABLE keyauth_credentials (id uuid PRIMARY KEY, created_at bigint NOT NULL, \
           consumer text REFERENCES consumers ON DELETE CASCADE, key text);
         CREATE VIEW acls AS SELECT 1 AS id;",
    );
    let store = Store::open(&place.url).await.unwrap();
    let schemas = super::support::schemas();
    let error = Fixture::attach(store, &schemas).await.unwrap_err();
    let Error::Incompatible { differences } = error else {
        panic!("{error:?}");
    };
    for expected in [
        "consumers.id is declared \"text\", and uuid is needed",
        "consumers.custom_id is declared \"integer\", and text is needed",
        "consumers.created_at is declared \"timestamp with time zone\", and bigint is needed",
        "consumers.created_at is required, and absent in 1 row",
        "consumers.tags is declared \"text[]\", and jsonb is needed",
        "consumers.age is NOT NULL without a default, and the schema does not know it",
        "keyauth_credentials.consumer is declared \"text\", and uuid is needed",
        "acls is a view and not a table",
    ] {
        assert!(
            differences.iter().any(|it| it == expected),
            "{expected}: {differences:#?}"
        );
    }
    let there = "SELECT count(*) FROM pg_class WHERE relname IN ('grants', 'invoices', 'notes');";
    assert_eq!(place.database.psql(there).trim(), "0");
}

#[tokio::test]
async fn a_reference_that_acts_by_itself_is_refused() {
    let place = place().await;
    place.database.psql(
        "CREATE TABLE consumers (id uuid PRIMARY KEY, username text, custom_id text, \
           created_at bigint NOT NULL, updated_at bigint NOT NULL, tags jsonb);
         CREATE TABLE keyauth_credentials (id uuid PRIMARY KEY, created_at bigint NOT NULL, \
           consumer uuid REFERENCES consumers ON DELETE CASCADE, key text, tags jsonb);",
    );
    let store = Store::open(&place.url).await.unwrap();
    let schemas = [Consumer::schema(), Credential::schema()];
    let error = Fixture::attach(store, &schemas).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("consumer has ON DELETE CASCADE, which would change rows without events"),
        "{said}"
    );
}

/// A start adds what is missing: optional columns, references, indexes. A second start changes
/// nothing.
#[tokio::test]
async fn columns_references_and_indexes_are_added_to_tables_that_are_there() {
    let place = place().await;
    place.database.psql(
        "CREATE TABLE consumers (id uuid PRIMARY KEY, username text, \
           created_at bigint NOT NULL, updated_at bigint NOT NULL);
         CREATE TABLE keyauth_credentials (id uuid PRIMARY KEY, created_at bigint NOT NULL, \
           consumer uuid NOT NULL, key text);
         CREATE INDEX \"unique:consumers(forgotten)\" ON consumers (username);",
    );
    let schemas = [Consumer::schema(), Credential::schema()];
    let mut laid_out = Vec::new();
    for _ in 0..2 {
        let store = Store::open(&place.url).await.unwrap();
        let fixture = Fixture::attach(store, &schemas).await.unwrap();
        fixture.store.close().await.unwrap();
        laid_out.push(place.database.psql(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
             SELECT conname, oid FROM pg_constraint WHERE contype = 'f';",
        ));
    }
    assert_eq!(laid_out[0], laid_out[1]);
    assert!(
        laid_out[0].contains("unique:consumers(username)"),
        "{}",
        laid_out[0]
    );
    assert!(!laid_out[0].contains("forgotten"), "{}", laid_out[0]);

    let fixture = Fixture::at(&place.url).await.unwrap();
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let credentials = fixture.dao::<Credential>();
    credentials.insert(credential(&bob, "k")).await.unwrap();
    fixture
        .dao::<Consumer>()
        .delete(bob.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(credentials.page(Default::default()).await.unwrap().data, []);
}

/// Names that PostgreSQL would cut off still differ.
#[tokio::test]
async fn long_names_have_their_own_indexes() {
    let field = |end: char| Field::of::<Option<String>>(&format!("{}{end}", "f".repeat(50)));
    let schema = Schema::builder("long_names")
        .field(Field::of::<i64>("id").primary_key())
        .field(field('a').unique())
        .field(field('b').unique())
        .build();
    let schema: &'static Schema = Box::leak(Box::new(schema));
    let place = place().await;
    for _ in 0..2 {
        let store = Store::open(&place.url).await.unwrap();
        let fixture = Fixture::attach(store, &[schema]).await.unwrap();
        fixture.store.close().await.unwrap();
    }
    let indexes = place
        .database
        .psql("SELECT count(*) FROM pg_indexes WHERE tablename = 'long_names';");
    assert_eq!(indexes.trim(), "3");
}
