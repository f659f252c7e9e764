//! Deletes, and the rows that depend on the deleted row.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use tidings_core::{
    Entity, Field, Foreign, OnDelete, OnUpdate, Operation, Patch, Ref, Row, Schema, Value,
};
use tidings_store::{Error, Selector, Store, Table, WriteOptions};

use super::support::{Fixture, evicted, in_short, places, typed};
use crate::entities::{Acl, Consumer, Credential, Grant, Invoice, Note, acl, consumer, credential};

/// DA4
#[tokio::test]
async fn a_delete_announces_every_descendant_once_children_first() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let eve = fixture.dao().insert(consumer("eve")).await.unwrap();
    let key: Credential = fixture.dao().insert(credential(&bob, "k")).await.unwrap();
    let kept: Credential = fixture.dao().insert(credential(&eve, "e")).await.unwrap();
    let group: Acl = fixture.dao().insert(acl(&bob, "g")).await.unwrap();
    let grant = Grant {
        id: 1,
        acl: Ref::to(&group),
    };
    fixture.dao().insert(grant.clone()).await.unwrap();
    fixture.sink.take();

    fixture
        .dao::<Consumer>()
        .delete(bob.id)
        .await
        .unwrap()
        .unwrap();
    let received = fixture.sink.take_one();
    let short: Vec<_> = received.changes.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "delete keyauth_credentials",
            "delete grants",
            "delete acls",
            "delete consumers"
        ]
    );
    let (_, last, old) = typed::<Credential>(&received.changes[0]);
    assert_eq!((last, old), (key.clone(), None));
    assert_eq!(
        evicted(&received),
        [
            format!("acls:{}:g", bob.id),
            format!("acls@{}", group.id),
            "consumers:bob".to_owned(),
            format!("consumers@{}", bob.id),
            "grants@1".to_owned(),
            "keyauth_credentials:k".to_owned(),
            format!("keyauth_credentials@{}", key.id),
        ]
    );
    assert_eq!(fixture.dao::<Grant>().select(1).await.unwrap(), None);
    let credentials = fixture.dao::<Credential>();
    assert_eq!(credentials.select(key.id).await.unwrap(), None);
    assert_eq!(credentials.select(kept.id).await.unwrap(), Some(kept));
}

/// DA9
#[tokio::test]
async fn a_parent_that_is_referenced_with_restrict_stays_and_nothing_changes() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let key: Credential = fixture.dao().insert(credential(&bob, "k")).await.unwrap();
    let note = Note {
        id: 1,
        author: Some(Ref::to(&bob)),
        reader: None,
        updated_at: tidings_core::Timestamp::default(),
    };
    let note = fixture.dao().insert(note).await.unwrap();
    let invoice = Invoice {
        id: "2026-1".to_owned(),
        consumer: Ref::to(&bob),
    };
    fixture.dao().insert(invoice.clone()).await.unwrap();
    fixture.sink.take();

    let consumers = fixture.dao::<Consumer>();
    match consumers.delete(bob.id).await.unwrap_err() {
        Error::Restricted { entity, by, field } => {
            assert_eq!([entity, by, field], ["consumers", "invoices", "consumer"]);
        }
        error => panic!("{error:?}"),
    }
    assert_eq!(fixture.sink.take(), []);
    assert_eq!(fixture.sink.take_in_doubt(), []);
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob.clone()));
    let stored = fixture.dao::<Credential>().select(key.id).await.unwrap();
    assert_eq!(stored, Some(key));
    assert_eq!(fixture.dao::<Note>().select(1).await.unwrap(), Some(note));

    fixture.dao::<Invoice>().delete(invoice.id).await.unwrap();
    assert_eq!(consumers.delete(bob.id).await.unwrap(), Some(bob));
}

