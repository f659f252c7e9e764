//! Subscribers: policies, gaps, exact counts.

use std::{sync::Arc, thread, time::Duration};

use futures_util::StreamExt;
use tidings_core::{CrudEvent, clock::ManualClock};

use super::{Consumer, Note, bus, cause, consumer, notes};
use crate::{
    BlockingSubscriber, Handled, Heard, Overflow, Received, Refusal, RegisterError,
    SubscribeOptions, Subscriber, TryRecvError, WorkerEvents,
};

fn with(capacity: usize, overflow: Overflow) -> SubscribeOptions {
    SubscribeOptions::new()
        .capacity(capacity)
        .overflow(overflow)
        .named("test")
}

fn show(heard: Heard<Received<Note>>) -> String {
    match heard.into_result() {
        Ok(note) => note.0.to_string(),
        Err(gap) => format!("gap {}", gap.missed),
    }
}

fn drain(subscriber: &mut Subscriber<Note>) -> Vec<String> {
    std::iter::from_fn(|| subscriber.try_recv().ok())
        .map(show)
        .collect()
}

fn drain_blocking(subscriber: &mut BlockingSubscriber<Note>) -> Vec<String> {
    std::iter::from_fn(|| subscriber.try_recv().ok())
        .map(show)
        .collect()
}

// WE9
#[test]
fn drop_oldest_keeps_the_newest_and_reports_the_gap_first() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe("jobs", "done", with(2, Overflow::DropOldest))
        .expect("declared");
    let mut blocking = bus
        .subscribe_blocking("jobs", "done", with(2, Overflow::DropOldest))
        .expect("declared");
    for number in 0..5 {
        channel.post(Note(number)).expect("open");
    }
    assert_eq!(drain(&mut subscriber), ["gap 3", "3", "4"]);
    assert_eq!(drain_blocking(&mut blocking), ["gap 3", "3", "4"]);
    channel.post(Note(5)).expect("open");
    assert_eq!(drain(&mut subscriber), ["5"]);
    assert_eq!(drain_blocking(&mut blocking), ["5"]);
}

// WE9
#[test]
fn drop_newest_keeps_the_oldest_and_reports_the_gap_after_them() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe("jobs", "done", with(2, Overflow::DropNewest))
        .expect("declared");
    let mut blocking = bus
        .subscribe_blocking("jobs", "done", with(2, Overflow::DropNewest))
        .expect("declared");
    for number in 0..5 {
        channel.post(Note(number)).expect("open");
    }
    assert_eq!(drain(&mut subscriber), ["0", "1", "gap 3"]);
    assert_eq!(drain_blocking(&mut blocking), ["0", "1", "gap 3"]);
    for number in 5..8 {
        channel.post(Note(number)).expect("open");
    }
    assert_eq!(subscriber.try_recv().map(show), Ok("5".to_owned()));
    assert_eq!(blocking.try_recv().map(show), Ok("5".to_owned()));
    channel.post(Note(8)).expect("open");
    assert_eq!(drain(&mut subscriber), ["6", "gap 1", "8"]);
    assert_eq!(drain_blocking(&mut blocking), ["6", "gap 1", "8"]);
}

// WE9
#[test]
fn a_strict_queue_refuses_the_post_before_anybody_hears_of_it() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let mut lenient = bus
        .subscribe("jobs", "done", with(8, Overflow::DropNewest))
        .expect("declared");
    let mut roomy = bus
        .subscribe("jobs", "done", with(2, Overflow::Error))
        .expect("declared");
    for strict in [Overflow::Error, Overflow::Wait] {
        let mut subscriber = bus
            .subscribe("jobs", "done", with(1, strict))
            .expect("declared");
        let mut blocking = bus
            .subscribe_blocking("jobs", "done", with(1, strict))
            .expect("declared");
        channel.post(Note(1)).expect("room for one");
        let refused = channel.post(Note(2)).expect_err("full");
        assert_eq!(refused.payload, Note(2));
        assert_eq!(
            refused.refusal,
            Refusal::Full {
                subscriber: "test".to_owned()
            }
        );
        assert_eq!(drain(&mut subscriber), ["1"]);
        assert!(
            channel.post(Note(2)).is_err(),
            "the blocking one is still full"
        );
        assert_eq!(drain_blocking(&mut blocking), ["1"]);
        channel
            .post(Note(3))
            .expect("room again, and none was kept by the refused posts");
        assert_eq!(drain(&mut subscriber), ["3"]);
        assert_eq!(drain_blocking(&mut blocking), ["3"]);
        assert_eq!(drain(&mut roomy), ["1", "3"]);
    }
    assert_eq!(drain(&mut lenient), ["1", "3", "1", "3"]);
    assert_eq!(worker.run_pending(), 4);
    assert_eq!(bus.stats().channels[0].posted, 4);
}

