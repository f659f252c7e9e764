//! Deletes and what goes with the row.

use tidings_core::{Operation, Ref};
use tidings_store::Error;

use crate::{
    entities::{Acl, Consumer, Credential, Grant, Invoice, Note, acl, consumer, credential},
    support::{Fixture, evicted, in_short, typed},
};

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
    let heard = fixture.sink.take_one();
    let short: Vec<_> = heard.changes.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "delete keyauth_credentials",
            "delete grants",
            "delete acls",
            "delete consumers"
        ]
    );
    let (_, last, old) = typed::<Credential>(&heard.changes[0]);
    assert_eq!((last, old), (key.clone(), None));
    assert_eq!(
        evicted(&heard),
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
    let heard = fixture.sink.take_one();
    let short: Vec<_> = heard.changes.iter().map(in_short).collect();
    assert_eq!(short, ["update notes", "update notes", "delete consumers"]);
    for (change, reader) in heard.changes.iter().zip([None, Some(Ref::to(&eve))]) {
        let (operation, row, old) = typed::<Note>(change);
        assert_eq!(operation, Operation::Update);
        assert_eq!((row.author, row.reader), (None, reader));
        assert_eq!(row.updated_at.as_unix(), 1_700_000_003);
        assert_eq!(old.unwrap().author, Some(Ref::to(&bob)));
    }
}
