//! Transactions over several calls and entities.

use std::time::Duration;

use tidings_core::{Entity as _, Operation, Ref};
use tidings_store::{Error, ErrorKind, Transaction, TransactionOptions, WriteOptions};

use super::support::{Fixture, evicted, in_short, typed};
use crate::entities::{Acl, Consumer, Credential, Grant, acl, consumer, credential};

#[tokio::test]
async fn calls_on_several_entities_are_one_commit_with_one_change_for_each_row() {
    let fixture = Fixture::new().await;
    let eve: Consumer = fixture.dao().insert(consumer("eve")).await.unwrap();
    let old: Credential = fixture.dao().insert(credential(&eve, "e")).await.unwrap();
    fixture.sink.take();

    let transaction = fixture.store.begin().await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    let credentials = transaction.dao::<Credential>().unwrap();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let key = credentials.insert(credential(&bob, "k")).await.unwrap();
    let renamed = |name: &'static str| move |row: &mut Consumer| row.username = Some(name.into());
    consumers.update(bob.id, renamed("rob")).await.unwrap();
    consumers.update(eve.id, renamed("eva")).await.unwrap();
    consumers.update(eve.id, renamed("ava")).await.unwrap();
    credentials.delete(old.id).await.unwrap();
    let short_lived = consumers.insert(consumer("x")).await.unwrap();
    consumers.delete(short_lived.id).await.unwrap();

    // Its own calls see its writes, and the sink receives nothing.
    let found = consumers.select_by("username", "ava").await.unwrap();
    assert_eq!(found.map(|row| row.id), Some(eve.id));
    assert_eq!(consumers.count(Default::default()).await.unwrap(), 2);
    assert_eq!(
        consumers.page(Default::default()).await.unwrap().data.len(),
        2
    );
    assert_eq!(fixture.sink.take(), []);
    transaction.commit().await.unwrap();

    let received = fixture.sink.take_one();
    let short: Vec<_> = received.changes.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "create consumers",
            "create keyauth_credentials",
            "update consumers",
            "delete keyauth_credentials"
        ]
    );
    let (_, created, _) = typed::<Consumer>(&received.changes[0]);
    assert_eq!(created.username.as_deref(), Some("rob"));
    let (_, updated, before) = typed::<Consumer>(&received.changes[2]);
    assert_eq!(updated.username.as_deref(), Some("ava"));
    assert_eq!(before, Some(eve.clone()));
    assert_eq!(typed::<Credential>(&received.changes[3]).1, old);
    let keys = evicted(&received);
    for key in [
        "consumers:bob".to_owned(),
        "consumers:rob".to_owned(),
        "consumers:eve".to_owned(),
        "consumers:eva".to_owned(),
        "consumers:ava".to_owned(),
        format!("consumers@{}", short_lived.id),
        "keyauth_credentials:e".to_owned(),
        format!("keyauth_credentials@{}", key.id),
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert!(
        fixture
            .dao::<Consumer>()
            .select(bob.id)
            .await
            .unwrap()
            .is_some()
    );
}

/// A function that does not know about transactions.
async fn register(
    consumers: &tidings_store::Dao<Consumer>,
    acls: &tidings_store::Dao<Acl>,
    name: &str,
) -> Result<Acl, Error> {
    let made = consumers.insert(consumer(name)).await?;
    acls.insert(acl(&made, "all")).await
}

#[tokio::test]
async fn a_closure_that_fails_or_panics_and_a_handle_that_is_dropped_change_nothing() {
    let fixture = Fixture::new().await;
    let nested = async |transaction: &Transaction| {
        let acls = transaction.dao::<Acl>()?;
        register(&transaction.dao()?, &acls, "bob").await
    };

    let failed = fixture.store.transaction(async |transaction| {
        nested(transaction).await?;
        Err::<(), Error>(Error::Closed)
    });
    assert!(matches!(failed.await, Err(Error::Closed)));

    let store = fixture.store.clone();
    let panicked = tokio::spawn(async move {
        let transaction = store.begin().await.unwrap();
        let consumers = transaction.dao::<Consumer>().unwrap();
        consumers.insert(consumer("eve")).await.unwrap();
        panic!("the transaction is open");
    });
    assert!(panicked.await.unwrap_err().is_panic());

    let transaction = fixture.store.begin().await.unwrap();
    let stale = transaction.dao::<Consumer>().unwrap();
    stale.insert(consumer("zoe")).await.unwrap();
    drop(transaction);
    let after = stale.insert(consumer("late")).await.unwrap_err();
    assert_eq!(after.kind(), ErrorKind::Misuse, "{after:?}");

    // All locks are released, and nothing was stored.
    let made = fixture
        .store
        .transaction(async |transaction| nested(transaction).await);
    let made = made.await.unwrap();
    let consumers = fixture.dao::<Consumer>().page(Default::default()).await;
    let consumers = consumers.unwrap().data;
    assert_eq!(consumers.len(), 1);
    assert_eq!(made.consumer, Ref::to(&consumers[0]));
    let received = fixture.sink.take_one();
    let short: Vec<_> = received.changes.iter().map(in_short).collect();
    assert_eq!(short, ["create consumers", "create acls"]);
}