#[test]
fn a_change_that_finds_a_strict_queue_full_is_a_gap_there() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let mut subscriber = bus
        .subscribe::<CrudEvent<Consumer>>("crud", "consumers:create", with(1, Overflow::Error))
        .expect("declared");
    for id in ["1", "2"] {
        let _ = consumers
            .enqueue(CrudEvent::created(consumer(id)), cause(1))
            .dispatch();
        let _ = consumers
            .enqueue(CrudEvent::deleted(consumer(id)), cause(1))
            .dispatch();
    }
    let first = subscriber
        .try_recv()
        .expect("one")
        .into_result()
        .expect("an event");
    assert_eq!(
        (first.entity.id.as_str(), first.cause()),
        ("1", Some(cause(1)))
    );
    let gap = subscriber.try_recv().expect("a gap").into_result();
    assert_eq!(gap.err().map(|gap| gap.missed), Some(1));
    assert!(matches!(subscriber.try_recv(), Err(TryRecvError::Empty)));
}

// WE9
#[test]
fn received_and_missed_make_posted_for_every_policy_under_concurrent_posters() {
    const POSTS: u64 = 3000;
    let bus = bus(0);
    let channel = notes(&bus);
    let mut queues: Vec<_> = [1, 7, 64, 500]
        .into_iter()
        .flat_map(|capacity| {
            [Overflow::DropOldest, Overflow::DropNewest].map(|overflow| {
                bus.subscribe::<Note>("jobs", "done", with(capacity, overflow))
                    .expect("declared")
            })
        })
        .collect();
    let mut blocking: Vec<_> = [Overflow::DropOldest, Overflow::DropNewest]
        .map(|overflow| {
            bus.subscribe_blocking::<Note>("jobs", "done", with(5, overflow))
                .expect("declared")
        })
        .into();
    fn count(
        heard: Heard<Received<Note>>,
        received: &mut u64,
        missed: &mut u64,
        last: &mut [u64; 2],
    ) {
        match heard.into_result() {
            Ok(note) => {
                *received += 1;
                let [poster, number] = [note.0 / POSTS, note.0 % POSTS + 1];
                assert!(
                    number > last[poster as usize],
                    "each poster's events stay in order"
                );
                last[poster as usize] = number;
            }
            Err(gap) => *missed += gap.missed,
        }
    }
    thread::scope(|scope| {
        for poster in 0..2 {
            let channel = &channel;
            scope.spawn(move || {
                for number in 0..POSTS {
                    channel.post(Note(poster * POSTS + number)).expect("open");
                }
            });
        }
        for queue in &mut queues {
            scope.spawn(move || {
                let (mut received, mut missed, mut last) = (0, 0, [0; 2]);
                while received + missed < 2 * POSTS {
                    match queue.try_recv() {
                        Ok(heard) => count(heard, &mut received, &mut missed, &mut last),
                        Err(_) => thread::yield_now(),
                    }
                }
                assert_eq!(received + missed, 2 * POSTS);
            });
        }
        for queue in &mut blocking {
            scope.spawn(move || {
                let (mut received, mut missed, mut last) = (0, 0, [0; 2]);
                while received + missed < 2 * POSTS {
                    match queue.try_recv() {
                        Ok(heard) => count(heard, &mut received, &mut missed, &mut last),
                        Err(_) => thread::yield_now(),
                    }
                }
                assert_eq!(received + missed, 2 * POSTS);
            });
        }
    });
    for stats in &bus.stats().channels[0].subscribers {
        assert_eq!(stats.posted, 2 * POSTS, "{stats:?}");
    }
}

#[tokio::test]
async fn recv_wakes_for_an_event_and_ends_with_the_bus() {
    let bus = bus(0);
    let channel = notes(&bus);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let mut subscriber = bus
            .subscribe::<Note>("jobs", "done", with(4, overflow))
            .expect("declared");
        let (heard, ()) = tokio::join!(subscriber.recv(), async {
            tokio::task::yield_now().await;
            channel.post(Note(7)).expect("open");
        });
        assert_eq!(heard.map(show), Some("7".to_owned()));
    }
    let mut left = bus
        .subscribe::<Note>("jobs", "done", with(4, Overflow::DropOldest))
        .expect("declared");
    let mut stream = bus
        .subscribe::<Note>("jobs", "done", with(4, Overflow::DropNewest))
        .expect("declared");
    channel.post(Note(8)).expect("open");
    let (next, _report) = tokio::join!(left.recv(), bus.shutdown(Duration::ZERO));
    assert_eq!(
        next.map(show),
        Some("8".to_owned()),
        "what is in the queue is still received"
    );
    assert!(left.recv().await.is_none());
    assert_eq!(stream.next().await.map(show), Some("8".to_owned()));
    assert!(stream.next().await.is_none());
    assert!(matches!(
        bus.subscribe::<Note>("jobs", "done", SubscribeOptions::new()),
        Err(RegisterError::Closed { .. })
    ));
}

