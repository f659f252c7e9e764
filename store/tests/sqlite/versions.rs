//! Programs of different versions on one log.

use tidings_core::{
    Chain, Schema,
    log::{Body, Read},
};
use tidings_store::{Logging, sqlite::log::SqliteLogError};

use crate::{
    capture::consumers,
    support::{Database, Reader, TABLES, at_head, log_of, schemas},
};

// CL16
#[tokio::test]
async fn a_log_of_a_later_version_is_refused_and_says_so() {
    let (database, store, reader) = at_head().await;
    database.sqlite3("UPDATE tidings_version SET number = 99;");

    let installed = database.installer().await.install(&schemas()).await;
    assert!(
        matches!(installed, Err(SqliteLogError::Newer { found: 99, .. })),
        "{installed:?}"
    );
    store.close().await.unwrap();
    drop(reader);
    let opened = tidings_store::Store::options(database.url()).logging(Logging::On);
    let refused = match opened.open().await {
        Ok(store) => {
            let head = log_of(&store, schemas()).head(None).await;
            Chain(&head.unwrap_err()).to_string()
        }
        Err(error) => Chain(&error).to_string(),
    };
    assert!(refused.contains("layout 99"), "{refused}");
}

// CL16
#[tokio::test]
async fn records_of_another_version_are_told_as_unreadable_and_those_beside_them_are_read() {
    let (database, _store, reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO tidings_log (kind, entity, body) VALUES ('i', '', '[\"an entry\",\"of\",\"the future\"]');
         INSERT INTO tidings_log (kind, entity, key) VALUES ('x', 'consumers', '1');
         INSERT INTO consumers VALUES ('2', 'bob', NULL);",
    );

    let read = reader.log.read(&reader.cursor, 10, None).await.unwrap();
    let Read::Batch(batch) = read else {
        panic!("a gap");
    };
    let bodies: Vec<_> = batch.records.iter().map(|record| &record.body).collect();
    let [
        Body::Unreadable { entity: None },
        Body::Unreadable {
            entity: Some(entity),
        },
        Body::Row(row),
    ] = bodies.as_slice()
    else {
        panic!("{bodies:?}");
    };
    assert_eq!((&**entity, &*row.entity), ("consumers", "consumers"));
}

#[tokio::test]
async fn a_read_says_how_many_records_of_entities_that_are_not_declared_it_passed_over() {
    let (database, _store, reader) = at_head().await;
    database.sqlite3(
        "INSERT INTO tidings_log (kind, entity, key) VALUES ('c', 'others', '1');
         INSERT INTO tidings_log (kind, entity, key) VALUES ('d', 'others', '1');",
    );
    let read = reader.log.read(&reader.cursor, 10, None).await.unwrap();
    let Read::Batch(batch) = read else {
        panic!("a gap");
    };
    assert_eq!((batch.records.len(), batch.passed_over), (0, 2));

    let read = reader.log.read(&batch.cursor, 10, None).await.unwrap();
    let Read::Batch(batch) = read else {
        panic!("a gap");
    };
    assert_eq!((batch.records.len(), batch.passed_over), (0, 0));
}

// CL16
#[tokio::test]
async fn programs_with_different_schemas_read_a_record_by_the_names_of_its_fields() {
    let (earlier, later) = (consumers(&["username"]), consumers(&["note", "username"]));
    let database = Database::captured(TABLES, &[later]).await;
    let _ = database
        .installer()
        .await
        .install(&[earlier])
        .await
        .unwrap();
    let store = database.store(Logging::On).await;
    let read_by = async |schema: &'static Schema| Reader::over(log_of(&store, vec![schema])).await;
    let (mut one, mut other) = (read_by(earlier).await, read_by(later).await);

    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', 'a note');");
    let by_earlier = one.changes(earlier).await.remove(0).new.unwrap();
    assert_eq!(by_earlier.0, ["1".into(), "ann".into()]);
    let by_later = other.changes(later).await.remove(0).new.unwrap();
    assert_eq!(by_later.0, ["1".into(), "a note".into(), "ann".into()]);
}
