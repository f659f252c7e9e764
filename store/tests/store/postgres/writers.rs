//! Many writers at a time.

use futures_util::future::join_all;
use sqlx::Row as _;
use tidings_core::Operation;
use tidings_store::{Error, Store, Upserted};

use super::{
    database::{Place, place},
    support::{Fixture, in_short, schemas, typed},
};
use crate::entities::{Acl, Consumer, Credential, consumer, credential};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn upserts_of_one_new_row_make_it_once() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    for round in 0..20 {
        let name = format!("c{round}");
        let upserts = (0..8).map(|_| {
            let consumers = consumers.clone();
            let name = name.clone();
            tokio::spawn(async move {
                let upserted = consumers.upsert_by("username", name, Consumer::default());
                upserted.await.unwrap().1
            })
        });
        let ended = join_all(upserts).await;
        let created = ended.into_iter().filter(|how| match how {
            Ok(how) => *how == Upserted::Created,
            Err(panic) => panic!("{panic}"),
        });
        assert_eq!(created.count(), 1, "{name}");
    }
}

/// Each child has a create and a delete, in either order, and no child is left without its parent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_delete_takes_along_what_is_inserted_beside_it() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let credentials = fixture.dao::<Credential>();
    for round in 0..20 {
        let bob = consumers.insert(consumer("bob")).await.unwrap();
        let inserts = (0..6).map(|number| {
            let insert = credentials.insert(credential(&bob, &format!("{round}-{number}")));
            tokio::spawn(insert)
        });
        let inserts: Vec<_> = inserts.collect();
        consumers.delete(bob.id).await.unwrap().unwrap();
        let mut made = 0;
        for insert in inserts {
            match insert.await.unwrap() {
                Ok(_) => made += 1,
                Err(Error::ForeignKey { field, .. }) => assert_eq!(field, "consumer"),
                Err(error) => panic!("{error:?}"),
            }
        }
        let left = credentials.page(Default::default()).await.unwrap();
        assert_eq!(left.data, []);
        let received = fixture.sink.take();
        let received: Vec<_> = received.iter().flat_map(|set| &set.changes).collect();
        let count = |what: &str| received.iter().filter(|it| in_short(it) == what).count();
        assert_eq!(count("create keyauth_credentials"), made);
        assert_eq!(count("delete keyauth_credentials"), made);
    }
}

/// Writers that lock rows in opposite orders deadlock, and then continue by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deletes_that_stop_each_other_are_done_again() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let acls = fixture.dao::<Acl>();
    for _ in 0..10 {
        let (bob, eve) = (consumer("bob"), consumer("eve"));
        let bob = consumers.insert(bob).await.unwrap();
        let eve = consumers.insert(eve).await.unwrap();
        for (owner, group) in [(&bob, "a"), (&eve, "b"), (&bob, "c"), (&eve, "d")] {
            acls.insert(crate::entities::acl(owner, group))
                .await
                .unwrap();
        }
        let deletes = [bob.id, eve.id, bob.id, eve.id].map(|id| tokio::spawn(consumers.delete(id)));
        let deleted = join_all(deletes).await.into_iter();
        let deleted = deleted.filter(|it| matches!(it, Ok(Ok(Some(_)))));
        assert_eq!(deleted.count(), 2);
        assert_eq!(acls.page(Default::default()).await.unwrap().data, []);
    }
}

/// Waits until this many sessions of a database wait for a lock.
async fn until_rows_are_waited_for(place: &Place, sessions: i64) {
    // Not in a transaction, which would always see the sessions of its first query.
    let mut watcher = place.database.connect().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND datname = current_database()";
    for _ in 0..100_000 {
        let found = sqlx::raw_sql(waiting).fetch_one(&mut watcher).await;
        if found.unwrap().get::<i64, _>(0) >= sessions {
            return;
        }
    }
    panic!("fewer than {sessions} sessions wait for a lock");
}

/// Writes that wait for a row leave connections for reads.
#[tokio::test]
async fn reads_do_not_wait_for_writes_that_wait_for_a_row() {
    let place = place().await;
    let store = Store::options(&place.url).connections(4).open();
    let fixture = Fixture::attach(store.await.unwrap(), &schemas())
        .await
        .unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let mut other = place.database.connect().await;
    let hold = "BEGIN; UPDATE consumers SET tags = NULL";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let writes = (0..8).map(|_| tokio::spawn(consumers.update(bob.id, |_| ())));
    let writes: Vec<_> = writes.collect();
    until_rows_are_waited_for(&place, 3).await;

    for _ in 0..10 {
        assert!(consumers.select(bob.id).await.unwrap().is_some());
    }
    assert!(writes.iter().all(|write| !write.is_finished()));
    drop(other);
    for write in writes {
        assert!(write.await.unwrap().unwrap().is_some());
    }
}

/// The changes of one row form a chain: each predecessor is the row of the change before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_in_transactions_of_many_rows_are_heard_in_the_order_of_each_row() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let row = consumers.insert(consumer("row")).await.unwrap();
    let writers = (0..8).map(|writer: u32| {
        let consumers = consumers.clone();
        tokio::spawn(async move {
            for round in 0..60 {
                let mark = format!("{writer}-{round}");
                let update = consumers.update(row.id, move |row| row.custom_id = Some(mark));
                update.await.unwrap().unwrap();
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let received = fixture.sink.take();
    assert_eq!(received.len(), 1 + 8 * 60);
    let mut last = None;
    for set in received {
        let (operation, new, old) = typed::<Consumer>(&set.changes[0]);
        assert_eq!(operation == Operation::Update, last.is_some());
        assert_eq!(old, last);
        last = Some(new);
    }
}
