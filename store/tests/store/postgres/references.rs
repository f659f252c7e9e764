//! Columns with several references, or with one that is listed several times.

use tidings_store::{Migrations, Store};

use super::{
    migrations_here::referring,
    support::{Fixture, place},
};

/// The server lists such a reference again for each partition.
#[tokio::test]
async fn a_reference_to_a_table_with_partitions_is_there_at_the_second_start() {
    let place = place().await;
    place.database.psql(
        "CREATE TABLE parents (id bigint PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE parents_low PARTITION OF parents FOR VALUES FROM (0) TO (9); \
         CREATE TABLE parents_all PARTITION OF parents DEFAULT",
    );
    for _ in 0..2 {
        let store = Store::open(&place.url).await.unwrap();
        let fixture = Fixture::attach(store, &referring()).await.unwrap();
        fixture.store.close().await.unwrap();
    }
    let schemas = referring().into_iter();
    let migrations = schemas.fold(Migrations::of(&place.url), Migrations::schema);
    let left = migrations.plan().await.unwrap();
    assert!(left.is_empty(), "{left}");
}

/// Neither hides the other, in whichever order the server lists them.
#[tokio::test]
async fn each_reference_of_a_column_is_seen() {
    for name in ["a", "z"] {
        let place = place().await;
        let migrations = || {
            let schemas = referring().into_iter();
            schemas.fold(Migrations::of(&place.url), Migrations::schema)
        };
        migrations().apply().await.unwrap();
        place.database.psql(&format!(
            "CREATE TABLE others (id bigint PRIMARY KEY); \
             ALTER TABLE words ADD CONSTRAINT {name} FOREIGN KEY (parent) REFERENCES others \
             ON DELETE CASCADE"
        ));

        let store = Store::open(&place.url).await.unwrap();
        let refused = Fixture::attach(store.clone(), &referring()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("words.parent has ON DELETE CASCADE"),
            "{refused}"
        );
        store.close().await.unwrap();
        let plan = migrations().apply().await.unwrap().plan.to_string();
        let dropped = format!("DROP CONSTRAINT \"{name}\"");
        assert!(
            plan.contains(&dropped) && !plan.contains("ADD FOREIGN KEY"),
            "{plan}"
        );
        let left = migrations().plan().await.unwrap();
        assert!(left.is_empty(), "{left}");
    }
}
