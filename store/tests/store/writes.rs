//! Commits: in order, whole, whoever goes away.

use std::{
    future::Future as _,
    sync::{Arc, OnceLock, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_core::{Operation, Timestamp, clock::ManualClock};
use tidings_store::{Attachment, ChangeSet, ChangeSink, Dao, Error, Store};
use tokio::runtime::Handle;

use crate::{
    entities::{Consumer, consumer},
    support::{Fixture, schemas, typed},
};

/// G7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_are_heard_in_commit_order_with_true_predecessors() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    for url in [url.as_str(), "sqlite::memory:"] {
        let fixture = Fixture::at(url).await.unwrap();
        let consumers = fixture.dao::<Consumer>();
        let zero = Consumer {
            custom_id: Some("0".to_owned()),
            ..consumer("counter")
        };
        let row = consumers.insert(zero).await.unwrap();
        fixture.sink.take();
        let writers = (0..8).map(|_| {
            let consumers = consumers.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let count = consumers.update(row.id, |row| {
                        let count: u32 = row.custom_id.take().unwrap().parse().unwrap();
                        row.custom_id = Some((count + 1).to_string());
                    });
                    let written = count.await.unwrap().unwrap();
                    // A read that begins after the commit sees it, or a later one.
                    let read = consumers.select(row.id).await.unwrap().unwrap();
                    assert!(number(&read) >= number(&written));
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let heard = fixture.sink.take();
        assert_eq!(heard.len(), 800);
        for (expected, changes) in (1..).zip(&heard) {
            let (operation, new, old) = typed::<Consumer>(&changes.changes[0]);
            assert_eq!(operation, Operation::Update);
            assert_eq!(
                (number(&old.unwrap()), number(&new)),
                (expected - 1, expected)
            );
        }
        fixture.store.close().await.unwrap();
    }
}

fn number(row: &Consumer) -> u32 {
    row.custom_id.as_deref().unwrap().parse().unwrap()
}

/// Polls a future so many times, then drops it; whether it was done before.
fn poll_and_drop<F: Future>(future: F, polls: usize) -> impl Future<Output = bool> {
    let mut future = Some(Box::pin(future));
    let mut left = polls;
    std::future::poll_fn(move |context: &mut Context<'_>| {
        if left == 0 {
            future = None;
            return Poll::Ready(false);
        }
        left -= 1;
        if let Some(future) = &mut future
            && future.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(true);
        }
        if left == 0 {
            future = None;
            return Poll::Ready(false);
        }
        Poll::Pending
    })
}

