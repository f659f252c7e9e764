//! Databases that go away, and answers that never come.

use std::time::Duration;

use sqlx::{ConnectOptions as _, PgConnection, Row as _};
use tidings_store::{Error, Store};
use tidings_testkit::{Commit, Database, Link, Proxy, Server, Then};

use super::{
    database::{Place, needs, place},
    support::{Fixture, schemas},
};
use crate::entities::{Consumer, consumer};

/// Short, because the tests wait for it to pass.
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

/// The server's processes for the store's connections, except the one that holds its lock.
fn sessions(place: &Place) -> Vec<String> {
    let sessions = place.database.psql(
        "SELECT pid FROM pg_stat_activity a \
         WHERE application_name = 'tidings' AND datname = current_database() \
         AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND locktype = 'advisory')",
    );
    sessions.lines().map(str::to_owned).collect()
}

/// After a gap they may lead to a server that is no longer the primary.
#[tokio::test]
async fn connections_from_before_a_log_retires_them_are_closed_and_lent_to_no_one() {
    let place = place().await;
    let fixture = Fixture::at(&place.url).await.unwrap();
    let log = fixture.store.log(needs(schemas())).unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    // Two at once are two connections, one of which is idle afterwards.
    let idle = fixture.store.begin().await.unwrap();
    let open = fixture.store.begin().await.unwrap();
    idle.commit().await.unwrap();
    let before = sessions(&place);
    assert!(before.len() > 1, "{before:?}");

    log.retire_connections().await.unwrap();
    open.commit().await.unwrap();
    // A socket that was closed ends its process a moment later.
    let are_there = || sessions(&place).iter().any(|pid| before.contains(pid));
    let mut looks = 0..200;
    while are_there() {
        assert!(looks.next().is_some(), "they stay");
        assert!(consumers.select(bob.id).await.unwrap().is_some());
    }
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
    assert_eq!(fixture.sink.take_in_doubt(), []);
    consumers.insert(consumer("bob")).await.unwrap();
}

/// A constraint that is checked at the commit: the server reports that nothing was changed.
#[tokio::test]
async fn a_commit_that_the_database_refuses_changed_nothing_and_is_not_in_doubt() {
    let place = place().await;
    let fixture = Fixture::at(&place.url).await.unwrap();
    place.database.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
           $$BEGIN RAISE EXCEPTION 'not this one'; END$$;
         CREATE CONSTRAINT TRIGGER poison AFTER INSERT ON consumers DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW WHEN (NEW.username = 'poison') EXECUTE FUNCTION refuse();",
    );
    let consumers = fixture.dao::<Consumer>();
    for _ in 0..3 {
        let error = consumers.insert(consumer("poison")).await.unwrap_err();
        assert!(matches!(error, Error::Database(_)), "{error:?}");
        assert_eq!(fixture.sink.take(), []);
        assert_eq!(fixture.sink.take_in_doubt(), []);
        let bob = consumers.insert(consumer("bob")).await.unwrap();
        consumers.delete(bob.id).await.unwrap().unwrap();
        assert_eq!(fixture.sink.take().len(), 2);
    }
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

/// After a crash, the server assigns transaction ids again, so an older id proves nothing.
#[tokio::test]
async fn a_commit_before_a_crash_of_the_server_is_in_doubt() {
    let server = Server::start();
    let database = server.database().await;
    let proxy = Proxy::to(&database).await;
    let store = Store::open(&proxy.url(&database)).await.unwrap();
    let fixture = Fixture::attach(store, &schemas()).await.unwrap();
    let consumers = fixture.dao::<Consumer>();

    proxy.set(Link::Losing(Commit::Answer, Then::Refusing));
    let write = tokio::spawn(consumers.insert(consumer("bob")));
    let mut other = database.connect().await;
    while other_sees_no_one(&mut other).await {}
    crash(&database, other).await;
    proxy.set(Link::Open);

    let error = write.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Commit(_)), "{error:?}");
    assert_eq!(fixture.sink.take_in_doubt().len(), 1);
    assert_eq!(fixture.sink.take(), []);
    let found = consumers.select_by("username", "bob").await.unwrap();
    assert!(found.is_some(), "it was committed, which no one could know");
}

async fn other_sees_no_one(other: &mut PgConnection) -> bool {
    let rows = sqlx::raw_sql("SELECT 1 FROM consumers");
    rows.fetch_all(other).await.unwrap().is_empty()
}

/// Kills the connection's server process, after which the server ends all sessions and recovers.
/// Returns once it accepts connections again.
async fn crash(database: &Database, mut victim: PgConnection) {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()");
    let row = row.fetch_one(&mut victim).await.unwrap();
    let process: i32 = row.get(0);
    let killed = std::process::Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(killed.unwrap().success());
    while sqlx::raw_sql("SELECT 1").execute(&mut victim).await.is_ok() {}
    while database.options().connect().await.is_err() {}
}

/// A write waits for a row that another program holds, but not longer than the limit.
#[tokio::test]
async fn a_row_that_is_held_makes_the_database_busy() {
    let (place, _proxy, fixture) = linked().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let mut other = place.database.connect().await;
    let hold = "BEGIN; UPDATE consumers SET tags = NULL";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let error = consumers.update(bob.id, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error:?}");
    assert!(consumers.select(bob.id).await.unwrap().is_some());
    drop(other);
    consumers.update(bob.id, |_| ()).await.unwrap().unwrap();
}