#[tokio::test]
async fn the_first_call_that_fails_ends_the_transaction() {
    let fixture = Fixture::new().await;
    fixture
        .dao()
        .insert(consumer("bob"))
        .await
        .map(drop::<Consumer>)
        .unwrap();
    fixture.sink.take();

    let transaction = fixture.store.begin().await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    consumers.insert(consumer("eve")).await.unwrap();
    let clash = consumers.insert(consumer("bob")).await.unwrap_err();
    assert!(matches!(clash, Error::Unique { .. }), "{clash:?}");
    let later = consumers.insert(consumer("zoe")).await.unwrap_err();
    let expected = "the transaction has ended: a call in it failed, and it was rolled back";
    assert_eq!(later.to_string(), expected);
    let committed = transaction.commit().await.unwrap_err();
    assert_eq!(committed.to_string(), expected);

    assert_eq!(fixture.sink.take(), []);
    assert_eq!(
        fixture
            .dao::<Consumer>()
            .count(Default::default())
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_is_done_all_the_same() {
    let fixture = Fixture::new().await;
    let transaction = fixture.store.begin().await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    {
        let mut insert = Box::pin(consumers.insert(consumer("bob")));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::future::Future::poll(insert.as_mut(), &mut context);
        assert!(polled.is_pending());
    }
    let found = consumers.select_by("username", "bob").await.unwrap();
    assert!(found.is_some());
    transaction.commit().await.unwrap();
    assert_eq!(fixture.sink.take_one().changes.len(), 1);
}

#[tokio::test]
async fn an_idle_transaction_ends_at_its_limit_and_lets_others_go_on() {
    let fixture = Fixture::new().await;
    let options = TransactionOptions::new().timeout(Duration::from_secs(3));
    let transaction = fixture.store.begin_with(options).await.unwrap();
    let inside = transaction.dao::<Consumer>().unwrap();
    inside.insert(consumer("bob")).await.unwrap();
    fixture.clock.advance(Duration::from_secs(3));

    let outside = fixture.dao::<Consumer>().insert(consumer("bob")).await;
    assert!(outside.is_ok(), "the writer is free: {outside:?}");
    let late = inside.insert(consumer("eve")).await.unwrap_err();
    assert!(matches!(late, Error::TooLong { .. }), "{late:?}");
    let late = transaction.commit().await.unwrap_err();
    let limit = Duration::from_secs(3);
    assert!(matches!(late, Error::TooLong { limit: it } if it == limit));
    assert_eq!(fixture.sink.take_one().changes.len(), 1);

    let unlimited = TransactionOptions::new().timeout(Duration::MAX);
    let refused = fixture.store.begin_with(unlimited).await.unwrap_err();
    assert!(matches!(refused, Error::Setting { .. }), "{refused:?}");
}

#[tokio::test]
async fn silence_is_the_transactions_to_ask_for() {
    let fixture = Fixture::new().await;
    let silent = TransactionOptions::new().silent();
    let transaction = fixture.store.begin_with(silent).await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    let insert = consumers.insert_with(consumer("bob"), WriteOptions::silent());
    insert.await.unwrap();
    transaction.commit().await.unwrap();
    assert!(fixture.sink.take_one().no_event);

    let transaction = fixture.store.begin().await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    let refused = consumers.insert_with(consumer("eve"), WriteOptions::silent());
    assert!(matches!(refused.await, Err(Error::Setting { .. })));
    consumers.insert(consumer("eve")).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(!fixture.sink.take_one().no_event);
}

#[tokio::test]
async fn a_transaction_that_writes_nothing_is_not_heard_of_and_a_tree_goes_in_one() {
    let fixture = Fixture::new().await;
    let transaction = fixture.store.begin().await.unwrap();
    let consumers = transaction.dao::<Consumer>().unwrap();
    assert!(!consumers.exists(Default::default()).await.unwrap());
    transaction.commit().await.unwrap();
    assert_eq!(fixture.sink.take(), []);

    let made = fixture.store.transaction(async |transaction| {
        let bob = transaction.dao()?.insert(consumer("bob")).await?;
        let group = transaction.dao::<Acl>()?.insert(acl(&bob, "g")).await?;
        let grant = Grant {
            id: 1,
            acl: Ref::to(&group),
        };
        transaction.dao::<Grant>()?.insert(grant).await?;
        Ok::<Consumer, Error>(bob)
    });
    let bob = made.await;
    let bob = bob.unwrap();
    fixture.sink.take();
    let deleted = fixture.store.transaction(async |transaction| {
        let grants = transaction.dao::<Grant>()?;
        let other = Grant {
            id: 2,
            acl: grants
                .select(1)
                .await?
                .map(|grant| grant.acl)
                .ok_or(Error::Closed)?,
        };
        grants.insert(other).await?;
        transaction.dao::<Consumer>()?.delete(bob.id).await
    });
    assert!(deleted.await.unwrap().is_some());
    let received = fixture.sink.take_one();
    let operations: Vec<_> = received.changes.iter().map(|it| it.operation).collect();
    assert_eq!(
        operations,
        [Operation::Delete; 3],
        "the new grant was never seen"
    );
    assert_eq!(received.changes[0].schema.name(), Grant::NAME);
}