/// G2
#[tokio::test]
async fn a_write_whose_caller_goes_away_at_any_poll_is_done_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    for url in [url.as_str(), "sqlite::memory:"] {
        let fixture = Fixture::at(url).await.unwrap();
        let consumers = fixture.dao::<Consumer>();
        let mut ended_by_itself = false;
        for polls in 0..20 {
            let name = format!("c{polls}");
            ended_by_itself |= poll_and_drop(consumers.insert(consumer(&name)), polls).await;
            // The writer is taken in turns, so that this write comes after the abandoned one.
            consumers
                .upsert_by("username", "last", Consumer::default())
                .await
                .unwrap();
            let there = consumers
                .select_by("username", name.as_str())
                .await
                .unwrap();
            let heard = fixture.sink.take();
            let evicted = heard.iter().flat_map(|changes| &changes.evict);
            let key = format!("consumers:{name}");
            let evicted = evicted.filter(|evicted| evicted.as_str() == key).count();
            assert_eq!(there.is_some(), polls > 0, "after {polls} polls");
            assert_eq!(evicted, usize::from(polls > 0), "after {polls} polls");
            if let Some(row) = there {
                let deleted = poll_and_drop(consumers.delete(row.id), polls);
                ended_by_itself |= deleted.await;
                consumers
                    .upsert_by("username", "last", Consumer::default())
                    .await
                    .unwrap();
                assert_eq!(consumers.select(row.id).await.unwrap(), None);
                assert_eq!(fixture.sink.take().len(), 2);
            }
        }
        assert!(ended_by_itself, "more polls are needed to reach the end");
        assert_eq!(fixture.sink.take_in_doubt(), []);
        fixture.store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_is_never_polled_is_not_done() {
    let fixture = Fixture::new().await;
    drop(fixture.dao::<Consumer>().insert(consumer("bob")));
    let page = fixture
        .dao::<Consumer>()
        .page(Default::default())
        .await
        .unwrap();
    assert_eq!(page.data, []);
}

/// Has the database refuse the commit of rows with the username `poison`.
async fn poison(path: &std::path::Path) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE dangling (id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER poison AFTER INSERT ON consumers WHEN NEW.username = 'poison'
         BEGIN INSERT INTO dangling VALUES (1); END;",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

/// G2
#[tokio::test]
async fn a_commit_that_fails_evicts_and_leaves_the_writer_as_good_as_new() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    let fixture = Fixture::at(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    poison(&path).await;
    let consumers = fixture.dao::<Consumer>();
    for _ in 0..3 {
        let error = consumers.insert(consumer("poison")).await.unwrap_err();
        assert!(matches!(error, Error::Commit(_)), "{error:?}");
        let doubted = fixture.sink.take_in_doubt();
        assert_eq!(doubted.len(), 1);
        assert_eq!(doubted[0].evict[0].as_str(), "consumers:poison");
        assert_eq!(fixture.sink.take(), []);
        assert_eq!(
            consumers.select_by("username", "poison").await.unwrap(),
            None
        );

        let bob = consumers.insert(consumer("bob")).await.unwrap();
        assert_eq!(fixture.sink.take().len(), 1);
        consumers.delete(bob.id).await.unwrap().unwrap();
        assert_eq!(fixture.sink.take().len(), 1);
    }
}

#[tokio::test]
async fn a_closure_that_panics_changes_nothing_and_the_next_write_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    let fixture = Fixture::at(&url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    let error = consumers
        .update(bob.id, |_| panic!("no {}", "way"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Panicked { ref message, .. } if message == "no way"));
    assert_eq!(fixture.sink.take(), []);
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob.clone()));
    assert!(consumers.update(bob.id, |_| ()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sink_that_panics_harms_neither_the_write_nor_the_next_one() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    fixture.sink.panic.store(true, Ordering::SeqCst);
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
    consumers.insert(consumer("eve")).await.unwrap();
    assert_eq!(fixture.sink.take().len(), 1);
}

/// Writes once more for each create that it hears of, until there are five rows.
#[derive(Debug, Default)]
struct Breeder {
    consumers: OnceLock<Dao<Consumer>>,
}

impl ChangeSink for Breeder {
    fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()> {
        let consumers = self.consumers.get().unwrap().clone();
        Box::pin(async move {
            for change in changes.changes {
                let (_, row, _) = typed::<Consumer>(&change);
                let next = number(&row) + 1;
                if next <= 5 {
                    let next = Consumer {
                        custom_id: Some(next.to_string()),
                        ..Consumer::default()
                    };
                    consumers.insert(next).await.unwrap();
                }
            }
        })
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

#[tokio::test]
async fn what_the_sink_returns_can_write_because_the_writer_is_free_and_is_awaited_by_the_write() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let breeder = Arc::new(Breeder::default());
    let attachment = Attachment {
        schemas: schemas(),
        sink: Arc::clone(&breeder) as Arc<dyn ChangeSink>,
        clock: Arc::new(ManualClock::new()),
        runtime: Handle::current(),
    };
    store.attach(attachment).await.unwrap();
    let consumers = breeder.consumers.get_or_init(|| store.dao().unwrap());
    let first = Consumer {
        custom_id: Some("1".to_owned()),
        created_at: Timestamp::from_unix(1),
        ..Consumer::default()
    };
    consumers.insert(first).await.unwrap();
    assert_eq!(
        consumers.page(Default::default()).await.unwrap().data.len(),
        5
    );
}

#[tokio::test]
async fn a_read_that_is_cancelled_at_any_poll_leaves_its_connection_usable() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    let fixture = Fixture::at(&url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    for round in 0..100 {
        let name = round.to_string();
        let row = consumers.insert(consumer(&name)).await.unwrap();
        poll_and_drop(consumers.page(Default::default()), round % 7).await;
        // It sees what was committed just now: the cancelled read holds no old state open.
        assert_eq!(consumers.select(row.id).await.unwrap(), Some(row));
    }
}

#[tokio::test]
async fn a_store_whose_runtime_is_gone_says_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let fixture = Fixture::new().await;
    let store = Store::open("sqlite::memory:").await.unwrap();
    let attachment = Attachment {
        schemas: schemas(),
        sink: Arc::clone(&fixture.sink) as Arc<dyn ChangeSink>,
        clock: Arc::new(ManualClock::new()),
        runtime: runtime.handle().clone(),
    };
    store.attach(attachment).await.unwrap();
    runtime.shutdown_background();
    let mut write = Box::pin(store.dao::<Consumer>().unwrap().insert(consumer("bob")));
    let mut context = Context::from_waker(Waker::noop());
    match write.as_mut().poll(&mut context) {
        Poll::Ready(Err(Error::Interrupted)) => {}
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => assert!(matches!(write.await, Err(Error::Interrupted))),
    }
}
