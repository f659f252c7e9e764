//! What a sink receives for each write.

use std::time::Duration;

use tidings_core::{Cause, Operation, Origin};
use tidings_store::{Upserted, WriteOptions};

use super::support::{Fixture, evicted, in_short, typed};
use crate::entities::{Acl, Consumer, Credential, Grant, acl, consumer, credential};

/// EV1
#[tokio::test]
async fn a_create_is_one_change_with_the_row_and_no_predecessor() {
    let fixture = Fixture::new().await;
    let bob = fixture
        .dao::<Consumer>()
        .insert(consumer("bob"))
        .await
        .unwrap();
    let received = fixture.sink.take_one();
    assert_eq!(received.changes.len(), 1);
    let (operation, row, old) = typed::<Consumer>(&received.changes[0]);
    assert_eq!((operation, &row, old), (Operation::Create, &bob, None));
    assert_eq!(row.custom_id, None);
    assert_eq!(
        evicted(&received),
        ["consumers:bob".to_owned(), format!("consumers@{}", bob.id)]
    );
    assert!(!received.no_event);
    assert_eq!(received.cause, None);
}

/// EV2
#[tokio::test]
async fn an_upsert_of_a_new_row_is_a_create_and_of_an_old_one_an_update() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let (bob, upserted) = consumers
        .upsert_by("username", "bob", Consumer::default())
        .await
        .unwrap();
    assert_eq!(upserted, Upserted::Created);
    assert_eq!(
        in_short(&fixture.sink.take_one().changes[0]),
        "create consumers"
    );

    fixture.clock.advance(Duration::from_secs(5));
    let custom = Consumer {
        custom_id: Some("b".to_owned()),
        ..Consumer::default()
    };
    let (again, upserted) = consumers
        .upsert_by("username", "bob", custom)
        .await
        .unwrap();
    assert_eq!(upserted, Upserted::Replaced);
    assert_eq!((again.id, again.created_at), (bob.id, bob.created_at));
    assert_eq!(again.updated_at.as_unix(), bob.updated_at.as_unix() + 5);
    let change = fixture.sink.take_one().changes.remove(0);
    assert_eq!(
        typed::<Consumer>(&change),
        (Operation::Update, again, Some(bob))
    );
}

/// EV2
#[tokio::test]
async fn an_update_carries_its_true_predecessor_and_evicts_the_keys_of_both() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let credentials = fixture.dao::<Credential>();
    let first = credentials.insert(credential(&bob, "first")).await.unwrap();
    fixture.sink.take();
    let second = credentials
        .update_by("key", "first", |row| row.key = Some("second".to_owned()))
        .await
        .unwrap()
        .unwrap();
    let received = fixture.sink.take_one();
    assert_eq!(
        evicted(&received),
        [
            "keyauth_credentials:first".to_owned(),
            "keyauth_credentials:second".to_owned(),
            format!("keyauth_credentials@{}", first.id),
        ]
    );
    assert_eq!(
        typed::<Credential>(&received.changes[0]),
        (Operation::Update, second, Some(first))
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_an_update() {
    let fixture = Fixture::new().await;
    let credentials = fixture.dao::<Credential>();
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let row = credentials.insert(credential(&bob, "k")).await.unwrap();
    fixture.sink.take();
    let same = credentials.update(row.id, |_| ()).await.unwrap().unwrap();
    assert_eq!(same, row);
    let change = fixture.sink.take_one().changes.remove(0);
    assert_eq!(
        typed::<Credential>(&change),
        (Operation::Update, same, Some(row))
    );
}

/// EV4
#[tokio::test]
async fn a_delete_carries_the_last_row_and_no_predecessor() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let bob = consumers
        .update(bob.id, |row| row.custom_id = Some("b".to_owned()))
        .await
        .unwrap()
        .unwrap();
    fixture.sink.take();
    assert_eq!(consumers.delete(bob.id).await.unwrap(), Some(bob.clone()));
    let change = fixture.sink.take_one().changes.remove(0);
    assert_eq!(typed::<Consumer>(&change), (Operation::Delete, bob, None));
}

/// EV5
#[tokio::test]
async fn a_silent_write_changes_the_row_and_evicts_but_says_that_no_handler_is_to_hear() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers
        .insert_with(consumer("bob"), WriteOptions::silent())
        .await
        .unwrap();
    let received = fixture.sink.take_one();
    assert!(received.no_event);
    assert_eq!(received.evict.len(), 2);
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
}

#[tokio::test]
async fn what_changes_nothing_is_not_heard_of() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    assert!(
        consumers
            .delete_by("username", "eve")
            .await
            .unwrap()
            .is_none()
    );
    let absent = consumers.update_by("username", "eve", |_| ()).await;
    assert!(absent.unwrap().is_none());
    consumers.insert(consumer("bob")).await.unwrap_err();
    consumers.select(bob.id).await.unwrap();
    assert_eq!(fixture.sink.take(), []);
}

/// G8
#[tokio::test]
async fn a_changed_parent_takes_the_cached_children_along_to_any_depth() {
    let fixture = Fixture::new().await;
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let eve = fixture.dao().insert(consumer("eve")).await.unwrap();
    let mut expected = vec!["consumers:bob".to_owned(), format!("consumers@{}", bob.id)];
    for (number, group) in (0..).zip(["a", "b"]) {
        let acl: Acl = fixture.dao().insert(acl(&bob, group)).await.unwrap();
        expected.push(format!("acls:{}:{group}", bob.id));
        expected.push(format!("acls@{}", acl.id));
        let grant = Grant {
            id: number,
            acl: tidings_core::Ref::to(&acl),
        };
        fixture.dao().insert(grant).await.unwrap();
        expected.push(format!("grants@{number}"));
    }
    fixture.dao().insert(acl(&eve, "a")).await.unwrap();
    // Credentials do not ask to be evicted with their consumer.
    fixture.dao().insert(credential(&bob, "k")).await.unwrap();
    fixture.sink.take();
    fixture
        .dao::<Consumer>()
        .update(bob.id, |_| ())
        .await
        .unwrap();
    let received = fixture.sink.take_one();
    expected.sort();
    assert_eq!(evicted(&received), expected);
    assert_eq!(received.changes.len(), 1);
}

#[tokio::test]
async fn the_cause_is_that_of_the_call_and_not_of_the_poll() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let cause = Cause {
        number: 7,
        origin: Origin::Local,
    };
    let in_handler = {
        let _handler = cause.enter();
        consumers.insert(consumer("bob"))
    };
    in_handler.await.unwrap();
    assert_eq!(fixture.sink.take_one().cause, Some(cause));

    let in_handler = {
        let _handler = cause.enter();
        fixture.store.begin()
    };
    let transaction = in_handler.await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    consumers.insert(consumer("eve")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.sink.take_one().cause, Some(cause));
}
