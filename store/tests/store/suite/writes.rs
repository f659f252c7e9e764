//! Commits: in order and complete, even if their callers go away.

use std::{
    future::Future as _,
    sync::{Arc, OnceLock, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;
use tidings_core::{Operation, Timestamp, clock::ManualClock};
use tidings_store::{Attachment, ChangeSet, ChangeSink, Dao, Error, Store};
use tokio::runtime::Handle;

use super::support::{Fixture, place, places, schemas, typed};
use crate::entities::{Consumer, consumer};

/// G7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_are_heard_in_commit_order_with_true_predecessors() {
    for place in places().await {
        let fixture = Fixture::at(&place.url).await.unwrap();
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
        let received = fixture.sink.take();
        assert_eq!(received.len(), 800);
        for (expected, changes) in (1..).zip(&received) {
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

/// Polls a future this many times, then drops it. Returns whether it had completed.
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

/// How often the keys of a consumer were evicted so far, and how many changes the sink has
/// received.
fn received(fixture: &Fixture, name: &str) -> (usize, usize) {
    let key = format!("consumers:{name}");
    let committed = fixture.sink.committed();
    let evicted = committed.iter().flat_map(|changes| &changes.evict);
    let evicted = evicted.filter(|evicted| evicted.as_str() == key).count();
    (evicted, committed.len())
}

/// Waits for a write that no one awaits, until the sink has received its change.
async fn until_heard(fixture: &Fixture, name: &str, times: usize) {
    for _ in 0..20_000 {
        if received(fixture, name) == (times, times) {
            return;
        }
        // A round trip to the database, so that this is not a busy loop.
        drop(fixture.store.health().await);
    }
    panic!("{name}: heard {:?}, not {times}", received(fixture, name));
}

/// G2
#[tokio::test]
async fn a_write_whose_caller_goes_away_at_any_poll_is_done_whole_or_not_at_all() {
    for place in places().await {
        let fixture = Fixture::at(&place.url).await.unwrap();
        let consumers = fixture.dao::<Consumer>();
        let mut ended_by_itself = false;
        for polls in 0..20 {
            let name = format!("c{polls}");
            ended_by_itself |= poll_and_drop(consumers.insert(consumer(&name)), polls).await;
            until_heard(&fixture, &name, usize::from(polls > 0)).await;
            let there = consumers.select_by("username", name.as_str());
            let there = there.await.unwrap();
            assert_eq!(there.is_some(), polls > 0, "after {polls} polls");

            if let Some(row) = there {
                let deleted = poll_and_drop(consumers.delete(row.id), polls);
                ended_by_itself |= deleted.await;
                until_heard(&fixture, &name, 2).await;
                assert_eq!(consumers.select(row.id).await.unwrap(), None);
            }
            fixture.sink.take();
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

#[tokio::test]
async fn a_closure_that_panics_changes_nothing_and_the_next_write_goes_on() {
    let place = places().await.remove(0);
    let fixture = Fixture::at(&place.url).await.unwrap();
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

/// Inserts another row for each create that it receives, until there are five rows.
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
    let place = place().await;
    let store = Store::open(&place.url).await.unwrap();
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
    let place = places().await.remove(0);
    let fixture = Fixture::at(&place.url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    for round in 0..100 {
        let name = round.to_string();
        let row = consumers.insert(consumer(&name)).await.unwrap();
        poll_and_drop(consumers.page(Default::default()), round % 7).await;
        // It sees the latest commit: the cancelled read does not keep an old snapshot open.
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
    let place = place().await;
    let store = Store::open(&place.url).await.unwrap();
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
