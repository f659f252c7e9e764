//! Indexes with names of ours: which ones a start leaves alone, and which ones a migration
//! recreates.

use tidings_core::{Field, Schema};
use tidings_store::{Error, Migrations, Store};

use super::{
    migrations_here::{Warnings, leak, referring, run, words},
    support::{Fixture, Place, place},
};

const UNIQUE: &str = "unique:words(word)";
const FOREIGN: &str = "foreign:words(parent,id)";

fn unique() -> &'static Schema {
    leak(words().field(Field::of::<Option<String>>("word").unique()))
}

async fn start(place: &Place, schemas: &[&'static Schema]) -> Result<(), Error> {
    let store = Store::open(&place.url).await?;
    let attached = Fixture::attach(store.clone(), schemas).await;
    store.close().await?;
    attached.map(drop)
}

fn spoil(place: &Place, index: &str) {
    place.database.psql(&format!(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"{index}\"'::regclass"
    ));
}

fn number_of(place: &Place, index: &str) -> String {
    let number = format!("SELECT '\"{index}\"'::regclass::oid");
    place.database.psql(&number)
}

/// Dropping one blocks all reads until another is created.
#[tokio::test]
async fn a_start_leaves_an_invalid_index_and_refuses_if_nothing_else_is_unique() {
    let place = place().await;
    start(&place, &[unique()]).await.unwrap();
    spoil(&place, UNIQUE);
    let before = number_of(&place, UNIQUE);
    let refused = start(&place, &[unique()]).await.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, Error::Incompatible { .. }), "{said}");
    for word in [
        UNIQUE,
        "nothing keeps (word) unique",
        "tidings migrate apply",
    ] {
        assert!(said.contains(word), "{said}");
    }

    place
        .database
        .psql("CREATE UNIQUE INDEX theirs ON words (word)");
    start(&place, &[unique()]).await.unwrap();
    assert_eq!(number_of(&place, UNIQUE), before);
    let migrations = Migrations::of(&place.url).schema(unique());
    migrations.apply().await.unwrap();
    assert_ne!(number_of(&place, UNIQUE), before);
    assert!(migrations.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_start_warns_of_an_invalid_index_that_is_not_unique() {
    let place = place().await;
    start(&place, &referring()).await.unwrap();
    spoil(&place, FOREIGN);
    let before = number_of(&place, FOREIGN);

    let warnings = Warnings::default();
    let listening = tracing::subscriber::set_default(warnings.clone());
    start(&place, &referring()).await.unwrap();
    drop(listening);
    let warned = warnings.0.lock().unwrap().join("\n");
    assert!(warned.contains(FOREIGN), "{warned}");
    assert_eq!(number_of(&place, FOREIGN), before);
}

#[tokio::test]
async fn an_index_that_is_being_made_is_left_alone() {
    let place = place().await;
    start(&place, &[unique()]).await.unwrap();
    place.database.psql(&format!("DROP INDEX \"{UNIQUE}\""));
    let mut writer = place.database.connect().await;
    let writing = "BEGIN; INSERT INTO words (id, word) VALUES (1, 'a')";
    run(&mut writer, writing).await.unwrap();
    let mut maker = place.database.connect().await;
    let making = tokio::spawn(async move {
        let make = format!("CREATE UNIQUE INDEX CONCURRENTLY \"{UNIQUE}\" ON words (word)");
        run(&mut maker, &make).await
    });
    let made = "SELECT count(*) FROM pg_stat_progress_create_index p JOIN pg_class c \
         ON c.oid = p.index_relid WHERE p.datname = current_database()";
    while place.database.psql(made).trim() == "0" {
        assert!(!making.is_finished(), "it waits for the writer");
        tokio::task::yield_now().await;
    }

    start(&place, &[unique()]).await.unwrap();
    let migrations = Migrations::of(&place.url).schema(unique());
    assert!(migrations.plan().await.unwrap().is_empty());
    run(&mut writer, "COMMIT").await.unwrap();
    making.await.unwrap().unwrap();
    start(&place, &[unique()]).await.unwrap();
}

/// Like one that an administrator creates.
#[tokio::test]
async fn an_index_that_another_role_is_making_is_left_alone() {
    let place = place().await;
    start(&place, &[unique()]).await.unwrap();
    let owner = format!("owner_of_{}", place.database.name());
    place.database.psql(&format!(
        "DROP INDEX \"{UNIQUE}\"; CREATE ROLE \"{owner}\" LOGIN; \
         ALTER TABLE words OWNER TO \"{owner}\"; GRANT USAGE ON SCHEMA tidings TO \"{owner}\""
    ));
    let mut writer = place.database.connect().await;
    let writing = "BEGIN; INSERT INTO words (id, word) VALUES (1, 'a')";
    run(&mut writer, writing).await.unwrap();
    let mut maker = place.database.connect().await;
    let making = tokio::spawn(async move {
        let make = format!("CREATE UNIQUE INDEX CONCURRENTLY \"{UNIQUE}\" ON words (word)");
        run(&mut maker, &make).await
    });
    let there = format!("SELECT count(*) FROM pg_class WHERE relname = '{UNIQUE}'");
    while place.database.psql(&there).trim() == "0" {
        assert!(!making.is_finished(), "it waits for the writer");
        tokio::task::yield_now().await;
    }

    let url = place.url.replace("//postgres@", &format!("//{owner}@"));
    let plan = Migrations::of(url).schema(unique()).plan().await.unwrap();
    run(&mut writer, "COMMIT").await.unwrap();
    making.await.unwrap().unwrap();
    place.database.psql(&format!(
        "ALTER TABLE words OWNER TO postgres; DROP OWNED BY \"{owner}\"; DROP ROLE \"{owner}\""
    ));
    assert!(plan.is_empty(), "{plan}");
}

#[tokio::test]
async fn readers_go_on_while_an_index_is_made_in_the_place_of_another() {
    let place = place().await;
    start(&place, &[unique()]).await.unwrap();
    spoil(&place, UNIQUE);
    let migrations = Migrations::of(&place.url).schema(unique());
    let plan = migrations.plan().await.unwrap().to_string();
    assert!(
        plan.contains("writers of the table wait until it is created"),
        "{plan}"
    );

    let mut writer = place.database.connect().await;
    let writing = "BEGIN; INSERT INTO words (id, word) VALUES (1, 'a')";
    run(&mut writer, writing).await.unwrap();
    let migrating = tokio::spawn(async move { migrations.apply().await });
    let waits = "SELECT l.mode FROM pg_locks l \
         WHERE l.relation = 'words'::regclass AND NOT l.granted AND l.database = \
         (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mode = loop {
        let waiting = place.database.psql(waits);
        if !waiting.is_empty() {
            break waiting;
        }
        assert!(!migrating.is_finished(), "it waits for the writer");
        tokio::task::yield_now().await;
    };
    assert_eq!(mode.trim(), "ShareLock", "of which readers take no notice");
    run(&mut writer, "COMMIT").await.unwrap();
    let _ = migrating.await.unwrap().unwrap();
    let twice = "INSERT INTO words (id, word) VALUES (2, 'a')";
    assert!(place.database.try_psql(twice).is_err(), "it is unique");
    let migrations = Migrations::of(&place.url).schema(unique());
    assert!(migrations.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_index_of_another_kind_is_made_again_and_that_of_a_constraint_is_told() {
    let place = place().await;
    let [parents, referring] = referring();
    let plan = async |schema| {
        let migrations = Migrations::of(&place.url).schema(parents).schema(schema);
        migrations.plan().await.unwrap().to_string()
    };
    start(&place, &[parents, referring]).await.unwrap();
    place.database.psql(&format!(
        "DROP INDEX \"{FOREIGN}\"; CREATE INDEX \"{FOREIGN}\" ON words USING brin (parent, id)"
    ));
    let planned = plan(referring).await;
    assert!(planned.contains("DROP INDEX"), "{planned}");

    place.database.psql("DROP TABLE words");
    start(&place, &[parents, unique()]).await.unwrap();
    for columns in [
        "(word) NULLS NOT DISTINCT",
        "(word text_pattern_ops)",
        "(word COLLATE \"default\")",
    ] {
        place.database.psql(&format!(
            "DROP INDEX \"{UNIQUE}\"; CREATE UNIQUE INDEX \"{UNIQUE}\" ON words {columns}"
        ));
        let planned = plan(unique()).await;
        assert!(planned.contains("DROP INDEX"), "{columns}: {planned}");
    }

    place.database.psql(&format!(
        "DROP INDEX \"{UNIQUE}\"; \
         ALTER TABLE words ADD CONSTRAINT \"{UNIQUE}\" UNIQUE (word) DEFERRABLE"
    ));
    let migrations = Migrations::of(&place.url).schema(unique());
    let obstacles = [
        migrations.apply().await.unwrap_err(),
        start(&place, &[unique()]).await.unwrap_err(),
    ];
    for refused in obstacles {
        let said = refused.to_string();
        assert!(said.contains("drop or rename the constraint"), "{said}");
    }
}

/// An index with a name of ours that the owner has made a constraint.
#[tokio::test]
async fn a_constraint_that_no_field_asks_for_any_more_is_left_by_a_start_and_told_by_a_migration() {
    let place = place().await;
    start(&place, &[unique()]).await.unwrap();
    place.database.psql(&format!(
        "ALTER TABLE words ADD CONSTRAINT \"{UNIQUE}\" UNIQUE USING INDEX \"{UNIQUE}\""
    ));
    let plain = leak(words().field(Field::of::<Option<String>>("word")));
    start(&place, &[plain]).await.unwrap();
    let refused = Migrations::of(&place.url).schema(plain).apply().await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("drop or rename it"), "{said}");
}
