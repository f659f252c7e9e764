//! Programs of different versions on one log.

use tidings_core::{
    Schema,
    log::{Body, Log as _, LogError, Members as _, Read},
};
use tidings_store::postgres::log::{InstallOptions, PgLogError, PgMembers, install};

use crate::{
    capture::numbers,
    support::{Reader, captured, log_of, schemas, settings_of},
};

// CL16
#[tokio::test]
async fn a_log_of_a_later_version_is_refused_and_says_so() {
    let database = captured().await;
    database.psql("update tidings.version set number = 99");

    let head = log_of(&database, schemas()).head(None).await;
    let listed = PgMembers::new(&settings_of(&database, schemas()))
        .list()
        .await;
    for refused in [head.err(), listed.err()] {
        let received =
            matches!(&refused, Some(LogError::Unfit { reason }) if reason.contains("layout 99"));
        assert!(received, "{refused:?}");
    }
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert!(
        matches!(installed, Err(PgLogError::Newer { found: 99, .. })),
        "{installed:?}"
    );
}

// CL16
#[tokio::test]
async fn records_of_another_version_are_told_as_unreadable_and_those_beside_them_are_read() {
    let database = captured().await;
    let reader = Reader::at_head(&database).await;
    database.psql(
        "insert into tidings.log (kind, entity, new) values ('i', '', array['an entry', 'of', 'the future']);
         insert into tidings.log (kind, entity, key) values ('x', 'numbers', '1');
         insert into numbers values (2);",
    );

    let read = reader.log.read(&reader.cursor, 10, None).await;
    let Read::Batch(batch) = read.expect("a read") else {
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
    assert_eq!((&**entity, &*row.entity), ("numbers", "numbers"));
}

#[tokio::test]
async fn a_read_says_how_many_records_of_entities_that_are_not_declared_it_passed_over() {
    let database = captured().await;
    let reader = Reader::at_head(&database).await;
    database.psql(
        "insert into tidings.log (kind, entity, key) values ('c', 'others', '1');
         insert into tidings.log (kind, entity, key) values ('d', 'others', '1');",
    );
    let read = reader.log.read(&reader.cursor, 10, None).await;
    let Read::Batch(batch) = read.expect("a read") else {
        panic!("a gap");
    };
    assert_eq!((batch.records.len(), batch.passed_over), (0, 2));

    let read = reader.log.read(&batch.cursor, 10, None).await;
    let Read::Batch(batch) = read.expect("a read") else {
        panic!("a gap");
    };
    assert_eq!((batch.records.len(), batch.passed_over), (0, 0));
}

// CL16
#[tokio::test]
async fn programs_with_different_schemas_read_a_record_by_the_names_of_its_fields() {
    let database = captured().await;
    database.psql("alter table numbers add column further text");
    let (earlier, later) = (numbers(&["text"]), numbers(&["further", "text"]));
    let mut connection = database.connect().await;
    for schema in [later, earlier] {
        let installed = install(&mut connection, &[schema], InstallOptions::default()).await;
        let _ = installed.expect("captured");
    }
    let read_by = async |schema: &'static Schema| Reader::of(log_of(&database, vec![schema])).await;
    let (mut one, mut other) = (read_by(earlier).await, read_by(later).await);

    database.psql("insert into numbers values (1, 'one', 'more')");
    let by_earlier = one.changes(earlier).await.remove(0).new.expect("a row");
    assert_eq!(by_earlier.0, [1_i64.into(), "one".into()]);
    let by_later = other.changes(later).await.remove(0).new.expect("a row");
    assert_eq!(by_later.0, [1_i64.into(), "more".into(), "one".into()]);
}