#[test]
fn a_blocking_subscriber_waits_on_its_thread_and_ends_with_the_bus() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe_blocking::<Note>("jobs", "done", with(4, Overflow::DropOldest))
        .expect("declared");
    thread::scope(|scope| {
        let heard = scope.spawn(move || {
            let first = subscriber.recv().map(show);
            let second = subscriber.next().map(show);
            (first, second, subscriber.recv().is_none())
        });
        channel.post(Note(1)).expect("open");
        channel.post(Note(2)).expect("open");
        crate::thread::park::block_on(bus.shutdown(Duration::ZERO));
        let heard = heard.join().expect("no panic");
        assert_eq!(heard, (Some("1".to_owned()), Some("2".to_owned()), true));
    });
}

#[test]
fn what_was_missed_at_the_very_end_is_reported_too() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe_blocking::<Note>("jobs", "done", with(1, Overflow::DropNewest))
        .expect("declared");
    channel.post(Note(1)).expect("open");
    channel.post(Note(2)).expect("open");
    crate::thread::park::block_on(bus.shutdown(Duration::ZERO));
    assert_eq!(subscriber.recv().map(show), Some("1".to_owned()));
    assert_eq!(subscriber.recv().map(show), Some("gap 1".to_owned()));
    assert!(subscriber.recv().is_none());
}

#[tokio::test]
async fn post_async_waits_for_room_and_goes_on_when_there_is_some() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe::<Note>("jobs", "done", with(1, Overflow::Wait))
        .expect("declared");
    channel.post(Note(1)).expect("room");
    let (posted, first) = tokio::join!(
        channel.post_async(Note(2), Duration::from_secs(60)),
        subscriber.recv()
    );
    assert_eq!(first.map(show), Some("1".to_owned()));
    let delivery = posted.expect("room after the first was received");
    assert_eq!(delivery.handled(Duration::ZERO).await, Handled::Everywhere);
    assert_eq!(drain(&mut subscriber), ["2"]);
    assert_eq!(bus.stats().refused, 0);
}

#[tokio::test]
async fn post_async_gives_the_event_back_at_its_deadline() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe::<Note>("jobs", "done", with(1, Overflow::Wait))
        .expect("declared");
    channel.post(Note(1)).expect("room");
    let late = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
    };
    let (posted, ()) = tokio::join!(channel.post_async(Note(2), Duration::from_secs(1)), late);
    let error = posted.expect_err("no room in time");
    assert_eq!(error.payload, Note(2));
    assert!(matches!(error.refusal, Refusal::Full { .. }));
    assert_eq!(drain(&mut subscriber), ["1"]);
}

#[test]
fn post_blocking_waits_on_a_plain_thread() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .clock(Arc::new(clock))
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let mut subscriber = bus
        .subscribe_blocking::<Note>("jobs", "done", with(1, Overflow::Wait))
        .expect("declared");
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                let delivery = channel.post_blocking(Note(number), Duration::from_secs(60));
                assert!(delivery.expect("there will be room").is_complete());
            }
        });
        for number in 0..100 {
            assert_eq!(subscriber.recv().map(show), Some(number.to_string()));
        }
    });
}

#[test]
fn a_dropped_subscriber_costs_nothing_more_and_keeps_nobody_waiting() {
    let bus = bus(0);
    let channel = notes(&bus);
    let strict = bus
        .subscribe::<Note>("jobs", "done", with(1, Overflow::Error))
        .expect("declared");
    let blocking = bus
        .subscribe_blocking::<Note>("jobs", "done", with(1, Overflow::Error))
        .expect("declared");
    let log = bus
        .subscribe::<Note>("jobs", "done", with(1, Overflow::DropOldest))
        .expect("declared");
    channel.post(Note(1)).expect("room");
    assert!(channel.post(Note(2)).is_err());
    drop((strict, blocking, log));
    channel.post(Note(3)).expect("no queue is full");
    assert!(bus.stats().channels[0].subscribers.is_empty());
}

#[test]
fn a_queue_lets_go_of_events_that_all_have_received() {
    #[derive(serde::Serialize)]
    struct Held(#[serde(skip)] Arc<()>);
    let bus = bus(0);
    let channel = bus.declare::<Held>("jobs", "held").expect("free");
    let count = Arc::new(());
    let mut fast = bus
        .subscribe::<Held>("jobs", "held", with(1000, Overflow::DropOldest))
        .expect("declared");
    let slow = bus
        .subscribe::<Held>("jobs", "held", with(1000, Overflow::DropOldest))
        .expect("declared");
    for _ in 0..5000 {
        channel.post(Held(Arc::clone(&count))).expect("open");
        assert!(fast.try_recv().is_ok());
    }
    // The slow one holds its capacity, rounded up to whole segments.
    assert!(Arc::strong_count(&count) <= 1 + 1000 + 2 * 64);
    drop(slow);
    for _ in 0..128 {
        channel.post(Held(Arc::clone(&count))).expect("open");
        assert!(fast.try_recv().is_ok());
    }
    assert!(Arc::strong_count(&count) <= 1 + 2 * 64);
}

#[test]
fn capacities_out_of_range_are_refused() {
    let bus = bus(0);
    notes(&bus);
    let error = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new().capacity(0))
        .expect_err("no room at all");
    assert!(error.to_string().ends_with("got 0"), "{error}");
}
