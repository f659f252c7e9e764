//! Writes of more rows than are reported one by one.

use std::{sync::LazyLock, time::Duration};

use tidings_core::{
    Entity as _, Field, Foreign, OnDelete, OnUpdate, Ref, Row, Schema, Timestamp, Value,
};
use tidings_store::{Error, Selector, Store, Table, WriteOptions};

use super::support::{Fixture, Place, schemas, stored_place};
use crate::entities::{Acl, Consumer, Credential, Note, consumer, credential};

/// A store whose database other connections can reach.
async fn fixture(schemas: &[&'static Schema]) -> (Place, Fixture) {
    let place = stored_place().await;
    let store = Store::options(&place.url).timeout(Duration::from_secs(60));
    let fixture = Fixture::attach(store.open().await.unwrap(), schemas).await;
    (place, fixture.unwrap())
}

/// The numbers from 1 to a last one, as the beginning of a statement.
fn numbers(last: usize) -> String {
    format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last})")
}

fn names(touched: &[&'static Schema]) -> Vec<&'static str> {
    let mut names: Vec<_> = touched.iter().map(|schema| schema.name()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_consumer_with_100_000_credentials_goes_with_all_of_them_and_nothing_else() {
    let (place, fixture) = fixture(&schemas()).await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let eve = consumers.insert(consumer("eve")).await.unwrap();
    let kept = fixture.dao().insert(credential(&eve, "kept")).await;
    let kept: Credential = kept.unwrap();
    place.credentials(100_000, &bob.id.to_string()).await;
    fixture.sink.take();

    let deleted = consumers.delete(bob.id).await.unwrap();
    assert_eq!(deleted, Some(bob));
    let received = fixture.sink.take_one();
    assert_eq!((received.changes, received.evict), (vec![], vec![]));
    assert_eq!(names(&received.touched), [Consumer::NAME, Credential::NAME]);
    let left = fixture.dao::<Credential>().page(Default::default()).await;
    assert_eq!(left.unwrap().data, [kept]);
    place.expect_deletes(100_001).await;
}

/// Rows that refer to rows of the same entity in three ways.
static RINGS: LazyLock<Schema> = LazyLock::new(|| {
    let refers = |name: &str, on_delete| {
        let field = Field::of::<Option<i64>>(name);
        field.refers_to(Foreign {
            entity: "rings".to_owned(),
            key: "id".to_owned(),
            on_delete,
            on_update: OnUpdate::Keep,
        })
    };
    Schema::builder("rings")
        .field(Field::of::<i64>("id").primary_key())
        .field(refers("cascades", OnDelete::Cascade))
        .field(refers("restricts", OnDelete::Restrict))
        .field(refers("clears", OnDelete::SetNull))
        .build()
});

async fn delete(table: &Table, id: i64) -> Result<Option<Row>, Error> {
    let selector = Selector::primary(Value::Integer(id));
    table.delete(selector, WriteOptions::default()).await
}

/// A wide and deep tree whose root depends on one of its leaves, and other rows.
#[tokio::test]
async fn circles_restrictions_and_references_to_clear_are_the_same_in_a_large_delete() {
    let (place, fixture) = fixture(&[&RINGS]).await;
    let table = fixture.store.table("rings").unwrap();
    let tree = format!(
        "{} INSERT INTO rings (id, cascades) SELECT i, CASE WHEN i = 1 THEN 12000 WHEN i < 11900 THEN i / 3 + 1 ELSE i - 1 END FROM n",
        numbers(12_000)
    );
    place.run(&tree).await;
    // 7 is deleted with the row that it restricts; 20000 loses two references; 20001 remains in the
    // way.
    place
        .run(
            "UPDATE rings SET restricts = 11950, clears = 8 WHERE id = 7; \
             INSERT INTO rings (id, clears) VALUES (20000, 9), (20002, 20000); \
             INSERT INTO rings (id, restricts, clears) VALUES (20001, 11500, 5)",
        )
        .await;

    let error = delete(&table, 1).await.unwrap_err();
    let expected = "rings is still referenced by rings through its field restricts";
    assert_eq!(error.to_string(), expected);
    assert_eq!(fixture.sink.take(), []);
    let stays = table.select(Value::Integer(20_000)).await.unwrap().unwrap();
    assert_eq!(stays.0[3], Value::Integer(9), "nothing was changed");

    place.run("DELETE FROM rings WHERE id = 20001").await;
    assert!(delete(&table, 1).await.unwrap().is_some());
    let left = table.page(Default::default()).await.unwrap().data;
    let row = |id: i64, clears| Row(vec![id.into(), Value::Null, Value::Null, clears]);
    assert_eq!(
        left,
        [
            row(20_000, Value::Null),
            row(20_002, Value::Integer(20_000))
        ]
    );
    assert_eq!(names(&fixture.sink.take_one().touched), ["rings"]);
}

#[tokio::test]
async fn references_of_many_rows_are_cleared_each_with_its_time() {
    let (place, fixture) = fixture(&schemas()).await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let notes = format!(
        "{} INSERT INTO notes (id, author, reader, updated_at) SELECT n.i, c.id, c.id, 1 FROM n, consumers c",
        numbers(10_001)
    );
    place.run(&notes).await;
    fixture.clock.advance(Duration::from_secs(5));
    fixture.sink.take();

    fixture.dao::<Consumer>().delete(bob.id).await.unwrap();
    let received = fixture.sink.take_one();
    assert_eq!(names(&received.touched), [Consumer::NAME, Note::NAME]);
    let last = fixture.dao::<Note>().select(10_001).await.unwrap();
    let expected = Note {
        id: 10_001,
        author: None,
        reader: None,
        updated_at: Timestamp::from_unix(1_700_000_005),
    };
    assert_eq!(last, Some(expected));
}

#[tokio::test]
async fn an_update_whose_children_are_too_many_to_evict_one_by_one_tells_their_entity() {
    let (place, fixture) = fixture(&schemas()).await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    place.acls(20_000, &bob.id.to_string()).await;
    fixture.sink.take();

    consumers.update(bob.id, |_| ()).await.unwrap();
    let received = fixture.sink.take_one();
    assert_eq!((received.changes, received.evict), (vec![], vec![]));
    assert_eq!(names(&received.touched), [Acl::NAME, Consumer::NAME]);
}

#[tokio::test]
async fn a_write_that_holds_others_up_for_too_long_is_rolled_back() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    let clock = fixture.clock.clone();
    let slow = consumers.update(bob.id, move |row| {
        row.custom_id = Some("late".to_owned());
        clock.advance(Duration::from_secs(10));
    });
    let error = slow.await.unwrap_err();
    assert!(
        matches!(error, Error::TooLong { limit } if limit == Duration::from_secs(10)),
        "{error:?}"
    );
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob.clone()));
    assert_eq!(fixture.sink.take(), []);
    let again = Ref::to(&bob);
    let note = Note {
        id: 1,
        author: Some(again),
        reader: None,
        updated_at: Timestamp::default(),
    };
    assert!(fixture.dao().insert(note).await.is_ok(), "the next goes on");
}
