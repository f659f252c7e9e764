//! Databases that go away, and answers that never come.

use std::time::Duration;

use tidings_store::{Error, Store};
use tidings_testkit::{Commit, Link, Proxy, Then};

use super::{
    database::{Place, place},
    support::{Fixture, schemas},
};
use crate::entities::{Consumer, consumer};

/// Short, because the tests wait for it.
const LIMIT: Duration = Duration::from_millis(400);

/// A store whose link to the database can fail.
async fn linked() -> (Place, Proxy, Fixture) {
    let place = place().await;
    let proxy = Proxy::to(&place.database).await;
    let options = Store::options(proxy.url(&place.database)).timeout(LIMIT);
    let store = options.open().await.unwrap();
    let fixture = Fixture::attach(store, &schemas()).await.unwrap();
    (place, proxy, fixture)
}

#[tokio::test]
async fn a_database_that_goes_away_gives_typed_errors_shows_in_health_and_heals() {
    let (_place, proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    for link in [Link::Refusing, Link::Silent] {
        proxy.set(link);
        let error = consumers.select(bob.id).await.unwrap_err();
        assert!(
            matches!(error, Error::Unreachable(_)),
            "{link:?}: {error:?}"
        );
        let error = consumers.insert(consumer("eve")).await.unwrap_err();
        assert!(
            matches!(error, Error::Unreachable(_)),
            "{link:?}: {error:?}"
        );
        let health = fixture.store.health().await;
        assert!(!health.reachable && health.error.is_some(), "{health:?}");
        assert_eq!(health.engine, "postgres");

        proxy.set(Link::Open);
        let found = consumers.select(bob.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&bob), "{link:?}");
        consumers.update(bob.id, |_| ()).await.unwrap().unwrap();
        assert!(fixture.store.health().await.reachable);
    }
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced_unnoticed() {
    let place = place().await;
    let fixture = Fixture::at(&place.url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let reads = (0..8).map(|_| consumers.select(bob.id));
    futures_util::future::join_all(reads).await;
    for round in 0..3 {
        place.database.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'tidings' AND datname = current_database();",
        );
        if round % 2 == 0 {
            assert!(consumers.select(bob.id).await.unwrap().is_some());
        }
        consumers.update(bob.id, |_| ()).await.unwrap().unwrap();
    }
    assert_eq!(fixture.sink.take_in_doubt(), []);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_asked_for_and_found() {
    let (_place, proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    proxy.set(Link::Losing(Commit::Answer, Then::Open));
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
    assert_eq!(fixture.sink.take().len(), 1);
    assert_eq!(fixture.sink.take_in_doubt(), []);
}

#[tokio::test]
async fn a_commit_that_never_arrived_changed_nothing() {
    let (_place, proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    proxy.set(Link::Losing(Commit::Question, Then::Open));
    let error = consumers.insert(consumer("bob")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    let page = consumers.page(Default::default()).await.unwrap();
    assert_eq!(page.data, []);
    assert_eq!(fixture.sink.take(), []);
    consumers.insert(consumer("bob")).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_cannot_be_asked_for_is_in_doubt_and_evicts() {
    let (_place, proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    proxy.set(Link::Losing(Commit::Answer, Then::Refusing));
    let error = consumers.insert(consumer("bob")).await.unwrap_err();
    assert!(matches!(error, Error::Commit(_)), "{error:?}");
    let doubted = fixture.sink.take_in_doubt();
    assert_eq!(doubted[0].evict[0].as_str(), "consumers:bob");
    assert_eq!(fixture.sink.take(), []);

    proxy.set(Link::Open);
    assert!(
        consumers
            .select_by("username", "bob")
            .await
            .unwrap()
            .is_some()
    );
    consumers.insert(consumer("eve")).await.unwrap();
    assert_eq!(fixture.sink.take().len(), 1);
}

/// A row that another program holds is waited for, and not longer than the limit.
#[tokio::test]
async fn a_row_that_is_held_makes_the_database_busy() {
    let (place, _proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let mut other = place.database.connect().await;
    let hold = "BEGIN; UPDATE consumers SET tags = NULL";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let error = consumers.update(bob.id, |_| ()).await.unwrap_err();
    assert!(
        matches!(error, Error::Busy(_) | Error::Unreachable(_)),
        "{error:?}"
    );
    assert!(consumers.select(bob.id).await.unwrap().is_some());
    drop(other);
    consumers.update(bob.id, |_| ()).await.unwrap().unwrap();
}