#[tokio::test]
async fn set_null_is_one_update_of_each_row_however_many_references_it_loses() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let eve: Consumer = fixture.dao().insert(consumer("eve")).await.unwrap();
    for (id, reader) in [(1, &bob), (2, &eve)] {
        let note = Note {
            id,
            author: Some(Ref::to(&bob)),
            reader: Some(Ref::to(reader)),
            updated_at: tidings_core::Timestamp::default(),
        };
        fixture.dao().insert(note).await.unwrap();
    }
    fixture.sink.take();
    fixture.clock.advance(std::time::Duration::from_secs(3));
    fixture.dao::<Consumer>().delete(bob.id).await.unwrap();
    let received = fixture.sink.take_one();
    let short: Vec<_> = received.changes.iter().map(in_short).collect();
    assert_eq!(short, ["update notes", "update notes", "delete consumers"]);
    for (change, reader) in received.changes.iter().zip([None, Some(Ref::to(&eve))]) {
        let (operation, row, old) = typed::<Note>(change);
        assert_eq!(operation, Operation::Update);
        assert_eq!((row.author, row.reader), (None, reader));
        assert_eq!(row.updated_at.as_unix(), 1_700_000_003);
        assert_eq!(old.unwrap().author, Some(Ref::to(&bob)));
    }
}

/// Must have an author or a title.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "memos", at_least_one_of("author", "title"))]
struct Memo {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign, on_delete = "set_null")]
    author: Option<Ref<Consumer>>,
    title: Option<String>,
}

#[tokio::test]
async fn a_delete_that_fails_half_way_changes_nothing() {
    for place in places().await {
        let store = Store::open(&place.url).await.unwrap();
        let schemas = [Consumer::schema(), Memo::schema()];
        let fixture = Fixture::attach(store, &schemas).await.unwrap();
        let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
        let memos = fixture.dao::<Memo>();
        for (id, title) in [(1, Some("kept")), (2, None)] {
            let memo = Memo {
                id,
                author: Some(Ref::to(&bob)),
                title: title.map(str::to_owned),
            };
            memos.insert(memo).await.unwrap();
        }
        let before = memos.page(Default::default()).await.unwrap();
        fixture.sink.take();
        let error = fixture.dao::<Consumer>().delete(bob.id).await.unwrap_err();
        assert!(matches!(error, Error::Violations { ref entity, .. } if entity == "memos"));
        assert_eq!(memos.page(Default::default()).await.unwrap(), before);
        assert_eq!(fixture.sink.take(), []);
    }
}

/// Rows that refer to rows of the same entity in three ways.
static KNOTS: LazyLock<Schema> = LazyLock::new(|| {
    let refers = |name: &str, on_delete| {
        let field = Field::of::<Option<i64>>(name);
        field.refers_to(Foreign {
            entity: "knots".to_owned(),
            key: "id".to_owned(),
            on_delete,
            on_update: if name == "cascades" {
                OnUpdate::Evict
            } else {
                OnUpdate::Keep
            },
        })
    };
    Schema::builder("knots")
        .field(Field::of::<i64>("id").primary_key())
        .field(refers("cascades", OnDelete::Cascade))
        .field(refers("also_cascades", OnDelete::Cascade))
        .field(refers("restricts", OnDelete::Restrict))
        .build()
});

async fn knots() -> (Fixture, Table) {
    let fixture = Fixture::with(&[&KNOTS]).await;
    let table = fixture.store.table("knots").unwrap();
    (fixture, table)
}

/// Stores knots, and ties them afterwards, since they may refer to each other in any order.
async fn tie(table: &Table, knots: &[(i64, [Option<i64>; 3])]) {
    for (id, _) in knots {
        let row = Row(vec![Value::Integer(*id)]);
        table.insert(row, WriteOptions::default()).await.unwrap();
    }
    for (id, references) in knots {
        let values = references.map(|to| to.map_or(Value::Null, Value::Integer));
        let patch = ["cascades", "also_cascades", "restricts"]
            .into_iter()
            .zip(values)
            .collect::<Patch>();
        let selector = Selector::primary(Value::Integer(*id));
        let tied = table.update(selector, patch, WriteOptions::default());
        tied.await.unwrap().unwrap();
    }
}

async fn delete(table: &Table, id: i64) -> Result<Option<Row>, Error> {
    let selector = Selector::primary(Value::Integer(id));
    table.delete(selector, WriteOptions::default()).await
}

fn ids(changes: &tidings_store::ChangeSet) -> Vec<i64> {
    let deletes = changes.changes.iter();
    deletes
        .map(|change| {
            assert_eq!(change.operation, Operation::Delete);
            match change.row.0[0] {
                Value::Integer(id) => id,
                ref value => panic!("{value:?}"),
            }
        })
        .collect()
}

#[tokio::test]
async fn a_diamond_is_deleted_once_and_each_row_before_all_that_it_refers_to() {
    let (fixture, table) = knots().await;
    // 4 depends on 1 directly, and also below 2 and 3; it is found before 5, to which it refers
    // too.
    tie(
        &table,
        &[
            (1, [None, None, None]),
            (2, [Some(1), None, None]),
            (3, [Some(1), None, None]),
            (4, [Some(1), Some(5), None]),
            (5, [Some(2), Some(3), None]),
        ],
    )
    .await;
    fixture.sink.take();
    delete(&table, 1).await.unwrap().unwrap();
    let order = ids(&fixture.sink.take_one());
    assert_eq!(order, [4, 5, 2, 3, 1]);
}

#[tokio::test]
async fn circles_and_rows_that_refer_to_themselves_are_deleted_once() {
    let (fixture, table) = knots().await;
    tie(
        &table,
        &[
            (1, [Some(3), None, None]),
            (2, [Some(1), None, None]),
            (3, [Some(2), Some(3), None]),
            (4, [Some(4), None, Some(4)]),
            (5, [Some(3), None, Some(1)]),
        ],
    )
    .await;
    fixture.sink.take();
    delete(&table, 4).await.unwrap().unwrap();
    assert_eq!(ids(&fixture.sink.take_one()), [4]);
    // 5 restricts the delete of 1, but is deleted with it.
    delete(&table, 1).await.unwrap().unwrap();
    let mut order = ids(&fixture.sink.take_one());
    assert_eq!(order[0], 5, "nothing refers to it: {order:?}");
    order.sort_unstable();
    assert_eq!(order, [1, 2, 3, 5]);
    assert_eq!(table.page(Default::default()).await.unwrap().data, []);
}

#[tokio::test]
async fn a_restriction_far_below_forbids_the_whole_delete() {
    let (fixture, table) = knots().await;
    tie(
        &table,
        &[
            (1, [None, None, None]),
            (2, [Some(1), None, None]),
            (3, [Some(2), None, None]),
            (9, [None, None, Some(3)]),
        ],
    )
    .await;
    fixture.sink.take();
    let error = delete(&table, 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "knots is still referenced by knots through its field restricts"
    );
    assert_eq!(fixture.sink.take(), []);
    assert_eq!(table.page(Default::default()).await.unwrap().data.len(), 4);
    // The refused delete left no state behind that would weaken the checks of the next write.
    let dangling = Row(vec![Value::Integer(10), Value::Integer(77)]);
    let error = table.insert(dangling, WriteOptions::default()).await;
    assert!(matches!(error, Err(Error::ForeignKey { .. })), "{error:?}");
}

/// More rows than one statement takes, wide and deep.
#[tokio::test]
async fn a_large_tree_is_deleted_whole() {
    let (fixture, table) = knots().await;
    let mut knots = vec![(0, [None; 3])];
    knots.extend((1..=1200).map(|id| (id, [Some(0), None, None])));
    knots.extend((1201..=1300).map(|id| (id, [Some(id - 1), None, None])));
    tie(&table, &knots).await;
    fixture.sink.take();
    let evicting = Selector::primary(Value::Integer(0));
    let updated = table.update(evicting, Patch::new(), WriteOptions::default());
    updated.await.unwrap().unwrap();
    assert_eq!(fixture.sink.take_one().evict.len(), knots.len());
    delete(&table, 0).await.unwrap().unwrap();
    let received = fixture.sink.take_one();
    let mut order = ids(&received);
    assert_eq!(order.last(), Some(&0));
    let position = |id| order.iter().position(|&other| other == id);
    assert!(position(1300) < position(1299) && position(1201) < position(1200));
    assert_eq!(received.evict.len(), knots.len());
    order.sort_unstable();
    assert_eq!(order, (0..=1300).collect::<Vec<_>>());
}
